"""LocalResponse: Caffe's arithmetic, at the edges and in 16 bits too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers.local_response import LocalResponse
from tfsc.layers.portable import portable


def _reference(x, size, alpha, beta):
    """Straight from the definition, value by value, in float64."""
    x = x.astype(np.float64)
    y = np.empty_like(x)
    half = size // 2
    for n, i, j, c in np.ndindex(x.shape):
        window = x[n, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1, c]
        y[n, i, j, c] = x[n, i, j, c] / (1 + alpha / size**2 * np.sum(window**2)) ** beta
    return y


def test_a_point_in_the_middle_and_one_in_a_corner_by_hand():
    x = np.full((1, 3, 3, 2), 3.0, np.float32)
    x[..., 1] = 100  # another channel does not count
    y = LocalResponse(3, alpha=5.0, beta=0.5)(x).numpy()
    # Nine times 9 in the middle: 3/√(1 + 5·81/9) = 3/√46; four times 9 in a corner: 3/√21.
    np.testing.assert_allclose(y[0, 1, 1, 0], 3 / 46**0.5, rtol=1e-6)
    np.testing.assert_allclose(y[0, 2, 0, 0], 3 / 21**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "alpha", "beta"), [(3, 5e-5, 0.75), (5, 0.1, 1.5), (1, 2.0, 0.5), (3, 0.0, 0.75)]
)
def test_values_are_the_definitions(size, alpha, beta):
    x = np.random.default_rng(0).normal(0, 100, (2, 4, 6, 3)).astype(np.float32)
    y = LocalResponse(size, alpha, beta)(x)
    np.testing.assert_allclose(y, _reference(x, size, alpha, beta), rtol=2e-6)


def test_gradients_are_the_definitions_differences():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(0, 2, (2, 1, 3, 4, 2))
    with tf.GradientTape() as tape:
        maps = tf.Variable(x, dtype=tf.float32)
        loss = tf.reduce_sum(LocalResponse(3, 0.5, 0.75)(maps) * tf.cast(weights, tf.float32))
    expected = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        ends = [np.sum(_reference(x + s * step, 3, 0.5, 0.75) * weights) for s in (1, -1)]
        expected[place] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(tape.gradient(loss, maps), expected, atol=1e-5)


def test_in_16_bits_only_the_result_is_rounded():
    # 1 + 5e-5·mean(x²) of these lies within bfloat16's rounding of 1.
    x = tf.cast(np.random.default_rng(0).normal(0, 8, (1, 4, 4, 3)), tf.bfloat16)
    y = LocalResponse(dtype="bfloat16")(x)
    assert y.dtype == tf.bfloat16
    exact = _reference(tf.cast(x, tf.float32).numpy(), 3, 5e-5, 0.75)
    # Where bfloat16's rounding changes direction, the last bit of float32 before it decides.
    ends = [tf.cast(exact * factor, tf.bfloat16) for factor in (1 - 1e-6, 1 + 1e-6)]
    assert np.all((np.minimum(*ends) <= y) & (y <= np.maximum(*ends)))


def test_it_survives_serialisation_and_knows_its_shape():
    layer = LocalResponse(5, 0.25, 0.5, name="norm")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is LocalResponse
    assert again.get_config() == layer.get_config()
    assert again(keras.Input((3, 4, 5))).shape == (None, 3, 4, 5)


@pytest.mark.parametrize("arguments", [{"size": 2}, {"size": -1}, {"alpha": -0.1}])
def test_arguments_out_of_range_are_named(arguments):
    with pytest.raises(ValueError, match="needs an odd size and alpha of at least 0"):
        LocalResponse(**arguments)


def test_a_portable_graph_has_operations_that_onnx_has():
    x = tf.constant(np.random.default_rng(0).normal(0, 8, (2, 4, 6, 3)), tf.float32)
    layer = LocalResponse()
    with portable():
        graph = tf.function(layer).get_concrete_function(x).graph
        y = layer(x)
    assert "Log1p" not in {op.type for op in graph.get_operations()}
    np.testing.assert_allclose(y, layer(x), rtol=2e-7)
