"""caffe_cifar10: Caffe's layers in their order, every value against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from keras.layers import Conv2D

from tfsc import models
from tfsc.text.reader import TextSyntaxError


def _images(height, width):
    return np.random.default_rng(0).integers(0, 256, (3, height, width, 3)).astype(np.uint8)


def _small(parameters="", input_shape=(8, 12, 3), *, scale=255.0, **arguments):
    keras.utils.set_random_seed(0)
    text = f"caffe_cifar10({parameters})"
    return models.build(text, input_shape, 5, scale=scale, **arguments)


def test_maps_and_parameters_are_caffes():
    network = models.build("caffe_cifar10", (32, 32, 3), 10)
    shapes = [network.get_layer(f"pool{i}").output.shape[1:] for i in (1, 2, 3)]
    assert shapes == [(16, 16, 32), (8, 8, 32), (4, 4, 64)]
    counts = [layer.count_params() for layer in network.layers if layer.count_params()]
    assert counts == [75 * 32 + 32, 800 * 32 + 32, 800 * 64 + 64, 1024 * 10 + 10]
    assert network.count_params() == 89_578


# Even sizes halve to even ones, or to odd ones (pooled without a rest), or differ in that.
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 11), (12, 8)])
def test_every_logit_is_numpys(height, width):
    images = _images(height, width)
    mean = images.mean(0) / 255
    network = reference.randomized(_small("", (height, width, 3), mean=mean))

    def conv(x, name):
        return reference.conv(x, *network.get_layer(name).get_weights(), before=2, after=2)

    def respond(x):
        padded = np.pad(x**2, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return x * (1 + 5e-5 * reference.pool(padded, 3, 1)) ** -0.75

    x = reference.pool(conv(images - 255 * mean, "conv1"), 3, 2, np.max)
    assert np.max(respond(x) / x) < 1 and np.min(respond(x) / x) < 0.95  # LRN shows
    x = respond(reference.relu(x))
    x = respond(reference.pool(reference.relu(conv(x, "conv2")), 3, 2))
    x = reference.pool(reference.relu(conv(x, "conv3")), 3, 2)
    assert x.shape == (3, height // 8, width // 8, 64)
    kernel, bias = network.get_layer("logits").get_weights()
    expected = x.reshape(3, -1) @ kernel + bias
    np.testing.assert_allclose(network(images, training=False), expected, rtol=1e-4, atol=1e-3)


def test_initial_weights_are_caffes_and_differ_from_layer_to_layer():
    network = models.build("caffe_cifar10", (32, 32, 3), 10)
    for name, deviation in {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "logits": 0.01}.items():
        layer = network.get_layer(name)
        np.testing.assert_allclose(layer.kernel.numpy().std(), deviation, rtol=0.05)
        assert not np.any(layer.bias.numpy())
    first = [network.get_layer(name).kernel.numpy().ravel()[:9] for name in ("conv2", "conv3")]
    assert not np.array_equal(*first)


def test_the_penalty_has_caffes_multipliers():
    network = reference.randomized(_small(l2=0.002))
    weights = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    dense = weights.pop("logits")[0]
    squares = sum(np.sum(w**2.0) for pair in weights.values() for w in pair)
    expected = 0.002 * squares + 0.5 * np.sum(dense**2.0)
    np.testing.assert_allclose(float(tf.add_n(network.losses)), expected, rtol=1e-5)
    assert _small().losses == []


def test_activation_dropout_and_scale_are_those_asked_for():
    network = _small("activation=silu, dropout=0.25", dropout_seed=7, scale=1.0, mean=0.5)
    assert {network.get_layer(f"act{i}").activation for i in (1, 2, 3)} == {keras.activations.silu}
    assert (network.get_layer("dropout").rate, network.get_layer("dropout").seed) == (0.25, 7)
    images = _images(8, 12)
    scaled = keras.Model(network.input, network.get_layer("scale").output)(images)
    np.testing.assert_allclose(scaled, images / 255 - 0.5, atol=1e-6)


def test_logits_are_float32_of_a_16_bit_network():
    network = reference.randomized(_small())
    exact = network(_images(8, 12), training=False).numpy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = reference.randomized(_small())
    assert {conv.compute_dtype for conv in half.layers if isinstance(conv, Conv2D)} == {"bfloat16"}
    logits = half(_images(8, 12), training=False)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, exact, atol=0.03 * np.abs(exact).max())


@pytest.mark.parametrize("shape", [(7, 8, 3), (8, 7, 1)])
def test_images_too_small_are_refused(shape):
    with pytest.raises(ValueError, match=r"caffe_cifar10 needs images of at least 8×8\. Received"):
        _small("", shape)


@pytest.mark.parametrize("parameter", ["units", "bn_momentum", "bn_epsilon", "bias"])
def test_it_has_neither_stacks_nor_batchnorm(parameter):
    with pytest.raises(TextSyntaxError, match=f"caffe_cifar10 has no parameter '{parameter}'"):
        _small(f"{parameter}=1")
