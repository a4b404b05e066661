"""ScalarBias and ScalarScale: one number each, with the gradient of all values."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers.scalar import ScalarBias, ScalarScale

MAPS = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", [ScalarBias, ScalarScale])
def test_a_layer_begins_as_the_identity_and_has_one_number(kind):
    layer = kind()
    np.testing.assert_array_equal(layer(MAPS), MAPS)
    (variable,) = layer.trainable_variables
    assert variable.shape == (1,)
    assert variable.path.endswith({ScalarBias: "/bias", ScalarScale: "/scale"}[kind])


def test_bias_is_added_and_its_gradient_is_the_sum():
    layer = ScalarBias()
    layer.build(MAPS.shape)
    layer.bias.assign([0.5])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(MAPS) * MAPS)
    np.testing.assert_allclose(layer(MAPS), MAPS + 0.5)
    np.testing.assert_allclose(tape.gradient(loss, layer.bias), [MAPS.sum()], rtol=1e-4)


def test_scale_multiplies_and_its_gradient_is_the_sum_of_products():
    layer = ScalarScale()
    layer.build(MAPS.shape)
    layer.scale.assign([0.5])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(MAPS) * MAPS)
    np.testing.assert_allclose(layer(MAPS), MAPS / 2)
    np.testing.assert_allclose(tape.gradient(loss, layer.scale), [(MAPS**2).sum()], rtol=1e-4)


@pytest.mark.parametrize("kind", [ScalarBias, ScalarScale])
def test_16_bit_maps_stay_so_and_a_gradient_of_many_values_is_no_less(kind):
    """A sum in bfloat16 itself would stop at 256."""
    layer = kind(dtype="mixed_bfloat16")
    ones = tf.ones([4, 32, 32, 16], tf.bfloat16)
    with tf.GradientTape() as tape:
        maps = layer(ones)
        loss = tf.reduce_sum(tf.cast(maps, tf.float32))
    assert maps.dtype == tf.bfloat16
    (variable,) = layer.trainable_variables
    assert variable.dtype == "float32"
    np.testing.assert_allclose(tape.gradient(loss, variable), [4 * 32 * 32 * 16], rtol=0.01)


@pytest.mark.parametrize("kind", [ScalarBias, ScalarScale])
def test_it_comes_back_from_its_configuration(kind):
    layer = kind(name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, kind) and again.name == "mine"
