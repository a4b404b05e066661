"""ZeroChannels: what was there, then zeros."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers.zero_channels import ZeroChannels


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zeros_follow_the_channels_and_the_gradient_passes_by_them(dtype):
    x = tf.cast(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ZeroChannels(3, dtype=dtype)(x)
        loss = tf.reduce_sum(y * tf.cast(tf.range(8), dtype))
    assert y.shape == (2, 3, 4, 8)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[..., :5], x)
    np.testing.assert_array_equal(y[..., 5:], np.zeros((2, 3, 4, 3)))
    np.testing.assert_array_equal(tape.gradient(loss, x)[0, 0, 0], [0, 1, 2, 3, 4])


def test_it_survives_serialisation_and_knows_its_shape():
    layer = ZeroChannels(7, name="zeros")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is ZeroChannels
    assert again.get_config() == layer.get_config()
    assert again(keras.Input((3, 4, 5))).shape == (None, 3, 4, 12)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_out_of_range_is_named(count):
    with pytest.raises(ValueError, match=rf"at least 1\. Received: {count}"):
        ZeroChannels(count)
