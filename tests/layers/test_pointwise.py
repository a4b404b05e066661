"""PointwiseConv2D against Conv2D."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers import pointwise
from tfsc.layers.pointwise import PointwiseConv2D
from tfsc.layers.portable import portable


def _pair(filters=7, **arguments):
    """The layer and Keras' own with the same weights, on maps of 5 channels."""
    layers = PointwiseConv2D(filters, **arguments), keras.layers.Conv2D(filters, 1, **arguments)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(1, 1, 5, filters)), rng.normal(size=filters)]
    for layer in layers:
        layer.build((None, 4, 6, 5))
        layer.set_weights(weights)
    return layers


def _maps(batch=3):
    return tf.constant(np.random.default_rng(1).normal(size=(batch, 4, 6, 5)), tf.float32)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("batch", [3, None])
def test_outputs_and_gradients_are_those_of_the_convolution(activation, batch):
    results = []
    for layer in _pair(activation=activation):

        @tf.function(input_signature=[tf.TensorSpec([batch, 4, 6, 5])])
        def run(maps, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(maps)
                outputs = layer(maps)
                loss = tf.reduce_sum(outputs * tf.cos(outputs))
            sources = [maps, layer.kernel.value, layer.bias.value]
            return [outputs, *tape.gradient(loss, sources)]

        results.append(run(_maps()))
    for mine, keras_own in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("policy", "gpu", "expected"),
    [
        ("float32", False, "MatMul"),
        ("float32", True, "Conv2D"),
        ("mixed_bfloat16", False, "Conv2D"),
    ],
)
def test_it_is_a_matrix_product_only_in_float32_on_a_cpu(monkeypatch, policy, gpu, expected):
    monkeypatch.setattr(pointwise, "has_gpu", lambda: gpu)
    layer = PointwiseConv2D(7, dtype=policy)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([3, 4, 6, 5])).graph
    types = {op.type for op in graph.get_operations()} & {"MatMul", "Conv2D"}
    assert types == {expected}


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3},
        {"strides": 2},
        {"groups": 2},
        {"use_bias": False},
        {"data_format": "channels_first"},
    ],
)
def test_what_it_does_not_do_is_refused(arguments):
    with pytest.raises(ValueError, match="PointwiseConv2D needs"):
        PointwiseConv2D(4, **arguments)


def test_it_survives_serialisation():
    layer, _ = _pair()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is PointwiseConv2D
    assert again.get_config() == layer.get_config()


def test_in_a_portable_graph_it_is_the_convolution():
    mine, keras_own = _pair()
    with portable():
        graph = tf.function(mine).get_concrete_function(tf.TensorSpec([3, 4, 6, 5])).graph
        np.testing.assert_allclose(mine(_maps()), keras_own(_maps()), rtol=1e-6)
    assert {op.type for op in graph.get_operations()} & {"MatMul", "Conv2D"} == {"Conv2D"}
