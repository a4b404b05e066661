"""BatchStatistics: in evaluation as in training, but for what it remembers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from rounding import assert_equal_but_for_rounding

from tfsc.layers import batch_statistics
from tfsc.layers.batch_statistics import BatchStatistics
from tfsc.layers.norm import FusedBatchNormalization

MAPS = np.random.default_rng(0).normal(5, 3, (4, 2, 3, 2)).astype(np.float32)


def _layer(kind=BatchStatistics, **arguments):
    layer = kind(momentum=0.5, epsilon=0.25, **arguments)
    layer.build(MAPS.shape)
    # Statistics unlike the maps'.
    layer.set_weights(np.array([[0.5, 2], [1, -1], [7, 8], [3, 4]], np.float32))
    return layer


def test_evaluation_has_the_batchs_own_mean_and_variance():
    layer, maps = _layer(), MAPS.astype(np.float64)
    mean, variance = maps.mean((0, 1, 2)), maps.var((0, 1, 2))
    expected = [0.5, 2] * (maps - mean) / np.sqrt(variance + 0.25) + [1, -1]
    np.testing.assert_allclose(layer(MAPS, training=False), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [7, 8])
    np.testing.assert_array_equal(layer.moving_variance, [3, 4])
    alone = layer(MAPS[:1], training=False).numpy()
    assert np.abs(alone - expected[:1]).max() > 0.01  # an image's output depends on the others


class _Replica:
    """One of two, the other of which has the second half of the maps."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.means = iter([MAPS.mean((0, 1, 2)), MAPS.var((0, 1, 2))])

    def all_reduce(self, operation, value):
        assert operation == "MEAN"
        return tf.reshape(next(self.means), value.shape)


def test_in_several_replicas_the_batch_is_that_of_all(monkeypatch):
    layer = _layer()
    whole = layer(MAPS, training=False)
    monkeypatch.setattr(batch_statistics, "one_of_several", _Replica)
    half = layer.call(tf.constant(MAPS[:2]), training=False)
    assert_equal_but_for_rounding(half, whole[:2], units=16)


def test_training_is_batch_normalizations():
    layer, stock = _layer(), _layer(FusedBatchNormalization)
    np.testing.assert_array_equal(layer(MAPS, training=True), stock(MAPS, training=True))
    for ours, theirs in zip(layer.weights, stock.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(layer.moving_mean, [7, 8])


def test_a_frozen_layer_moves_nothing():
    layer = _layer()
    layer.trainable = False
    frozen = layer(MAPS, training=True)
    assert_equal_but_for_rounding(frozen, layer(MAPS, training=False))
    np.testing.assert_array_equal(layer.moving_mean, [7, 8])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_evaluation_keeps_the_maps_type(dtype):
    layer = _layer(dtype=dtype)
    assert layer(MAPS, training=False).dtype == tf.as_dtype(layer.compute_dtype)


def test_it_comes_back_from_its_configuration():
    layer = _layer(name="bn")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, BatchStatistics)
    assert (again.momentum, again.epsilon, again.name) == (0.5, 0.25, "bn")
