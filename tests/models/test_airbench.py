"""airbench: its size as published, and every value of a small one against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from planned import planned
from scipy.special import erf

from tfsc import models
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.whitening import whitening_kernel
from tfsc.models import NETWORKS
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[30,40]", input_shape=(8, 12, 3), **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"airbench({parameters})", input_shape, 5, **arguments)


def _count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def _formula(widths, depth, classes=10):
    """The stem's bias; 3×3 kernels and BatchNorm's offsets; the dense layer."""
    count, into = 24, 24
    for width in widths:
        count += 9 * into * width + (depth - 1) * 9 * width * width + depth * width
        into = width
    return count + into * classes


def test_parameters_are_as_many_as_published():
    """airbench94: 1.97 million; 288 of the whitening and 2 statistics a channel do not train."""
    whitening = np.zeros((2, 2, 3, 24), np.float32)
    network = models.build("airbench", (32, 32, 3), 10, whitening=whitening)
    assert _formula((64, 256, 256), 2) == 1_971_352
    assert _count(network.trainable_variables) == 1_971_352
    assert _count(network.non_trainable_variables) == 288 + 2 * 2 * (64 + 256 + 256)
    assert network.get_layer("group2_conv2_bn").output.shape == (None, 3, 3, 256)
    deeper = _small("[8,16], depth=3", whitening=whitening)
    assert _count(deeper.trainable_variables) == _formula((8, 16), 3, 5)


@pytest.mark.parametrize(
    ("text", "widths", "depth", "count"),
    [
        ("[128,384,384]", (128, 384, 384), 2, 4_604_440),
        ("[128,384,512],depth=3,residual,bn_momentum=0.9", (128, 384, 512), 3, 9_915_416),
    ],
)
def test_airbench95_and_96_are_wider_and_deeper(text, widths, depth, count):
    """Sums have no weights; the deeper one has ten convolutions, the stem's included."""
    with planned():
        network = models.build(f"airbench({text})", (32, 32, 3), 10)
    stem = 288  # without a whitening its kernel trains, too
    assert _count(network.trainable_variables) - stem == _formula(widths, depth) == count
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 3 * depth + 1
    assert NETWORKS.parse(f"airbench({text})")["residual"] == (depth == 3)


def _gelu(x):
    return x * (1 + erf(x / 2**0.5)) / 2


@pytest.mark.parametrize("whitened", [True, False])
def test_every_logit_of_a_small_network_is_numpys(whitened):
    mean, scale = np.float32([0.3, 0.4, 0.5]), np.float32([4, 5, 6])
    whitening = whitening_kernel((IMAGES / 255 - mean) * scale) if whitened else None
    parameters = "[30,40], depth=2, bn_epsilon=0.125, logit_scale=0.25"
    network = _small(parameters, whitening=whitening, mean=mean, scale=scale)
    network = reference.randomized(network)

    def normed(x, name):
        return _gelu(reference.norm(x, network.get_layer(f"{name}_bn"), 0.125))

    def conv(x, name):
        return reference.conv(x, network.get_layer(name).get_weights()[0])

    kernel, bias = (w.numpy() for w in (network.layers[2].kernel, network.layers[2].bias))
    x = _gelu(reference.conv((IMAGES / 255 - mean) * scale, kernel, bias, before=0, after=0))
    for group in (0, 1):
        x = conv(x, f"group{group}_conv1")
        height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
        x = reference.pool(x[:, :height, :width], 2, 2, np.max)
        x = normed(x, f"group{group}_conv1")
        x = normed(conv(x, f"group{group}_conv2"), f"group{group}_conv2")
    expected = 0.25 * x.max((1, 2)) @ network.get_layer("logits").kernel.numpy()
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_residual_group_adds_what_its_first_convolution_made(depth):
    network = reference.randomized(_small(f"[6], depth={depth}, residual, bn_epsilon=0.125"))
    inner = keras.Model(network.input, [network.get_layer("stem_act").output, network.output])
    x, logits = (values.numpy() for values in inner(IMAGES, training=False))

    def normed(x, name):
        return reference.norm(x, network.get_layer(f"{name}_bn"), 0.125)

    for index in range(1, depth + 1):
        name = f"group0_conv{index}"
        x = reference.conv(x, network.get_layer(name).get_weights()[0])
        if index == 1:
            # 7×11 maps behind the stem; a window that sticks out is left out.
            x = first = _gelu(normed(reference.pool(x[:, :6, :10], 2, 2, np.max), name))
        else:
            x = _gelu(normed(x, name) + (first if index == depth else 0))
    expected = x.max((1, 2)) @ network.get_layer("logits").kernel.numpy() / 9
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_convolutions_begin_as_the_identity_and_uniform_within_one_over_root_fan_in():
    network = _small()
    for name, into, out in (("group0_conv1", 24, 30), ("group1_conv2", 40, 40)):
        kernel = network.get_layer(name).kernel.numpy()
        identity = np.zeros((3, 3, into, into))
        identity[1, 1] = np.eye(into)
        np.testing.assert_array_equal(kernel[..., :into], identity)
        rest = np.abs(kernel[..., into:])
        if out > into:
            bound = (9 * into) ** -0.5
            assert 0.99 * bound < rest.max() <= bound
    head = np.abs(network.get_layer("logits").kernel.numpy())
    assert 0.95 * 40**-0.5 < head.max() <= 40**-0.5
    plain = _small("[30,40], depth=3, identity_init=false")
    one, other = (plain.get_layer(f"group0_conv{i}").kernel.numpy() for i in (2, 3))
    assert (one != 0).all() and (one == other).mean() < 0.01


def test_settings_reach_the_layers():
    parameters = "[30,40], activation=silu, dropout=0.25, bn_momentum=0.75"
    network = _small(parameters, l2=0.5, dropout_seed=7)
    norms = [layer for layer in network.layers if isinstance(layer, FusedBatchNormalization)]
    assert {(n.momentum, n.epsilon, n.scale) for n in norms} == {(0.75, 1e-12, False)}
    assert (network.get_layer("dropout").rate, network.get_layer("dropout").seed) == (0.25, 7)
    assert network.get_layer("stem_act").activation is keras.activations.silu
    kernels = [layer.kernel for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    squares = sum(np.sum(kernel.numpy() ** 2.0) for kernel in kernels)
    np.testing.assert_allclose(float(tf.add_n(network.losses)), 0.5 * squares, rtol=1e-5)
    assert "logit_scale" not in {layer.name for layer in _small("[30,40], logit_scale=1").layers}


def test_only_the_ends_of_a_16_bit_network_are_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = _small(whitening=np.zeros((2, 2, 3, 24), np.float32))
    dtypes = {name: network.get_layer(name).compute_dtype
              for name in ("whitening", "stem_act", "group0_conv1", "logits")}  # fmt: skip
    assert dtypes == {"whitening": "float32", "stem_act": "bfloat16",
                      "group0_conv1": "bfloat16", "logits": "float32"}  # fmt: skip
    assert network(IMAGES, training=False).dtype == tf.float32


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected widths of airbench, .* found ']'"),
        ("[4,0]", "widths of airbench must be whole numbers from 1 to 4096, received 0"),
        ("depth=0", "depth of airbench must be a whole number from 1 to 8, received 0"),
        ("depth=1, residual", "residual of airbench needs a depth of at least 2, has 1"),
        ("units=[1,1]", "airbench has no parameter 'units'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        _small(parameters)


def test_images_that_cannot_be_halved_so_often_are_refused():
    rule = r"needs images of at least 5×5\. Received: input_shape=\(4, 8, 3\)"
    with pytest.raises(ValueError, match=rule):
        _small(input_shape=(4, 8, 3))
