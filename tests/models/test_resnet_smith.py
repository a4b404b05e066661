"""resnet_smith: its size as published, and every value of a small one against NumPy."""

import json
import re

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from keras.layers import Conv2D, Dense
from planned import planned
from real_data import REFERENCE

from tfsc import models
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.text.reader import TextSyntaxError

VECTORS = REFERENCE / "test_vectors.json"
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,2]", input_shape=(8, 12, 3), **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"resnet_smith({parameters})", input_shape, 5, **arguments)


def _planned(parameters, input_shape=(8, 12, 3), classes=5):
    with planned():
        return models.build(f"resnet_smith({parameters})", input_shape, classes)


def _layers(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def _trainable(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_resnet_56_has_as_many_parameters_as_published():
    with_biases, without = (_planned(p, (32, 32, 3), 10) for p in ("", "bias=none"))
    assert _trainable(with_biases) == 808_682
    assert _trainable(without) == 806_746
    if VECTORS.exists():
        published = json.loads(VECTORS.read_text())["params"]
        assert _trainable(with_biases) == published["smith_resnet56_convbias"]
        assert _trainable(without) == published["smith_resnet56_nobias"]


def test_resnet_20_has_20_layers_and_its_parameters():
    network = _planned("[3,3,3]", (32, 32, 3), 10)
    weighted = _layers(network, Conv2D) + _layers(network, Dense)
    assert len(weighted) == 6 * 3 + 2 == 20
    # Convolutions, their biases and the BatchNorms' scale and offset, block by block.
    expected = 9 * 3 * 16 + 3 * 16
    for into, width in [(16, 16)] * 4 + [(32, 32)] * 3 + [(64, 64)] * 2:
        expected += 2 * (9 * into * width + 3 * width)
    assert _trainable(network) == expected + 64 * 10 + 10


@pytest.mark.parametrize("downsampling", ["caffe", "tensorflow"])
def test_every_logit_of_a_small_network_is_numpys(downsampling):
    """Stem, block, halving block with zero channels, block, head: all padding and order shows."""
    mean = IMAGES.mean(0) / 255
    network = reference.randomized(
        _small(
            f"[1,2], bias=standard, downsampling={downsampling}, bn_epsilon=0.125",
            mean=mean,
            scale=255.0,
        )
    )
    caffe = downsampling == "caffe"

    def conv(x, name, stride=1):
        ends = {"before": 0} if stride == 2 and not caffe else {}
        weights = network.get_layer(name).get_weights()
        return reference.conv(x, *weights, stride=stride, **ends)

    def norm(x, name):
        return reference.norm(x, network.get_layer(name), 0.125)

    def branch(x, name, stride=1):
        y = reference.relu(norm(conv(x, f"{name}_conv1", stride), f"{name}_bn1"))
        return norm(conv(y, f"{name}_conv2"), f"{name}_bn2")

    x = reference.relu(norm(conv(IMAGES - 255 * mean, "stem_conv"), "stem_bn"))
    x = reference.relu(x + branch(x, "stack0_unit0"))
    halved = reference.pool(x, 3 if caffe else 2, 2)
    x = reference.relu(halved + branch(x, "stack1_unit0", 2))
    x = np.concatenate([x, np.zeros_like(x)], -1)
    x = reference.relu(x + branch(x, "stack1_unit1"))
    kernel, bias = network.get_layer("logits").get_weights()
    expected = x.mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("bias", "without"),
    [
        ("all", set()),
        ("standard", {"stack1_unit0_conv1", "stack1_unit0_conv2"}),
        ("none", {f"stack{s}_conv{c}" for s in ("0_unit0", "1_unit0", "1_unit1") for c in (1, 2)}
         | {"stem_conv"}),
    ],
)  # fmt: skip
def test_biases_are_where_asked(bias, without):
    network = _planned(f"[1,2], bias={bias}")
    assert {c.name for c in _layers(network, Conv2D) if not c.use_bias} == without


def test_initial_weights_are_normal_of_variance_2_over_fan_in_and_differ_from_layer_to_layer():
    network = _small("[1,1,3]")
    for conv in _layers(network, Conv2D)[-4:]:
        # 36,864 draws: the standard deviation is known to 0.4 %.
        kernel = conv.kernel.numpy()
        np.testing.assert_allclose(kernel.std(), (2 / (9 * 64)) ** 0.5, rtol=0.02)
        assert np.abs(kernel).max() > 3 * kernel.std()  # not truncated
        assert not np.any(conv.bias.numpy())
    kernels = [conv.kernel.numpy() for conv in _layers(network, Conv2D)[-4:]]
    assert len({kernel.tobytes() for kernel in kernels}) == 4
    dense = network.get_layer("logits").kernel.numpy()
    assert 0.95 * (3 / 64) ** 0.5 < np.abs(dense).max() <= (3 / 64) ** 0.5


def test_batchnorms_have_the_momentum_and_epsilon_asked_for():
    def values(network):
        return {(n.momentum, n.epsilon) for n in _layers(network, FusedBatchNormalization)}

    assert values(_planned("[1,2]")) == {(0.95, 1e-5)}
    assert values(_planned("[1,2], bn_momentum=0.999, bn_epsilon=0.01")) == {(0.999, 0.01)}


@pytest.mark.parametrize("size", [7, 5])
def test_odd_sizes_are_halved_upwards(size):
    network = _small("[1,1,1]", (size, size, 1))
    half = (size + 1) // 2
    assert network.get_layer("stack1_unit0_zeros").output.shape == (None, half, half, 32)
    assert network(np.zeros((1, size, size, 1), np.uint8)).shape == (1, 5)


def test_logits_are_float32_of_a_16_bit_network():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = _small(mean=0.5, scale=255.0)
    assert network.get_layer("stack0_unit0_conv1").compute_dtype == "bfloat16"
    assert network.get_layer("stack1_unit0_zeros").output.dtype == "bfloat16"
    assert network(IMAGES, training=False).dtype == tf.float32
    assert network.get_layer("logits").kernel.dtype == "float32"


def test_activation_penalty_and_dropout_are_those_asked_for():
    network = _small("[1,2], activation=silu, dropout=0.25", l2=0.5, dropout_seed=7)
    for layer in _layers(network, keras.layers.Activation):
        expected = "linear" if layer.name == "float32_logits" else "silu"
        assert layer.activation is keras.activations.get(expected)
    assert (network.get_layer("dropout").rate, network.get_layer("dropout").seed) == (0.25, 7)
    squares = sum(np.sum(conv.kernel.numpy() ** 2.0) for conv in _layers(network, Conv2D))
    np.testing.assert_allclose(float(tf.add_n(network.losses)), 0.5 * squares, rtol=1e-5)
    assert _small().losses == []


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected units of resnet_smith, .* found ']'"),
        ("[1,0]", "units of resnet_smith must be whole numbers from 1 to 100, received 0"),
        ("bias=some", "must be one of all, standard, none, found 'some'"),
        ("downsampling=torch", "must be one of caffe, tensorflow, found 'torch'"),
        ("shortcut=3", "resnet_smith has no parameter 'shortcut'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        _small(parameters)


@pytest.mark.parametrize(
    ("parameters", "shape", "rule"),
    [
        ("[1,2]", (8, 1, 3), "needs images of at least 2×2"),
        ("[1,2], downsampling=tensorflow", (8, 7, 3), "needs image sizes that 2 divides"),
    ],
)
def test_images_that_do_not_suit_are_refused(parameters, shape, rule):
    with pytest.raises(
        ValueError, match=rf"{rule}\. Received: input_shape={re.escape(str(shape))}"
    ):
        _small(parameters, shape)
