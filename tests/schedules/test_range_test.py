"""`RangeTest`: hand-computed rates, float32 against float64, and as a part of Keras."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.schedules.range_test import RangeTest


def test_exponential_growth_multiplies_and_linear_growth_adds():
    # mult = (10/1e-2)^(1/3) = 10
    exponential = RangeTest(0.01, 10, num_steps=4)
    assert [exponential.value(step) for step in range(4)] == pytest.approx([0.01, 0.1, 1, 10])
    linear = RangeTest(0, 3, num_steps=7, growth="linear")
    assert [linear.value(step) for step in range(7)] == [0, 0.5, 1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize(
    "schedule",
    [
        RangeTest(1e-6, 10, 100),
        RangeTest(0, 3, 1000, "linear"),
        RangeTest(1e-3, 1, 50, first_step=2**24 + 1),
    ],
    ids=["exponential", "linear", "late"],
)
def test_called_in_a_graph_it_is_the_float64_value_rounded(schedule):
    steps = np.arange(-3, schedule.num_steps + 3) + schedule.first_step
    rates = tf.function(schedule)(tf.constant(steps, tf.int64))
    assert rates.dtype == tf.float32
    expected = [schedule.value(int(step)) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=3e-6, atol=1e-9)
    assert expected[:4] == [schedule.start] * 4 and expected[-4:] == [schedule.end] * 4


def test_get_config_round_trips_through_keras_serialization():
    schedule = RangeTest(1e-6, 10, 100, "linear", first_step=7)
    text = json.dumps(keras.optimizers.schedules.serialize(schedule))
    again = keras.optimizers.schedules.deserialize(json.loads(text))
    assert type(again) is RangeTest
    assert again.get_config() == schedule.get_config()
    assert again.get_config()["first_step"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 1, "end": 1}, r"0 ≤ start < end.*Received: start=1, end=1"),
        ({"start": -1}, "0 ≤ start < end"),
        ({"end": float("inf")}, "must be finite"),
        ({"end": float("nan")}, "must be finite"),
        ({"start": 0}, "start must be above 0 for exponential growth"),
        ({"num_steps": 1}, "num_steps must be a whole number from 2. Received: 1"),
        ({"num_steps": 2.5}, "num_steps must be a whole number"),
        ({"first_step": -1}, "first_step must be a whole number from 0"),
        ({"growth": "cubic"}, "growth must be one of exponential, linear. Received: 'cubic'"),
    ],
)
def test_bad_arguments_state_the_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        RangeTest(**{"start": 1e-3, "end": 1, "num_steps": 10} | arguments)
