"""Averaging against its formula in float64: moving averages and airbench's lookahead."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.averages.averaging import Averaging


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"decay": 0.9},
        {"decay": 0.9, "every": 3},
        {"decay": 0.9, "every": 2, "power": 2.0},
        {"decay": 0.95**5, "every": 5, "power": 3, "lookahead": True},  # airbench's
        {"decay": 0.5, "lookahead": True},
    ],
)
def test_it_follows_the_formula(arguments, jit):
    total = 12  # no multiple of 5
    averaging = Averaging(**arguments, total_steps=total)
    rng = np.random.default_rng(0)
    weight, average = (keras.Variable(rng.normal(size=4).astype(np.float32)) for _ in range(2))
    w, ema = weight.numpy().astype(np.float64), average.numpy().astype(np.float64)
    decay, power = arguments["decay"], arguments.get("power", 0)
    every, lookahead = arguments.get("every", 1), arguments.get("lookahead", False)

    @tf.function(jit_compile=jit)
    def step(change, steps):
        weight.assign_add(change)
        averaging.move([average], [weight], steps)

    for t in range(1, total + 1):
        change = rng.normal(size=4).astype(np.float32)
        step(change, tf.constant(t, tf.int64))
        w = w + change
        if t % every == 0:
            d = decay * (t / total) ** power
            ema = d * ema + (1 - d) * w
        if lookahead and (t % every == 0 or t == total):
            w = ema
        np.testing.assert_allclose(average, ema, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weight, w, rtol=1e-5, atol=1e-6)


def test_weights_that_are_still_are_followed_and_not_moved():
    """By hand: d = ½; the average goes half way to each weight, and only one weight to it."""
    weights = [keras.Variable([1.0]) for _ in range(3)]
    averages = [keras.Variable([0.0]) for _ in range(3)]
    averaging = Averaging(0.5, lookahead=True, total_steps=2)
    for t in (1, 2):
        still = [tf.constant(True), tf.constant(False), None]
        averaging.move(averages, weights, tf.constant(t, tf.int64), still)
    assert [float(w.numpy()[0]) for w in weights] == [1.0, 0.5, 0.5]
    assert [float(a.numpy()[0]) for a in averages] == [0.75, 0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 1.0}, r"decay must be at least 0 and below 1\. Received: 1.0"),
        ({"every": 0}, r"every must be a whole number from 1\. Received: 0"),
        ({"every": 1.5}, r"every must be a whole number from 1\. Received: 1.5"),
        ({"power": -1}, r"power must be at least 0\. Received: -1"),
        ({"lookahead": True}, r"total_steps must be at least 1 with power or lookahead\. Rec"),
        ({"power": 2.0}, r"total_steps must be at least 1 with power or lookahead\. Rec"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Averaging(**arguments)
