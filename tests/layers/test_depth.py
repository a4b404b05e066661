"""StochasticDepth: whole samples are left out, by their numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers.depth import StochasticDepth
from tfsc.layers.dropout import sample_numbers


def _kept(layer, numbers, dtype=tf.float32):
    """Outputs [n, 2, 3, 4] of ones."""
    with sample_numbers(tf.constant(numbers, tf.int64)):
        return layer(tf.ones([len(numbers), 2, 3, 4], dtype), training=True)


def test_a_sample_is_kept_whole_and_scaled_up_or_not_at_all():
    outputs = _kept(StochasticDepth(0.25, seed=3), range(4000)).numpy()
    first = outputs[:, :1, :1, :1]
    np.testing.assert_array_equal(outputs, np.broadcast_to(first, outputs.shape))
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.75], rtol=1e-6)
    # Four standard deviations.
    assert abs((first == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


def test_a_sample_has_its_draw_wherever_it_stands():
    layer, numbers = StochasticDepth(0.5, layer=2, seed=3), [*range(40), 2**40]
    whole = _kept(layer, numbers).numpy()
    np.testing.assert_array_equal(_kept(layer, numbers[::-1]), whole[::-1])
    np.testing.assert_array_equal(_kept(layer, numbers[7:9]), whole[7:9])
    for other in (StochasticDepth(0.5, layer=1, seed=3), StochasticDepth(0.5, layer=2, seed=4)):
        assert not np.array_equal(_kept(other, numbers), whole)


def test_nothing_is_left_out_in_evaluation_or_at_rate_zero():
    ones = np.ones((50, 2, 2, 1), np.float32)
    with sample_numbers(tf.range(50, dtype=tf.int64)):
        np.testing.assert_array_equal(StochasticDepth(0.9)(ones, training=False), ones)
        np.testing.assert_array_equal(StochasticDepth(0.0)(ones, training=True), ones)


def test_outside_a_learner_draws_come_from_a_counter():
    layer, ones = StochasticDepth(0.5, seed=1), np.ones((100, 1, 1, 1), np.float32)
    one, other = (layer(ones, training=True).numpy() for _ in range(2))
    assert {*np.unique(one)} == {*np.unique(other)} == {0, 2}
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(StochasticDepth(0.5, seed=1)(ones, training=True), one)
    assert not np.array_equal(StochasticDepth(0.5, layer=1, seed=1)(ones, training=True), one)


def test_a_16_bit_branch_stays_one():
    layer = StochasticDepth(0.5, dtype="mixed_bfloat16")
    assert _kept(layer, [1, 2], tf.bfloat16).dtype == tf.bfloat16


def test_it_comes_back_from_its_configuration():
    layer = StochasticDepth(0.3, layer=4, seed=2, name="depth")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.rate, again.layer, again.seed, again.name) == (0.3, 4, 2, "depth")


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=r"at least 0 and below 1\. Received: "):
        StochasticDepth(rate)
