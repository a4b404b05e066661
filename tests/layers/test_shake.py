"""ShakeShake against its definition: what it mixes forward, and what it mixes back."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from rounding import assert_equal_but_for_rounding

from tfsc import random
from tfsc.layers import shake
from tfsc.layers.dropout import sample_numbers
from tfsc.layers.shake import BACKWARD, FORWARD, LEVELS, ShakeShake

NUMBERS = [7, 8, 2**40, 3]
_RNG = np.random.default_rng(0)
ONE, OTHER, UPSTREAM = _RNG.normal(size=(3, 4, 2, 3, 5)).astype(np.float32)


def _shares(layer, numbers=NUMBERS):
    """What the layer is defined to take for these samples: α and β, [n, 1, 1, 1]."""
    drawn = numbers if layer.level == "image" else numbers[:1] * len(numbers)
    stream = random.of_layer(random.SHAKE, layer.layer)
    alpha, beta = random.uniform_pair(layer.seed, stream, tf.constant(drawn, tf.int64))
    half = np.full(len(numbers), 0.5, np.float32)
    forward = {"shake": alpha, "even": half}[layer.forward]
    backward = {"shake": beta, "even": half, "keep": forward}[layer.backward]
    return (np.asarray(share, np.float64)[:, None, None, None] for share in (forward, backward))


def _pass(layer, one=ONE, other=OTHER, numbers=NUMBERS):
    """Output and both gradients in training."""
    one, other = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
    with tf.GradientTape() as tape, sample_numbers(tf.constant(numbers, tf.int64)):
        tape.watch([one, other])
        y = layer([one, other], training=True)
        loss = tf.reduce_sum(y * UPSTREAM[: len(numbers)])
    return y, *tape.gradient(loss, [one, other])


@pytest.mark.parametrize(
    ("forward", "backward", "level"), [*itertools.product(FORWARD, BACKWARD, LEVELS)]
)
def test_both_ways_have_the_shares_of_the_definition(forward, backward, level):
    layer = ShakeShake(forward, backward, level, layer=2, seed=5)
    y, to_one, to_other = _pass(layer)
    alpha, beta = _shares(layer)
    np.testing.assert_allclose(y, alpha * ONE + (1 - alpha) * OTHER, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_one, beta * UPSTREAM, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_other, (1 - beta) * UPSTREAM, rtol=1e-5, atol=1e-6)
    assert len(np.unique(alpha)) == {("shake", "image"): 4}.get((forward, level), 1)


def test_the_shares_are_uniform_and_independent_of_each_other():
    layer = ShakeShake(layer=1, seed=9)
    alpha, beta = (share.ravel() for share in _shares(layer, [*range(10_000)]))
    for share in (alpha, beta):
        # The deviation of a mean of 10,000 uniform draws is .0029, of a decile .003.
        assert abs(share.mean() - 0.5) < 0.012
        assert np.abs(np.histogram(share, 10, (0, 1))[0] / 10_000 - 0.1).max() < 0.012
    assert abs(np.corrcoef(alpha, beta)[0, 1]) < 0.04


def test_an_image_has_its_draws_wherever_it_stands():
    layer = ShakeShake(seed=3)
    whole = [values.numpy() for values in _pass(layer)]
    order = [3, 1, 0, 2]
    again = _pass(layer, ONE[order], OTHER[order], [NUMBERS[i] for i in order])
    assert_equal_but_for_rounding(again[0], whole[0][order])
    for other in (ShakeShake(seed=4), ShakeShake(seed=3, layer=1)):
        assert np.abs(_pass(other)[0] - whole[0]).max() > 0.01


@pytest.mark.parametrize("level", LEVELS)
def test_evaluation_is_the_mean_of_both(level):
    layer = ShakeShake(level=level)
    with sample_numbers(tf.constant(NUMBERS, tf.int64)):
        y = layer([tf.constant(ONE), tf.constant(OTHER)], training=False)
    np.testing.assert_allclose(y, (ONE + OTHER) / 2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("level", "different"), [("image", 50), ("batch", 1)])
def test_outside_a_learner_draws_come_from_a_counter(level, different):
    layer = ShakeShake(level=level, seed=1)
    ones, zeros = np.ones((50, 1, 1, 1), np.float32), np.zeros((50, 1, 1, 1), np.float32)
    first, second = (layer([ones, zeros], training=True).numpy() for _ in range(2))
    assert len(np.unique(first)) == len(np.unique(second)) == different
    assert not np.isin(first, second).any()
    again = ShakeShake(level=level, seed=1)
    np.testing.assert_array_equal(again([ones, zeros], training=True), first)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_graphs_and_xla_mix_the_same(jit):
    layer = ShakeShake(seed=2)
    expected = _pass(layer)
    traced = tf.function(lambda: _pass(layer), jit_compile=jit)
    for found, value in zip(traced(), expected, strict=True):
        assert_equal_but_for_rounding(found, value)


def test_16_bit_maps_stay_so_both_ways():
    layer = ShakeShake(dtype="mixed_bfloat16")
    one, other = (tf.constant(maps, tf.bfloat16) for maps in (ONE, OTHER))
    with tf.GradientTape() as tape, sample_numbers(tf.constant(NUMBERS, tf.int64)):
        tape.watch(one)
        y = layer([one, other], training=True)
    assert y.dtype == tape.gradient(y, one).dtype == tf.bfloat16


class _Replica:
    """One of two, as MirroredStrategy's context; the first one's batch begins with `first`."""

    num_replicas_in_sync = 2

    def __init__(self, place, first):
        self.replica_id_in_sync_group, self.first = place, first

    def all_reduce(self, operation, value):
        assert operation == "SUM"
        others = 0 if self.replica_id_in_sync_group == 0 else self.first
        return value + others


@pytest.mark.parametrize("place", [0, 1])
def test_a_batchs_draws_are_those_of_the_first_replicas_first_image(place, monkeypatch):
    layer = ShakeShake(level="batch")
    whole = _pass(layer)
    monkeypatch.setattr(shake, "one_of_several", lambda: _Replica(place, NUMBERS[0]))
    share = slice(2 * place, 2 * place + 2)
    part = _pass(layer, ONE[share], OTHER[share], NUMBERS[share])
    assert_equal_but_for_rounding(part[0], whole[0][share])


def test_it_comes_back_from_its_configuration():
    layer = ShakeShake("even", "keep", "batch", layer=4, seed=2, name="mix")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert (again.forward, again.backward, again.level) == ("even", "keep", "batch")
    assert (again.layer, again.seed, again.name) == (4, 2, "mix")


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"forward": "keep"}, r"forward must be one of shake, even\. Received: keep"),
        ({"backward": "odd"}, r"backward must be one of shake, even, keep\. Received: odd"),
        ({"level": "pixel"}, r"level must be one of image, batch\. Received: pixel"),
    ],
)
def test_another_word_is_refused(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        ShakeShake(**arguments)
