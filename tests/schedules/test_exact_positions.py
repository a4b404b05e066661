"""Where a schedule is at a step, exactly: fractions of epochs, long trainings, growing batches.

The reference computes with fractions of the numbers as they are written.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tfsc.errors import RecipeError
from tfsc.schedules.builder import build
from tfsc.schedules.compose import ByEpoch, PerEpoch
from tfsc.schedules.cyclic import Cyclic
from tfsc.schedules.multistep import MultiStep
from tfsc.schedules.segments import SegmentSchedule

_FUZZ = settings(max_examples=25, deadline=None)
_STEPS_PER_EPOCH = st.integers(1, 2000) | st.sampled_from([100, 781, 390, 97])
_LAST = 10**6  # steps of the runs below


@st.composite
def _decimals(draw):
    """A decimal text of at most three digits behind the point, above 0."""
    digits = draw(st.integers(0, 3))
    return f"{draw(st.integers(1, 30 * 10**digits)) / 10**digits:.{digits}f}"


def _first_step(text, per):
    """The first step at or after a position."""
    return math.ceil(Fraction(text) * per)


def _both(schedule, *changes):
    """Rates before and at each of some steps, of the table and of the graph's operations."""
    steps = [step + k for step in changes for k in (-1, 0)]
    in_graph = schedule(tf.constant(steps, tf.int64)).numpy()
    return [*np.reshape([schedule.value(s) for s in steps], (-1, 2)), *in_graph.reshape(-1, 2)]


def _jumps(text, steps_per_epoch, step, total=_LAST):
    assume(1 <= step < total)
    schedule = build(text, steps_per_epoch, total)
    for before, at in _both(schedule, step):
        assert (before, at) == (1, 2)


def test_a_milestone_at_one_tenth_of_an_epoch_comes_with_its_step():
    schedule = build("multistep(1,[1.1])", 100, 1000)
    rates = [schedule.value(step) for step in (109, 110, 111)]
    assert rates == pytest.approx([1, 0.1, 0.1])  # 1.1·100 is more than 110 in float64
    np.testing.assert_allclose(schedule(tf.constant([109, 110, 111])), rates)


@_FUZZ
@given(_decimals(), _STEPS_PER_EPOCH)
@example("1.1", 100)  # more than 110 in float64
@example("0.29", 100)  # less than 29
@pytest.mark.parametrize(
    "text",
    [
        "multistep(1,[{}],gamma=2)",
        "[1,0]const[2,{}]",
        "[1,0]lin[1,{}] → 2",
        "warmup({},constant,0.5) → 2",
        "cyclic(1,1,{}e,cycles=0.5) → 2",
    ],
)
def test_a_change_comes_at_the_first_step_of_its_time(text, number, steps_per_epoch):
    _jumps(text.format(number), steps_per_epoch, _first_step(number, steps_per_epoch))


@_FUZZ
@given(_decimals(), _STEPS_PER_EPOCH, st.sampled_from([1, 2, 3]))
def test_restarts_come_at_the_first_step_of_their_time(number, steps_per_epoch, mult):
    period = Fraction(number) * steps_per_epoch
    assume(period >= 4)  # at which a rate falls between two restarts
    schedule = build(f"warm_restarts(1,{number},mult={mult},to=0.1)", steps_per_epoch, _LAST)
    begin, length, restarts = Fraction(0), period, []
    for _ in range(10):
        begin, length = begin + length, length * mult
        if begin <= 10**9:
            restarts.append(math.ceil(begin))
    for before, at in _both(schedule, *restarts):
        assert before < at


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("number", ["1.1", "2.3", "0.29", "4.35"])
def test_a_chain_adds_its_parts_exactly(number, per):
    # Each of five parts takes so many epochs of 100 steps.
    text = " → ".join([f"[{{}},0]lin[{{}},{number}]"] * 5).format(*(n // 2 for n in range(10)))
    schedule = build(text + " → 9", 100, _LAST, per)
    ends = [k * Fraction(number) * 100 for k in range(1, 6)]
    held = 100 if per == "epoch" else 1
    for step in (math.ceil(end / held) * held for end in ends):
        moved = [(step - 1) // held * held, step]
        parts = [sum(end <= at for end in ends) for at in moved]
        for rates in _both(schedule, step):
            assert rates.tolist() == [9 if part == 5 else part for part in parts]


def test_a_chain_that_fills_the_run_to_the_last_step_is_too_long():
    for number in ("0.29", "1.1", "2.3"):  # 0.29·100 is less than 29, 1.1·100 more than 110
        total = _first_step(number, 100)
        with pytest.raises(RecipeError, match="nothing of"):
            build(f"warmup({number}) → 0.1", 100, total)
        build(f"warmup({number}) → 0.1", 100, total + 1)


# --- long trainings -----------------------------------------------------------------------------


def _reference_window(step, half, policy):
    """The window of a cycle in fractions, its cosine in float64."""
    cycle = step // (2 * half)
    x = abs(Fraction(step) / half - 2 * cycle - 1)
    if policy == "sine":
        return 0.5 * (1 + math.cos(math.pi * float(x)))
    window = 1 - x**2 if policy == "welch" else 1 - x
    return float(window) * (2.0**-cycle if policy == "triangular2" else 1)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("policy", ["triangular", "sine", "welch", "triangular2"])
def test_a_cycle_keeps_its_digits_for_a_thousand_million_steps(policy, jit):
    halves = [5, 2000, Fraction(15, 2)]
    schedules = [Cyclic(0.0, 1.0, float(half), policy) for half in halves]
    steps = [begin + k for begin in (0, 10**6, 10**7, 2**24, 10**8, 10**9) for k in range(40)]
    # In one function: each that is compiled takes a while.
    graph = tf.function(lambda s: [schedule(s) for schedule in schedules], jit_compile=jit)
    all_rates = graph(tf.constant(steps, tf.int64))
    for half, schedule, rates in zip(halves, schedules, all_rates, strict=True):
        expected = [_reference_window(step, half, policy) for step in steps]
        assert rates.dtype == tf.float32
        np.testing.assert_allclose(rates, expected, atol=1e-6, err_msg=f"{half=}")
        if not jit:
            in_float64 = [schedule.value(step) for step in steps]
            np.testing.assert_allclose(in_float64, expected, atol=1e-9, err_msg=f"{half=}")


_LONG = [
    "cosine(1)",
    "polynomial(1)",
    "polynomial(1,power=0.5)",
    "exponential(1,gamma=0.999,every=10000s)",
    "one_cycle(1,peak=0.999,anneal=linear)",
    "warm_restarts(1,period=300s)",
    "warm_restarts(1,period=333.3s)",
    "warm_restarts(1,period=300s,mult=1.5)",
    "[1,0]lin[0.5,{a}s]lin[0,{b}s]",
    "[1,0]const[0.5,{a}s]half[0.7,{b}s]exp[1e-3,{c}s]",
    "[1,0]lin[0.5,{a}s] → cosine(1,length=90s) → [1,0]lin[0,70s]",
    "warmup({a}s) → one_cycle(1,start=0.1,end=0.1,length=60s)",
    "cyclic(0,1,50,exp_range,gamma=0.9999999)",
    "multistep(1,[{a}s,{b}s])",
]


@pytest.mark.parametrize(
    ("total", "per", "jit"),
    [(10**7, "step", False), (10**8 + 50, "epoch", True)],
    ids=["graph", "xla"],
)
@pytest.mark.parametrize("text", _LONG)
def test_the_graph_has_the_rates_of_float64_at_the_end_of_a_long_run(text, total, per, jit):
    text = text.format(a=total - 200, b=total - 100, c=total - 13)
    schedule = build(text, 10, total, per)
    steps = np.array([0, total // 2, *range(total - 250, total + 3)])
    expected = [schedule.value(step) for step in steps]
    rates = tf.function(schedule, jit_compile=jit)(tf.constant(steps, tf.int64))
    assert rates.dtype == tf.float32
    np.testing.assert_allclose(rates, expected, rtol=2e-6, atol=5e-6)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_milestones_beyond_the_whole_numbers_of_float32_come_with_their_step(dtype):
    milestones = [2**24 + 1, 2**24 + 4, 10**9 + 1]
    schedule = tf.function(MultiStep(1.0, milestones, gamma=2.0))
    steps = [step + k for step in milestones for k in (-1, 0)]
    np.testing.assert_array_equal(schedule(tf.constant(steps, dtype)), [1, 2, 2, 4, 4, 8])


# --- batches that grow or shrink ----------------------------------------------------------------


@_FUZZ
@given(_decimals(), st.integers(50, 1000), st.integers(5, 1000))
def test_a_milestone_holds_its_time_when_epochs_change_their_steps(number, before, after):
    # From epoch 3 on, epochs have another number of steps.
    stages = [(0, 0, before), (3 * before, 3, after)]
    time = Fraction(number)
    step = math.ceil(time * before) if time <= 3 else 3 * before + math.ceil((time - 3) * after)
    for inner in (
        MultiStep(1.0, [float(time) * before], gamma=2.0),
        SegmentSchedule(f"[1,0]const[2,{number}]", before),
    ):
        for rates in _both(ByEpoch(inner, stages), step):
            assert rates.tolist() == [1, 2]


def test_an_epoch_of_many_steps_holds_its_rate_to_its_end():
    # The last of 781 steps is less than half of one of the first 390 before the epoch's end.
    inner = PerEpoch(MultiStep(1.0, [390 * 4.0], gamma=2.0), 390)
    schedule = ByEpoch(inner, [(0, 0, 390), (390 * 3, 3, 781)])
    for rates in _both(schedule, 390 * 3 + 781):
        assert rates.tolist() == [1, 2]
