"""OwnGradient: the identity, and a gradient that no other operation shares."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc import models
from tfsc.layers.own_gradient import OwnGradient


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=["float32", "bfloat16"])
def test_value_and_gradient_pass_unchanged(dtype, jit):
    layer = OwnGradient(dtype=keras.backend.standardize_dtype(dtype))

    @tf.function(jit_compile=jit)
    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, x, upstream)

    rng = np.random.default_rng(0)
    x, upstream = (tf.constant(rng.normal(size=(2, 3)), dtype) for _ in range(2))
    value, gradient = step(x, upstream)
    np.testing.assert_array_equal(tf.cast(value, tf.float32), tf.cast(x, tf.float32))
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32), tf.cast(upstream, tf.float32))


def test_no_two_convolutions_of_a_network_share_a_gradient(fault):
    """With a shared one, results differ from process to process, but only in some of them."""
    keras.config.set_dtype_policy("mixed_bfloat16")  # in float32, 1×1 are matrix products
    network = models.build(
        "resnet_v2([2,2], pooling=avg, preactivation=downsampling)", (16, 16, 3), 3
    )

    @tf.function
    def gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=True))
        return tape.gradient(loss, [weight.value for weight in network.trainable_weights])

    graph = gradients.get_concrete_function(tf.TensorSpec((4, 16, 16, 3))).graph
    shared = [
        op.inputs[2].name for op in graph.get_operations() if op.type == "Conv2DBackpropFilter"
    ]
    convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers)
    assert len(shared) == convolutions == 15
    assert len(set(shared)) == convolutions
    fault(
        "sameness",
        "bias gradients that TensorFlow merges in an order of addresses",
        "no choice is left to it: each convolution has a gradient of its own",
    )
