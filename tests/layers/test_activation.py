"""FusedActivation is Keras' Activation, with its gradients, and can be exported without XLA."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

from tfsc.layers.activation import FusedActivation
from tfsc.layers.portable import portable

X = np.linspace(-9, 9, 721, dtype=np.float32).reshape(1, 7, 103, 1)


def _reference(name, x):
    """Value and slope in float64."""
    x = x.astype(np.float64)
    if name == "gelu":
        share = (1 + erf(x / 2**0.5)) / 2
        return x * share, share + x * np.exp(-x * x / 2) / (2 * np.pi) ** 0.5
    share = 1 / (1 + np.exp(-x))
    return x * share, share * (1 + x * (1 - share))


@pytest.mark.parametrize("name", ["gelu", "silu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_slopes_are_those_of_the_formulas(name, dtype):
    layer = FusedActivation(name, dtype=dtype)
    x = tf.constant(X, dtype)
    upstream = tf.cast(tf.cos(tf.constant(X)), dtype)

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, x, upstream)

    exact = _reference(name, tf.cast(x, tf.float32).numpy())
    expected = exact[0], exact[1] * tf.cast(upstream, tf.float32).numpy()
    tolerance = 2e-6 if dtype == "float32" else 2**-8  # half a unit in bfloat16's last place
    for result, value in zip(run(x), expected, strict=True):
        assert result.dtype == dtype
        result = tf.cast(result, tf.float32)
        np.testing.assert_allclose(result, value, rtol=tolerance, atol=2e-6)
    with portable():
        np.testing.assert_allclose(
            tf.cast(layer(x), tf.float32), exact[0], rtol=tolerance, atol=2e-6
        )


def test_others_are_keras_own():
    for name in ("relu", "elu", "linear"):
        np.testing.assert_array_equal(
            FusedActivation(name)(X), keras.activations.get(name)(tf.constant(X))
        )


def test_portable_graphs_have_no_compiled_functions(tmp_path):
    inputs = keras.Input(X.shape[1:])
    module = tf.Module()
    module.network = keras.Model(inputs, FusedActivation("gelu")(inputs))
    found = []
    for name in ("plain", "compiled"):
        serve = tf.function(lambda x: module.network(x), [tf.TensorSpec(X.shape)], autograph=False)
        with portable() if name == "plain" else contextlib.nullcontext():
            tf.saved_model.save(module, str(tmp_path / name), serve)
        graph = (tmp_path / name / "saved_model.pb").read_bytes()
        found.append(b"_XlaMustCompile" in graph)
    assert found == [False, True]


def test_round_trips_through_its_configuration():
    layer = FusedActivation("gelu", name="act")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is FusedActivation
    assert again.activation is keras.activations.gelu
