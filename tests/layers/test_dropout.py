"""SampleDropout: the mask belongs to the sample."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from rounding import assert_equal_but_for_rounding

from tfsc.layers.dropout import SampleDropout, sample_numbers


def _dropped(layer, numbers, features=1000, dtype=tf.float32):
    with sample_numbers(tf.constant(numbers, tf.int64)):
        return layer(tf.ones([len(numbers), features], dtype), training=True).numpy()


def test_a_sample_has_its_mask_wherever_it_stands():
    layer = SampleDropout(0.4, seed=3)
    whole = _dropped(layer, [10, 11, 12, 2**40])
    np.testing.assert_array_equal(_dropped(layer, [12, 10]), whole[[2, 0]])
    np.testing.assert_array_equal(_dropped(layer, [2**40]), whole[[3]])
    assert len(np.unique(whole, axis=0)) == 4
    assert not np.array_equal(_dropped(SampleDropout(0.4, seed=4), [10]), whole[:1])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_dropped_is_the_rate_and_the_mean_stays(rate):
    values = _dropped(SampleDropout(rate), range(50), features=2000)
    zero = (values == 0).mean()
    # 100,000 draws: four standard deviations.
    assert abs(zero - rate) < 4 * np.sqrt(rate * (1 - rate) / values.size)
    np.testing.assert_allclose(values[values > 0], 1 / (1 - rate), rtol=1e-4)


def test_maps_keep_their_shape_and_type():
    layer = SampleDropout(0.5)
    with sample_numbers(tf.constant([1, 2], tf.int64)):
        outputs = layer(tf.ones([2, 3, 4, 5], tf.float32), training=True)
    assert outputs.shape == (2, 3, 4, 5) and outputs.dtype == tf.float32


def test_nothing_is_dropped_in_inference_or_at_rate_zero():
    ones = np.ones((2, 1000), np.float32)
    with sample_numbers(tf.constant([1, 2], tf.int64)):
        np.testing.assert_array_equal(SampleDropout(0.5)(ones, training=False), ones)
        np.testing.assert_array_equal(SampleDropout(0.0)(ones, training=True), ones)


def test_outside_a_learner_it_is_keras_dropout():
    layer, stock = SampleDropout(0.5, seed=1), keras.layers.Dropout(0.5, seed=1)
    ones = np.ones((4, 100), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(layer(ones, training=True), stock(ones, training=True))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_graphs_and_xla_draw_the_same(jit):
    layer = SampleDropout(0.3, seed=2)

    @tf.function(jit_compile=jit)
    def call(x, numbers):
        with sample_numbers(numbers):
            return layer(x, training=True)

    numbers = [5, 6, 7]
    result = call(tf.ones([3, 50]), tf.constant(numbers, tf.int64))
    expected = _dropped(layer, numbers, 50)
    np.testing.assert_array_equal(result != 0, expected != 0)  # the draws are integers
    assert_equal_but_for_rounding(result, expected)


def test_it_comes_back_from_its_configuration():
    layer = SampleDropout(0.3, seed=2, name="drop")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.rate, again.seed, again.name) == (0.3, 2, "drop")
