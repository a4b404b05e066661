"""Each family at hand-computed points, in float64 and in a graph, and as a part of Keras."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsc.errors import RecipeError
from tfsc.schedules import builder, catalog
from tfsc.schedules.compose import PerEpoch, Scaled, Sequence, Warmup
from tfsc.schedules.cosine import Cosine
from tfsc.schedules.cyclic import Cyclic
from tfsc.schedules.exponential import Exponential
from tfsc.schedules.multistep import MultiStep
from tfsc.schedules.one_cycle import OneCycle
from tfsc.schedules.polynomial import Polynomial
from tfsc.schedules.segments import SegmentSchedule
from tfsc.schedules.warm_restarts import WarmRestarts

ROOT = math.sqrt(0.5)
# text, rates by step, in a run of 40 steps, 10 an epoch.
_POINTS = {
    "cyclic(1, 3, 4)": {0: 1, 1: 1.5, 4: 3, 6: 2, 8: 1, 12: 3},
    "cyclic(1, 3, 4, triangular2)": {4: 3, 8: 1, 12: 2, 20: 1.5, 14: 1.5},
    "cyclic(1, 3, 4, exp_range, gamma=0.5)": {0: 1, 4: 1 + 2 / 16, 2: 1 + 1 / 4},
    "cyclic(1, 3, 4, sine)": {0: 1, 1: 2 - ROOT, 2: 2, 4: 3, 8: 1},
    "cyclic(1, 3, 4, welch)": {0: 1, 1: 1 + 2 * 7 / 16, 2: 2.5, 4: 3, 8: 1},
    "cyclic(1, 3, 0.4e, cycles=1)": {4: 3, 8: 1, 12: 1, 39: 1},
    # Knots at 0, 0.25·40 − 1 = 9, 18, 39.
    "one_cycle(3, start=1, end=0.5, peak=0.25, phases=3, anneal=linear)": {
        0: 1,
        3: 1 + 2 / 3,
        9: 3,
        18: 1,
        32: 1 - 0.5 * 14 / 21,
        39: 0.5,
        50: 0.5,
    },
    "one_cycle(2.5, peak=0.25)": {0: 0.1, 9: 2.5, 24: (2.5 + 1e-5) / 2, 39: 1e-5},
    "warm_restarts(2, 1, mult=2)": {0: 2, 5: 1, 9: 1 + math.cos(0.9 * math.pi), 10: 2, 20: 1},
    "warm_restarts(2, 4s, to=1)": {0: 2, 1: 1.5 + ROOT / 2, 2: 1.5, 4: 2, 38: 1.5},
    "multistep(8, [1, 1.55, 3], gamma=0.5)": {0: 8, 9: 8, 10: 4, 15: 4, 16: 2, 29: 2, 30: 1, 99: 1},
    "multistep(8, [25%, 50%, 75%], gamma=0.5)": {9: 8, 10: 4, 19: 4, 20: 2, 30: 1},
    "warm_restarts(2, period=50%)": {0: 2, 10: 1, 20: 2, 30: 1},
    "cyclic(1, 3, half_cycle=10%)": {0: 1, 4: 3, 6: 2, 8: 1, 12: 3},
    "exponential(8, 0.5, every=25%, length=50%)": {10: 4, 20: 2, 30: 2},
    # Of the run; then of the 30 steps that the warm-up leaves, and of the 15 that both leave.
    "warmup(25%) → cosine(2, to=1, length=50%) → multistep(4, [20%])": {
        5: 1,
        10: 2,
        24: 1.5 - 0.5 * math.cos(math.pi / 15),
        25: 4,
        27: 4,
        28: 0.4,
    },
    "cosine(2, to=1)": {0: 2, 10: 1.5 + ROOT / 2, 20: 1.5, 40: 1, 99: 1},
    "cosine(2, length=2)": {10: 1, 20: 0, 30: 0},
    "exponential(8, 0.5)": {0: 8, 10: 4, 15: 4 * ROOT, 40: 0.5},
    "exponential(8, 0.5, 5s, length=1)": {5: 4, 10: 2, 30: 2},
    "polynomial(3, to=1)": {0: 3, 20: 2, 40: 1},
    "polynomial(4, power=2)": {0: 4, 10: 2.25, 20: 1, 40: 0},
    "[4,0]half[2,2]exp[0.5,4]": {0: 4, 5: 3 + ROOT, 10: 3, 20: 2, 30: 1, 40: 0.5},
    "[1,0]lin[3,8s]const[4,20s]": {0: 1, 2: 1.5, 8: 3, 19: 3, 20: 4},
    # What the warm-up leaves of the run, 30 steps, is the cosine's length.
    "warmup(1) → cosine(2)": {0: 0, 5: 1, 9: 1.8, 10: 2, 25: 1, 40: 0},
    "warmup(8s, gradual, start=0.5) → 2": {0: 1, 4: 1.5, 8: 2, 30: 2},
    "warmup(1, constant) → type2": {0: 8e-5, 9: 8e-5, 10: 8e-4, 30: 1.15e-3},
    "[1,0]lin[2,1] → 5 ": {0: 1, 9: 1.9, 10: 5, 30: 5},
    "cyclic(1,3,4,cycles=1) → [7,0]lin[5,2] ": {4: 3, 7: 1.5, 8: 7, 18: 6, 28: 5, 39: 5},
}


@pytest.mark.parametrize(("text", "points"), _POINTS.items())
def test_rates_at_hand_computed_steps(text, points):
    schedule = builder.build(text, steps_per_epoch=10, total_steps=40)
    expected = list(points.values())
    assert [schedule.value(step) for step in points] == pytest.approx(expected, abs=1e-12)
    rates = tf.function(schedule)(tf.constant(list(points), tf.int64))
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-6)


def test_per_epoch_moves_at_the_start_of_each_epoch_only():
    per_step = builder.build("cosine(2)", 97, 970)
    per_epoch = builder.build("cosine(2)", 97, 970, per="epoch")
    steps = np.arange(970)
    expected = [per_step.value(step // 97 * 97) for step in steps]
    assert [per_epoch.value(step) for step in steps] == expected
    np.testing.assert_allclose(tf.function(per_epoch)(steps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("period", "mult"), [(10, 2.0), (7, 1.0), (97, 1.0), (3, 1.3), (12.5, 1.0), (12.5, 1.5)]
)
def test_a_restart_comes_at_its_first_step_in_a_graph_too(period, mult):
    schedule = WarmRestarts(1.0, period, mult)
    begin, length, firsts = 0.0, period, []
    while begin < 5000:
        begin, length = begin + length, length * mult
        firsts.append(math.ceil(begin))
    firsts = np.array(firsts)
    at, before = (tf.function(schedule)(tf.constant(s)).numpy() for s in (firsts, firsts - 1))
    assert (at > 0.95 * math.cos(math.pi / period)).all()
    assert (before < 0.6).all()


@pytest.mark.parametrize("text", [*_POINTS, "0.1"])
def test_it_survives_serialisation(text):
    schedule = Scaled(builder.build(text, 10, 40, per="epoch"), 3.0)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    again = keras.optimizers.schedules.deserialize(config)
    assert again.get_config() == schedule.get_config()
    steps = range(0, 45, 3)
    assert [again.value(step) for step in steps] == [schedule.value(step) for step in steps]


def test_the_language_and_the_registry_know_the_same_families():
    assert set(catalog.FAMILIES) - {"warmup"} == set(builder.FAMILIES)


def test_scaled_is_a_factor():
    assert Scaled(Cosine(2.0, 40), 8.0).value(20) == 8.0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["cyclic(0.1,3,{}s,{})", "one_cycle(3,start=0.1,end=0.1,anneal=cosine)", "cosine(3,0.1)"]
    ),
    st.integers(1, 5000),
    st.sampled_from(["triangular", "triangular2", "sine", "welch"]),
    st.integers(0, 10**6),
)
def test_no_rate_leaves_its_bounds(text, half, policy, step):
    schedule = builder.build(text.format(half, policy), 97, 20_000)
    assert 0.1 - 1e-9 <= schedule.value(step) <= 3 + 1e-9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warmup(4) → 0.1", r"warmup\(4e\) takes 40 steps, the run leaves 40 \(10 an epoch\)"),
        ("warmup(3) → [1,0]lin[2,1] → 1", r"takes 10 steps, the run leaves 10"),
    ],
)
def test_a_run_too_short_for_its_chain_is_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        builder.build(text, steps_per_epoch=10, total_steps=40)


def test_a_single_step_has_no_cycle():
    with pytest.raises(RecipeError, match="needs at least 2 steps, received 1"):
        builder.build("one_cycle(0.1)", steps_per_epoch=10, total_steps=1)


_CONSTANT = SegmentSchedule("1", 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cyclic(0.1, 3, 0), "half_cycle must be a finite number above 0. Received: 0"),
        (lambda: Cyclic(0.1, -3, 5), "high must be a finite number from 0. Received: -3"),
        (lambda: Cyclic(0.1, 3, 5, "round"), "policy must be one of"),
        (lambda: Cyclic(0.1, 3, 5, gamma=2), "gamma must be above 0 and at most 1. Received: 2"),
        (lambda: Cyclic(0.1, 3, 5, cycles=0), "cycles must be"),
        (lambda: OneCycle(0.1, 1), "steps must be a finite number from 2. Received: 1"),
        (lambda: OneCycle(0.1, 9, peak=0.6, phases=3), "peak must be above 0 and below 0.5"),
        (lambda: OneCycle(0.1, 9, anneal="exp"), "anneal must be one of"),
        (lambda: OneCycle(0.1, 9, phases=4), "phases must be one of"),
        (lambda: WarmRestarts(0.1, 10, 0.5), "mult must be a finite number from 1"),
        (lambda: MultiStep(0.1, [3, 2]), "milestones must increase"),
        (lambda: Cosine(0.1, float("inf")), "steps must be a finite number above 0"),
        (lambda: Polynomial(0.1, 5, power=0), "power must be"),
        (lambda: Exponential(0.1, 5, gamma=1.5), "gamma must be at most 1"),
        (lambda: Warmup(_CONSTANT, 5, "slow"), "policy must be one of"),
        (lambda: Warmup(_CONSTANT, 5, start=2), "start must be at most 1"),
        (lambda: Sequence(_CONSTANT, 0, _CONSTANT), "steps must be"),
        (lambda: Scaled(_CONSTANT, 0), "factor must be"),
        (lambda: PerEpoch(_CONSTANT, 0), "steps_per_epoch must be"),
        (lambda: SegmentSchedule("cosine", 5), "text must be segments"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make()
