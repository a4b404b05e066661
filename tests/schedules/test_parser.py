"""The segment language against hand-computed values, seed 000's own texts, and arbitrary text."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsc.schedules.catalog import FAMILIES
from tfsc.schedules.parsed import SHAPES, Chain, Knot, Segments
from tfsc.schedules.parser import NAMED, ScheduleSyntaxError, parse

_FUZZ = settings(max_examples=100, deadline=None)

# Seed 000's two schedules as in the reference's test_vectors.json (quarter cosine): epoch, rate.
_TYPE_I = {
    0: 0.0008,
    2: 0.00088,
    4: 0.00096,
    5: 0.001,
    8: 0.001,
    12: 0.001,
    14: 0.0009246407371861739,
    15: 0.0008331549161795198,
    16: 0.0007100357133746822,
    18: 0.00038885659804143894,
    19: 0.00020313941879596706,
    20: 1.0000000000000062e-05,
    23: 8.000000000000001e-06,
    26: 6e-06,
}
_TYPE_II = {
    0: 0.0008,
    2: 0.00115,
    4: 0.0015,
    5: 0.0015,
    8: 0.0015,
    12: 0.0013003778516388136,
    14: 0.001063589103967956,
    15: 0.0009170545292229938,
    16: 0.0007550000000000002,
    18: 0.00039564037720275595,
    19: 0.00020448402640787705,
    20: 1.0000000000000092e-05,
    23: 8.5e-06,
    26: 7e-06,
}


@pytest.mark.parametrize(
    ("name", "rates"), [("type1", _TYPE_I), ("type2", _TYPE_II)], ids=["type1", "type2"]
)
def test_types_one_and_two_have_the_computed_rates(name, rates):
    schedule = parse(name)
    for epoch, rate in rates.items():
        assert schedule.value(epoch) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        (
            "[8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26]",
            {2: 8.8e-4, 15: 8.332e-4, 18: 3.889e-4, 19: 2.031e-4, 20: 1e-5, 26: 6e-6},
        ),
        (
            "[8e-4,0]lin[1.5e-3,4]lin[1.5e-3,8]cos[1e-5,20]lin[7e-6,26]",
            {2: 1.15e-3, 15: 9.171e-4, 18: 3.956e-4, 19: 2.045e-4, 20: 1e-5, 26: 7e-6},
        ),
    ],
)
def test_rates_to_four_digits_are_those_of_the_recipe_table(text, rates):
    schedule = parse(text)
    assert {epoch: float(f"{schedule.value(epoch):.4g}") for epoch in rates} == rates


def test_lin_is_the_straight_line():
    schedule = parse("[2,1]lin[10,5]")
    assert [schedule.value(e) for e in (1, 2, 3, 4.5, 5)] == [2, 4, 6, 9, 10]


def test_cos_is_a_quarter_cosine_flat_at_its_start_and_steepest_at_its_end():
    schedule = parse("[3,10]cos[1,14]")
    # cos(π/8·k): the values at the quarters, by hand.
    expected = [3, 1 + 2 * 0.9238795325112867, 1 + math.sqrt(2), 1 + 2 * 0.3826834323650898, 1]
    assert [schedule.value(10 + k) for k in range(5)] == pytest.approx(expected, rel=1e-14)
    falls = [schedule.value(10 + k / 10) - schedule.value(10 + (k + 1) / 10) for k in range(40)]
    assert falls == sorted(falls)
    assert falls[0] < 0.002  # 2·(1 − cos(π/80))
    assert falls[-1] == pytest.approx(2 * math.sin(math.pi / 80))


def test_cos_upwards_is_the_same_curve_turned_over():
    up, down = parse("[1,0]cos[3,4]"), parse("[3,0]cos[1,4]")
    for epoch in (0, 0.5, 1, 2.75, 4):
        assert up.value(epoch) == pytest.approx(4 - down.value(epoch), rel=1e-14)


def test_const_holds_until_the_next_knot_and_jumps_there():
    schedule = parse("[1,0]const[2,3]const[4,3.5]")
    assert [schedule.value(e) for e in (0, 2.999999, 3, 3.499999, 3.5, 9)] == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 1e-3),
        (80, 1e-3),
        (81, 1e-4),
        (120, 1e-4),
        (121, 1e-5),
        (160, 1e-5),
        (161, 1e-6),
        (180, 1e-6),
        (181, 5e-7),
        (200, 5e-7),
    ],
)
def test_atienza_lowers_the_rate_after_epochs_80_120_160_and_180(epoch, rate):
    assert parse("atienza").value(epoch) == rate


def test_first_value_holds_before_the_first_knot_and_last_value_after_the_last():
    schedule = parse("[5,2]lin[7,4]cos[1,6]")
    assert [schedule.value(e) for e in (0, 1.999)] == [5, 5]
    assert [schedule.value(e) for e in (6, 6.001, 1e9)] == [1, 1, 1]


@pytest.mark.parametrize("text", ["0.1", " .1 ", "1e-1", "+1.e-1", "[0.1, 0]", "[0.1,7]"])
def test_a_number_and_a_single_knot_are_constant(text):
    schedule = parse(text)
    assert [schedule.value(e) for e in (0, 3.5, 1000)] == [0.1] * 3


# --- texts --------------------------------------------------------------------------------------


def test_canonical_text_prints_back_exactly():
    text = "[8e-4,0]lin[1e-3,5]cos[1e-5,20]"
    assert str(parse(text)) == text


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_name_is_its_text(name):
    assert parse(f" {name} ") == parse(NAMED[name])
    assert str(parse(name)) == NAMED[name]


# Every schedule in seed 000's tables 1 and 2, as printed, and its rates and epochs.
@pytest.mark.parametrize(
    ("printed", "rates", "epochs"),
    [
        (
            "[8.e-4, 0]lin[1.0e-3, 4]lin[1.0e-3, 12]cos[1.e-5, 20]lin[7.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 7e-6),
            (0, 4, 12, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.0e-3, 5]lin[1.0e-3, 10]cos[1.e-5, 20]lin[8.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 8e-6),
            (0, 5, 10, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.0e-3, 5]lin[1.0e-3, 12]cos[1.e-5, 20]lin[7.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 7e-6),
            (0, 5, 12, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.0e-3, 5]lin[1.0e-3, 12]cos[1.e-5, 20]lin[8.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 8e-6),
            (0, 5, 12, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.2e-3, 5]lin[1.2e-3, 12]cos[1.e-5, 20]lin[4.e-6, 26]",
            (8e-4, 1.2e-3, 1.2e-3, 1e-5, 4e-6),
            (0, 5, 12, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.5e-3, 4]lin[1.5e-3, 8]cos[1.e-5, 20]lin[4.e-6, 26]",
            (8e-4, 1.5e-3, 1.5e-3, 1e-5, 4e-6),
            (0, 4, 8, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.5e-3, 4]lin[1.5e-3, 8]cos[1.e-5, 20]lin[7.e-6, 26]",
            (8e-4, 1.5e-3, 1.5e-3, 1e-5, 7e-6),
            (0, 4, 8, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 11]cos[1.e-5, 20]lin[6.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 6e-6),
            (0, 5, 11, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 12]cos[1.e-5, 20]lin[6.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 6e-6),
            (0, 5, 12, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 13]cos[1.e-5, 20]lin[6.e-6, 26]",
            (8e-4, 1e-3, 1e-3, 1e-5, 6e-6),
            (0, 5, 13, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[2.0e-3, 3]lin[2.0e-3, 7]cos[1.e-5, 20]lin[7.e-6, 26]",
            (8e-4, 2e-3, 2e-3, 1e-5, 7e-6),
            (0, 3, 7, 20, 26),
        ),
        (
            "[8.e-4, 0]lin[2.0e-3, 4]lin[2.0e-3, 8]cos[1.e-5, 20]lin[7.e-6, 26]",
            (8e-4, 2e-3, 2e-3, 1e-5, 7e-6),
            (0, 4, 8, 20, 26),
        ),
    ],
)
def test_schedules_as_seed_000_prints_them_parse(printed, rates, epochs):
    schedule = parse(printed)
    assert schedule.knots == tuple(map(Knot, rates, epochs))
    assert schedule.shapes == ("lin", "lin", "cos", "lin")


def test_blanks_and_line_ends_may_stand_between_tokens():
    spread = " [ 8e-4 , 0 ]\n lin\t[1e-3,5]\r\n cos [ 1e-5 , 20 ] "
    assert parse(spread) == parse("[8e-4,0]lin[1e-3,5]cos[1e-5,20]")


# --- families and chains ------------------------------------------------------------------------

# Each with its canonical form.
_CALLS = {
    "cyclic(0.1, 3.0, half_cycle=5000, policy=triangular2)": (
        "cyclic(0.1,3,5000s,policy=triangular2)"
    ),
    "cyclic(0.1,3,5e,triangular,cycles=1)": "cyclic(0.1,3,5e,cycles=1)",
    "cyclic(.001,.006,2000,exp_range,.99994)": (
        "cyclic(1e-3,6e-3,2000s,policy=exp_range,gamma=0.99994)"
    ),
    "one_cycle(max=0.1, phases=3, anneal=linear)": "one_cycle(0.1,phases=3,anneal=linear)",
    "warm_restarts(0.1, period=50, mult=1)": "warm_restarts(0.1,50e)",
    "multistep(0.1, [40,80,120], gamma=0.2)": "multistep(0.1,[40e,80e,120e],gamma=0.2)",
    "multistep(0.35, [5e3s , 7e4s])": "multistep(0.35,[5000s,70000s])",
    "cosine": "cosine",
    "exponential": "exponential",
    "polynomial(0.1, power=2)": "polynomial(rate=0.1,power=2)",
    "warmup(5) -> cosine(0.1,to=1e-4)": "warmup(5e)→cosine(rate=0.1,to=1e-4)",
    "warmup(500s, constant, 0.2)→[0.1,0]const[0.01,30]→1e-3": (
        "warmup(500s,policy=constant,start=0.2)→[0.1,0]const[0.01,30]→[1e-3,0]"
    ),
    "[1e-3,0s]half[1e-5,5000s]": "[1e-3,0]half[1e-5,5000s]",
    "multistep(0.1, [50%, 75 %])": "multistep(0.1,[50%,75%])",
    "warmup(5%, start=10%) → cosine(0.1, length=50%) → 1e-3": (
        "warmup(5%,start=0.1)→cosine(rate=0.1,length=50%)→[1e-3,0]"
    ),
    "cyclic(0.1, 3, 12.5%)": "cyclic(0.1,3,12.5%)",
    "warm_restarts(0.1, period=25%, mult=1.5)": "warm_restarts(0.1,25%,mult=1.5)",
    "one_cycle(max=0.01, start=max/25, end=start/1e4, peak=30%)": (
        "one_cycle(0.01,start=4e-4,end=4e-8)"
    ),
    "one_cycle(1, end = start / 100)": "one_cycle(1,end=4e-4)",
    "cosine(to=rate/1e3)": "cosine(to=1e-6)",
    "warmup(2)→[.24, 0%]lin[.1, 50 %]lin[0, 100%]": "warmup(2e)→[0.24,0]lin[0.1,50%]lin[0,100%]",
}


@pytest.mark.parametrize(("text", "canonical"), _CALLS.items())
def test_a_family_prints_in_canonical_form_and_parses_back(text, canonical):
    schedule = parse(text)
    assert str(schedule) == canonical
    assert parse(canonical) == schedule


def test_a_name_may_be_a_part_of_a_chain():
    chain = parse("warmup(2)→type2")
    assert chain == Chain((parse("warmup(2) → 1").parts[0], parse("type2")))


def test_half_and_exp_at_their_quarters():
    half, exp = parse("[3,0]half[1,4]"), parse("[16,0]exp[1,4]")
    root = math.sqrt(0.5)
    assert [half.value(k) for k in range(5)] == pytest.approx([3, 2 + root, 2, 2 - root, 1])
    assert [exp.value(k) for k in range(5)] == pytest.approx([16, 8, 4, 2, 1])


# --- errors -------------------------------------------------------------------------------------


# ▸ stands before the character at fault.
@pytest.mark.parametrize(
    ("marked", "rule"),
    [
        ("▸", "a schedule cannot be empty"),
        ("   ▸", "a schedule cannot be empty"),
        ("▸type3", "no schedule is named 'type3'; names: type1, type2, atienza"),
        ("  ▸type3", "no schedule is named 'type3'"),
        ("▸Type1", "no schedule is named 'Type1'"),
        ("▸lin[1e-3,5]", "no schedule is named"),
        ("[1e-3,0]exp[▸0,5]", "an exp segment needs learning rates of at least 1e-30"),
        ("[1e-31,0]exp[▸1e-3,5]", "an exp segment needs learning rates of at least 1e-30"),
        ("[1,0]lin[2,5s]lin[3,▸9]", "positions must all be in epochs, all in steps"),
        ("[1,0]lin[2,5]lin[3,▸9s]", "positions must all be in epochs, all in steps"),
        ("[1,0]lin[2,5▸steps]", "expected ']'"),
        ("cyclic(0.1, 3▸)", "cyclic needs half_cycle; its parameters: low, high, half_cycle"),
        ("cyclic▸", "cyclic needs low"),
        ("cyclic(0.1, 3, ▸0)", "half_cycle of cyclic must be above 0"),
        ("cyclic(0.1, 3, 50, ▸round)", "policy of cyclic must be one of triangular, triangular2"),
        ("cyclic(0.1, 3, 50, ▸3)", "policy of cyclic must be one of"),
        ("cyclic(0.1, 3, half_cycle=50, ▸sine)", "after a named argument of cyclic"),
        ("cyclic(0.1, 3, 50, ▸low=1)", "low of cyclic is given twice"),
        ("cyclic(0.1, 3, ▸half=50)", "cyclic has no parameter 'half'; it has: low, high"),
        ("▸cyclic(0.1, 3, 50, exp_range)", "needs gamma"),
        ("▸cyclic(0.1, 3, 50, gamma=0.9)", "gamma only with policy=exp_range"),
        ("cyclic(0.1, 3 ▸50)", "expected ',' or ')' after an argument of cyclic"),
        ("cosine(0.1, 0, 5, ▸6)", "cosine has only 3 parameters"),
        ("cosine(0.1▸", "expected ',' or ')'"),
        ("one_cycle(0.1, phases=▸4)", "phases of one_cycle must be 2 or 3, received 4"),
        ("▸one_cycle(0.1, phases=3, peak=0.5)", "peak of one_cycle must be above 0 and below 0.5"),
        ("one_cycle(0.1, peak=▸1.5)", "peak of one_cycle must be from 0 to 1"),
        ("▸1e31", "a learning rate must be at most 1e+30"),
        ("[▸1e31,0]", "a learning rate must be at most 1e+30"),
        ("cosine(▸1e31)", "rate of cosine must be at most 1e+30"),
        ("▸multistep(1e3, [1s,2s], gamma=1e300)", "goes above 1e+30"),
        ("▸０.1", "expected a learning rate"),
        ("warmup(5) → ▸warmup(3) → 0.1", "a warmup must lead to a rate above 0"),
        ("warmup(5) → ▸cyclic(0, 3, 50)", "a warmup must lead to a rate above 0"),
        ("warmup(5) → ▸[0,0]lin[1,5]", "a warmup must lead to a rate above 0"),
        ("▸warm_restarts(0.1, 50, 1.000001)", "mult of warm_restarts must be 1 or at least 1.01"),
        ("warm_restarts(0.1, 50, ▸0.5)", "mult of warm_restarts must be at least 1"),
        ("multistep(0.1, ▸40)", "expected '[' to open the list of milestones"),
        ("multistep(0.1, [40,▸30])", "milestones of multistep must increase"),
        ("multistep(0.1, [40,▸50s])", "must all be in epochs or all in steps"),
        ("multistep(0.1, [50%,▸75])", "in epochs or all in steps or all in percent"),
        ("multistep(0.1, [50%,▸101%])", "a run has no more than 100%, received 101%"),
        ("multistep(0.1, [▸0%])", "milestones of multistep must be above 0"),
        ("multistep(0.1, [▸1e13])", "must be at most 1e+12, received 1e+13"),
        ("one_cycle(0.1, peak=▸130%)", "peak of one_cycle must be from 0 to 1, received 1.3"),
        ("one_cycle(start=▸max/25, max=1)", "max of one_cycle must stand before start of"),
        ("one_cycle(1, start=▸max/0)", "start of one_cycle must be at most 1e+30, received max/0"),
        ("one_cycle(1, start=max▸*2)", "expected '/' after max, as in max/25"),
        ("one_cycle(▸max/25)", "expected max of one_cycle, a number"),
        ("one_cycle(1, start=▸peak/2)", "expected start of one_cycle, a number"),
        ("multistep(0.1, [40▸;50])", "or ']' in the list of milestones"),
        ("multistep(0.1, [40], ▸0)", "gamma of multistep must be above 0"),
        ("▸warmup(5)", "a warmup needs a schedule to lead to"),
        ("▸1e-3 → warmup(5)", "a constant has no end here"),
        ("▸multistep(0.1,[4]) → 0.1", "multistep has no end here, so nothing can follow it"),
        ("warmup(5) → ▸", "expected a learning rate"),
        ("warmup(5) ▸- 0.1", "expected '→' and another schedule"),
        ("▸{8e-4,0}", "expected a learning rate, a number such as 8.e-4, found '{'"),
        ("▸-1e-3", "a learning rate must be finite and at least 0, received -1e-3"),
        ("▸1e999", "a learning rate must be finite"),
        ("1e-3▸x", "expected '→' and another schedule, or the end, found 'x'"),
        ("1e-3 ▸2e-3", "expected '→' and another schedule, or the end, found '2'"),
        ("8e-4▸,0]", "expected '→' and another schedule, or the end, found ','"),
        ("[▸,0]", "expected a learning rate"),
        ("[▸", "expected a learning rate, a number such as 8.e-4, found the end of the text"),
        ("[▸nan,0]", "expected a learning rate"),
        ("[▸-8e-4,0]", "a learning rate must be finite and at least 0, received -8e-4"),
        ("[ ▸1e999, 0]", "a learning rate must be finite and at least 0, received 1e999"),
        ("[8e-4 ▸0]", "expected ',' between a knot's learning rate and its epoch, found '0'"),
        ("[8e-4▸]", "expected ','"),
        ("[8e-4,▸]", "expected an epoch, a number such as 8.e-4, found ']'"),
        ("[8e-4, ▸-1]", "an epoch must be finite and at least 0, received -1"),
        ("[8e-4,0▸", "expected ']' to close the knot, found the end of the text"),
        ("[8e-4,0▸,3]", "expected ']' to close the knot, found ','"),
        ("[1,0]lin[0,▸101%]", "a run has no more than 100%, received 101%"),
        ("[1,0]lin[2,50%]lin[0,▸60]", "positions must all be in epochs, all in steps (5000s) or"),
        ("▸[1,0]lin[0,50%] → 1", "what is in percent of the run has no end here, so nothing can"),
        (
            "[8e-4,0]▸[1e-3,5]",
            "expected a shape (lin, cos, half, exp, const) between knots",
        ),
        ("[8e-4,0] ▸5", "expected a shape (lin, cos, half, exp, const) between knots, found '5'"),
        ("[8e-4,0]▸lni[1e-3,5]", "unknown shape 'lni', allowed: lin, cos, half, exp, const"),
        ("  [8e-4, 0] ▸lni [1e-3, 5]", "unknown shape 'lni'"),
        ("[8e-4,0]▸LIN[1e-3,5]", "unknown shape 'LIN'"),
        ("[8e-4,0]lin[1e-3,5]▸cosine[1e-5,9]", "unknown shape 'cosine'"),
        ("[8e-4,0]lin▸", "expected '[' to open a knot [value, epoch], found the end of the text"),
        ("[8e-4,0]lin ▸1e-3,5]", "expected '[' to open a knot [value, epoch], found '1'"),
        ("[8e-4, 5]lin[1e-3, ▸5]", "epochs must increase from knot to knot: 5 after 5"),
        ("[8e-4,5]lin[1e-3, ▸4.5]cos[1,6]", "epochs must increase from knot to knot: 4.5 after 5"),
        (
            "[8e-4,0]lin[1e-3,5]▸;",
            "exp, const) between knots, found ';'",
        ),
    ],
)
def test_a_syntax_error_names_the_rule_and_marks_the_character_at_fault(marked, rule):
    position, text = marked.index("▸"), marked.replace("▸", "")
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse(text)
    assert caught.value.position == position
    assert rule in caught.value.rule
    first, second, third = str(caught.value).split("\n")
    assert first == f"{caught.value.rule} (at character {position + 1})"
    assert second == "  " + text
    assert third == "  " + " " * position + "^"


def test_the_first_fault_is_the_one_reported():
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse("[8e-4,5]lni[x,4")
    assert caught.value.position == 8


def test_line_ends_and_tabs_keep_the_caret_under_the_fault():
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse("[8e-4,0]\n\tlni[1e-3,5]")
    _, text, caret = str(caught.value).split("\n")
    assert text == "  [8e-4,0]  lni[1e-3,5]"  # a tab is as wide as the terminal likes
    assert text[caret.index("^") :] == "lni[1e-3,5]"


# --- every text ---------------------------------------------------------------------------------

_RATES = st.floats(0, allow_nan=False, allow_infinity=False)
_LEARNING_RATES = st.floats(0, 1e30)


@st.composite
def _segments(draw):
    positions = sorted(draw(st.sets(_RATES, min_size=1, max_size=6)))
    knots = tuple(Knot(draw(_LEARNING_RATES), position) for position in positions)
    shapes = tuple(draw(st.sampled_from(_shapes_for(knots))) for _ in positions[1:])
    units = "es%" if knots[-1].position <= 100 else "es"
    unit = draw(st.sampled_from(units)) if knots[-1].position else "e"
    return Segments(knots, shapes, unit)


def _shapes_for(knots):
    """All shapes, if no rate is too low for exp."""
    lowest = min(knot.value for knot in knots)
    return [shape for shape in SHAPES if shape != "exp" or lowest >= 1e-30]


# Numbers as people choose them, so that the walk over a run meets every segment.
@st.composite
def _everyday_segments(draw):
    positions = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=6)))
    rates = st.just(0.0) | st.floats(1e-9, 10)
    knots = tuple(Knot(draw(rates), position / 4) for position in positions)
    shapes = tuple(draw(st.sampled_from(_shapes_for(knots))) for _ in positions[1:])
    return Segments(knots, shapes)


@_FUZZ
@given(_segments())
def test_the_printed_text_parses_back_to_an_equal_schedule(segments):
    assert parse(str(segments)) == segments


@_FUZZ
@given(_everyday_segments())
def test_each_knot_has_its_value_and_no_rate_leaves_the_range_of_its_segment(segments):
    for knot in segments.knots:
        assert segments.value(knot.position) == pytest.approx(knot.value, rel=1e-14, abs=1e-14)
    for start, end in zip(segments.knots, segments.knots[1:], strict=False):
        low, high = sorted((start.value, end.value))
        for part in (0.01, 0.3, 0.5, 0.99):
            rate = segments.value(start.position + part * (end.position - start.position))
            assert low - 1e-12 <= rate <= high + 1e-12


def _parses_or_says_where(text):
    try:
        segments = parse(text)
    except ScheduleSyntaxError as error:
        assert 0 <= error.position <= len(text)
        first, second, third = str(error).split("\n")
        assert f"(at character {error.position + 1})" in first
        assert (first + second + third).isprintable()
        assert len(first) <= 300
        assert len(second) <= 2 + 160 + 1  # the sign that there is more
        at = third.index("^")
        assert third == " " * at + "^"
        if error.position < len(text) and text[error.position].isprintable():
            assert second[at] == text[error.position]
        else:
            assert second[at : at + 1] in ("", " ", "\ufffd")
        return
    assert parse(str(segments)) == segments
    assert all(math.isfinite(rate) and rate >= 0 for rate in segments.extremes())
    if not isinstance(segments, Segments):
        return
    positions = [knot.position for knot in segments.knots]
    assert positions == sorted(set(positions))
    assert len(segments.shapes) == len(segments.knots) - 1


@_FUZZ
@given(st.text() | st.text("[],.0123456789eE+- lincost()=→>y\n", max_size=40))
def test_any_text_is_a_schedule_or_a_syntax_error(text):
    _parses_or_says_where(text)


@_FUZZ
@given(
    _everyday_segments().map(str) | st.sampled_from([*sorted(NAMED), *_CALLS]),
    st.integers(0, 10**6),
    st.sampled_from(("delete", "insert", "replace")),
    st.characters() | st.sampled_from("[],.-+eE09 lincost"),
)
def test_a_valid_text_with_one_slip_is_a_schedule_or_a_syntax_error(text, place, slip, character):
    place %= len(text)
    rest = text[place:] if slip == "insert" else text[place + 1 :]
    _parses_or_says_where(text[:place] + ("" if slip == "delete" else character) + rest)


@_FUZZ
@given(
    st.lists(
        st.sampled_from(
            [*SHAPES, *FAMILIES, *"[],.()=→seE+-019 \n\x1b\udcff٣", "[1,0]", "1e-3", "gamma="]
        )
    )
)
def test_any_tokens_in_any_order_are_a_schedule_or_a_syntax_error(tokens):
    _parses_or_says_where("".join(tokens))


_HUGE = {
    "10,000 segments": "[1e-3,0]" + "".join(f"lin[{i / 3e7},{i / 3}]" for i in range(1, 10_001)),
    "10,000 segments and a slip": "[1,0]" + "".join(f"lin[1,{i}]" for i in range(1, 10_001)) + "x",
    "nested brackets": "[" * 1_000_000,
    "blanks": " " * 1_000_000,
    "blanks before a slip": "[1,0]" + " " * 1_000_000 + "x",
    "one number": "[" + "1" * 1_000_000 + ",0]",
    "one exponent": "1e" + "9" * 1_000_000,
    "one fraction": "1.5" + "0" * 1_000_000 + "1",
    "points": "1." * 500_000,
    "one word": "a" * 1_000_000,
    "shapes": "[1,0]" + "lin" * 300_000,
    "warm-ups": "warmup(1)→" * 100_000 + "1",
    "arguments": "cosine(" + "1," * 300_000,
    "milestones": f"multistep(1,[{','.join(map(str, range(1, 10_001)))}])",
}


@pytest.mark.parametrize("text", _HUGE.values(), ids=_HUGE)
def test_a_huge_text_is_a_schedule_or_a_short_error_within_two_seconds(text):
    # Processor time: a busy machine says nothing about the parser.
    start = time.process_time()
    try:
        parse(text)
    except ScheduleSyntaxError as error:
        assert len(str(error)) < 800
    assert time.process_time() - start < 2


def test_an_error_in_a_long_text_shows_the_surroundings_of_the_fault(fault):
    text = "[1,0]" + "".join(f"lin[1,{i}]" for i in range(1, 10_001)) + "lni[1,10001]"
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse(text)
    first, shown, caret = str(caught.value).split("\n")
    assert first == "unknown shape 'lni', allowed: lin, cos, half, exp, const (at character 108900)"
    assert shown.startswith("  …")
    assert shown.endswith("lin[1,10000]lni[1,10001]")
    assert shown[caret.index("^") :] == "lni[1,10001]"
    fault("bad input", "schedule of 10,000 segments with a slip near its end", f"refused: {first}")
