"""Calls: what their texts read as, and every error's rule and place, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.text.component import Component
from tfsc.text.family import Call, Calls, Catalog, Family
from tfsc.text.parameters import Number, Switch, Whole, Wholes, Word
from tfsc.text.reader import TextSyntaxError

PLAIN = Family("plain")
PAINT = Family(
    "paint",
    {
        "size": Whole(low=1, high=9),
        "colour": Word(default="red", choices=("red", "blue"), leading=True),
        "gloss": Switch(),
        "share": Number(default=0.5, high=1.0, percent=True),
        "coats": Wholes(default=(1,), high=5, most=3, alone=True),
    },
    fault=lambda call: "blue is never glossy" if _is_glossy_blue(call) else None,
)
MATT = Family("matt", {"gloss": Switch(default=True)})
INNER, UNDER = Catalog("a coat", (PLAIN, PAINT, MATT)), Catalog("a coat", (PLAIN, MATT))
COVER = Family(
    "cover",
    {
        "inner": Component(catalog=INNER),
        "under": Component(catalog=UNDER, optional=True),
        "part": Number(default=1.0),
    },
)
COATS = Catalog("a coat", (PLAIN, PAINT, MATT, COVER), ordered=True,
                fault=lambda calls: "too shiny" if len(calls) == 4 else None)  # fmt: skip


def _is_glossy_blue(call):
    return call["colour"] == "blue" and call["gloss"]


@pytest.mark.parametrize(
    ("text", "arguments", "canonical"),
    [
        ("paint(3)", {"size": 3}, "paint(3)"),
        ("  paint ( 3 , blue )  ", {"size": 3, "colour": "blue"}, "paint(3,blue)"),
        ("paint(size=3, colour = blue)", {"size": 3, "colour": "blue"}, "paint(3,blue)"),
        ("paint(colour=blue, size=3)", {"size": 3, "colour": "blue"}, "paint(3,blue)"),
        ("paint(3, red)", {"size": 3}, "paint(3)"),
        ("paint(3, gloss)", {"size": 3, "gloss": True}, "paint(3,gloss)"),
        ("paint(3, gloss=true)", {"size": 3, "gloss": True}, "paint(3,gloss)"),
        ("paint(3, gloss=false)", {"size": 3}, "paint(3)"),
        ("paint(3, share=25%)", {"size": 3, "share": 0.25}, "paint(3,share=0.25)"),
        ("paint(3, coats=2)", {"size": 3, "coats": (2,)}, "paint(3,coats=2)"),
        ("paint(3, coats=[2])", {"size": 3, "coats": (2,)}, "paint(3,coats=2)"),
        ("paint(3, coats=[2, 1,5])", {"size": 3, "coats": (2, 1, 5)}, "paint(3,coats=[2,1,5])"),
        ("paint(\n3,\n\tblue)", {"size": 3, "colour": "blue"}, "paint(3,blue)"),
    ],
)
def test_arguments_stand_in_order_or_have_their_names(text, arguments, canonical):
    call = COATS.parse(text)
    defaults = {"colour": "red", "gloss": False, "share": 0.5, "coats": (1,)}
    assert dict(call.arguments) == defaults | arguments
    assert str(call) == canonical
    assert COATS.parse(canonical) == call == COATS.call("paint", **arguments)


@pytest.mark.parametrize("text", ["plain", "plain()", " plain ( ) "])
def test_a_family_without_arguments_needs_no_parentheses(text):
    assert COATS.parse(text) == Call(PLAIN, ())
    assert str(COATS.parse(text)) == "plain"


def test_a_switch_that_is_on_is_turned_off_by_name():
    assert COATS.parse("matt")["gloss"] and COATS.parse("matt(gloss)")["gloss"]
    call = COATS.parse("matt(gloss=false)")
    assert not call["gloss"]
    assert str(call) == "matt(gloss=false)"


def test_calls_stand_in_calls():
    call = COATS.parse("cover(paint(3, coats=[2,1]), under=matt, part=0.25)")
    assert call["inner"] == INNER.parse("paint(3, coats=[2,1])")
    assert call["under"].family == "matt"
    assert str(call) == "cover(paint(3,coats=[2,1]),under=matt,part=0.25)"
    assert COATS.parse("cover(plain)")["under"] is None  # the builder's own
    assert COATS.call("cover", inner=INNER.parse("paint(3)"), part=0.5) == COATS.parse(
        "cover(paint(3), part=0.5)"
    )


def test_arguments_are_found_by_name():
    call = COATS.parse("paint(3)")
    assert "share" in call and "part" not in call
    assert (call.get("share"), call.get("part"), call.get("part", 7)) == (0.5, None, 7)
    assert str(call.replace(share=0.25)) == "paint(3,share=0.25)"
    assert call == COATS.parse("paint(3)")


def test_signatures_are_as_one_would_type_them():
    assert PLAIN.signature() == "plain"
    assert PAINT.signature() == "paint(size, colour=red, gloss=false, share=0.5, coats=1)"
    assert COVER.signature() == "cover(inner, under, part=1)"


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        # What is no family.
        ("", "must name a coat: plain, paint, matt, cover", 0),
        ("  ", "must name a coat", 2),
        (" plane(3)", "no coat is named 'plane'; names: plain, paint, matt, cover; did you mean "
         "plain?", 1),
        ("Plain", "no coat is named 'Plain'", 0),
        ("(3)", "no coat stands here, found '('", 0),
        ("7", "no coat stands here, found '7'", 0),
        # What is no parameter, twice, too many, missing.
        ("paint(3, color=blue)",
         "paint has no parameter 'color'; it has: size, colour, gloss, share, coats", 9),
        ("plain(size=3)", "plain has no parameter 'size'; it has: none", 6),
        ("paint(3, size=3)", "size of paint is given twice", 9),
        ("paint(3, gloss, gloss)", "gloss of paint is given twice", 16),
        ("paint(3, gloss, gloss=false)", "gloss of paint is given twice", 16),
        ("cover(plain, matt, 1, 2)", "cover has only 3 parameters", 22),
        ("plain(3)", "plain has no parameter", 6),
        ("paint", "paint needs size; its parameters: size, colour, gloss, share, coats", 5),
        ("paint()", "paint needs size", 6),
        ("paint(gloss) ", "paint needs size", 11),
        ("paint(share=1, 3)", "after a named argument of paint, all must be named", 15),
        ("paint(3, gloss, 0.5)", "after a named argument of paint, all must be named", 16),
        # Parentheses and commas.
        ("paint(3", "expected ',' or ')' after an argument of paint, found the end of the text", 7),
        ("paint(3 4)", "expected ',' or ')' after an argument of paint, found '4'", 8),
        ("paint(", "expected size of paint", 6),
        ("paint(3,)", "colour of paint must be one of red, blue, found ')'", 8),
        ("paint(3))", "nothing may follow a coat, found ')'", 8),
        ("plain paint(3)", "nothing may follow a coat, found 'p'", 6),
        # Values.
        ("paint(10)", "size of paint must be a whole number from 1 to 9, received 10", 6),
        ("paint(1.5)", "size of paint must be a whole number from 1 to 9, received 1.5", 6),
        ("paint(-1)", "size of paint must be finite and at least 0, received -1", 6),
        ("paint(1e999)", "size of paint must be finite and at least 0, received 1e999", 6),
        ("paint(many)", "expected size of paint, a number such as 8.e-4, found 'm'", 6),
        ("paint(3, green)", "colour of paint must be one of red, blue, found 'green'", 9),
        ("paint(3, 4)", "colour of paint must be one of red, blue, found '4'", 9),
        ("paint(3, colour=)", "colour of paint must be one of red, blue, found ')'", 16),
        ("paint(3, gloss=1)", "gloss of paint must be true or false, found '1'", 15),
        ("paint(3, gloss=yes)", "gloss of paint must be true or false, found 'yes'", 15),
        ("paint(3, red, dull)",
         "paint has no parameter 'dull'; it has: size, colour, gloss, share, coats", 14),
        ("paint(3, share=101%)", "share of paint must be from 0 to 1, received 1.01", 15),
        ("cover(plain, part=5%)", "expected ',' or ')' after an argument of cover, found '%'", 19),
        # Lists.
        ("paint(3, coats=[])", "expected coats of paint, a number such as 8.e-4, found ']'", 16),
        ("paint(3, coats=[1, 6])",
         "coats of paint must be whole numbers from 1 to 5, received 6", 19),
        ("paint(3, coats=0)", "coats of paint must be whole numbers from 1 to 5, received 0", 15),
        ("paint(3, coats=[1 2])",
         "expected ',' or ']' in the list of coats of paint, found '2'", 18),
        ("paint(3, coats=[1,2", "expected ',' or ']' in the list of coats of paint", 19),
        ("paint(3, coats=[1,1,1,1])", "coats of paint may have at most 3 numbers", 22),
        # Calls in calls.
        ("cover(3)", "no coat stands here, found '3'", 6),
        ("cover(cover(plain))", "no coat is named 'cover'; names: plain, paint, matt", 6),
        ("cover(paint(3, share=2))", "share of paint must be from 0 to 1, received 2", 21),
        ("cover(paint, part=1)", "paint needs size", 11),
        ("cover(plain, under=paint(3))",
         "no coat is named 'paint'; names: plain, matt", 19),
        ("cover(under=plain)", "cover needs inner", 17),
        # Several arguments together.
        ("paint(3, blue, gloss)", "blue is never glossy", 0),
        ("cover( paint(3, blue, gloss))", "blue is never glossy", 7),
    ],
)  # fmt: skip
def test_an_error_says_the_rule_and_shows_the_place(text, rule, at):
    with pytest.raises(TextSyntaxError) as caught:
        COATS.parse(text)
    error = caught.value
    assert (error.rule[: len(rule)], error.position) == (rule, at)
    *_, shown, caret = str(error).split("\n")
    assert (shown, caret) == (f"  {text}", f"  {' ' * at}^")
    assert f"(at character {at + 1})" in str(error)


def test_a_list_of_one_may_be_its_number_in_code_too():
    assert COATS.call("paint", size=3, coats=2) == COATS.parse("paint(3, coats=[2])")


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"size": 0}, "size of paint must be a whole number from 1 to 9, received 0"),
        ({"size": 3, "colour": "green"}, "must be one of red, blue, found 'green'"),
        ({"size": 3, "color": "blue"}, "paint has no parameter 'color'"),
        ({"size": None}, "paint needs size"),
    ],
)
def test_arguments_from_code_keep_the_same_rules(arguments, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        COATS.call("paint", **arguments)
    with pytest.raises(TextSyntaxError, match="no coat is named 'pant'"):
        COATS.call("pant", **arguments)


def test_several_stand_in_their_order():
    calls = COATS.parse_several(" plain  paint(3)\nmatt ")
    assert [call.family for call in calls] == ["plain", "paint", "matt"]
    assert str(calls) == "plain paint(3) matt"
    assert COATS.parse_several(str(calls)) == calls
    assert calls.named("paint")["size"] == 3 and calls.named("cover") is None
    assert len(calls) == 3


@pytest.mark.parametrize("text", ["none", " none "])
def test_none_is_none_of_them(text):
    assert COATS.parse_several(text) == Calls()
    assert (str(Calls()), len(Calls())) == ("none", 0)


def test_without_an_order_any_is_as_good():
    assert str(INNER.parse_several("matt plain paint(1)")) == "matt plain paint(1)"


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        ("", "must be none, or name what there is: plain, paint, matt, cover", 0),
        ("matt plain", "plain must stand before matt", 5),
        ("plain matt paint(3)", "paint must stand before matt", 11),
        ("plain paint(3) paint(4)", "paint is given twice", 15),
        ("paint(3) plain paint(3)", "plain must stand before paint", 9),
        ("none plain", "nothing may follow none, found 'p'", 5),
        ("plain none", "no coat is named 'none'", 6),
        ("plain, matt", "expected a blank and another coat, or the end, found ','", 5),
        ("plain pant", "no coat is named 'pant'", 6),
        ("paint(3) matt(2)", "", 14),
        ("plain paint(3) matt cover(plain)", "too shiny", 0),
    ],
)
def test_errors_of_several_say_the_rule_and_show_the_place(text, rule, at):
    with pytest.raises(TextSyntaxError) as caught:
        COATS.parse_several(text)
    assert caught.value.rule.startswith(rule)
    assert caught.value.position == at
    assert str(caught.value).endswith(f"\n  {' ' * at}^")


def test_a_catalog_is_a_mapping_with_its_noun():
    assert list(COATS) == ["plain", "paint", "matt", "cover"]
    assert COATS["paint"] is PAINT and len(COATS) == 4
    assert (COATS.part, COATS.noun) == ("a coat", "coat")


def test_catalogs_may_say_more_of_words_that_they_do_not_have():
    catalog = Catalog(
        "a coat",
        (PLAIN, PAINT),
        other_name=lambda word: "; ours is paint" if word == "varnish" else "",
        other_parameter=lambda word, family, names: f"; {family} has {len(names)}",
        further=("bare",),
    )
    for text, rule in (
        ("varnish", "no coat is named 'varnish'; ours is paint"),
        ("lack", "no coat is named 'lack'; names: bare, plain, paint"),
        ("paint(3, tint=1)", "paint has no parameter 'tint'; paint has 5"),
    ):
        with pytest.raises(TextSyntaxError, match=rule):
            catalog.parse(text)


_WORDS = ("paint", "cover", "plain", "gloss", "coats", "size", "none", "true", "3", "0.5", "7e9")


@given(st.lists(st.sampled_from([*_WORDS, *"()[],=% \n\x00é"]), max_size=12).map("".join))
def test_any_text_is_calls_that_read_back_or_an_error_that_shows_a_place_in_it(text):
    for parse in (COATS.parse, COATS.parse_several):
        try:
            read = parse(text)
        except TextSyntaxError as error:
            assert 0 <= error.position <= len(text)
        else:
            assert parse(str(read)) == read
