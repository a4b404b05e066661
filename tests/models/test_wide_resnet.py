"""wide_resnet: its size as published, and every value of a small one against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from keras.layers import Conv2D
from planned import planned

from tfsc import models
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,2], width=1", input_shape=(8, 12, 3), **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"wide_resnet({parameters})", input_shape, 5, **arguments)


def _layers(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def _trainable(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def _formula(units, width):
    """Convolutions, and scale and offset of a BatchNorm before each but the stem; the head's."""
    count, into = 9 * 3 * 16, 16
    for filters in (16 * width, 32 * width, 64 * width):
        for _ in range(units):
            count += 2 * into + 9 * into * filters + 2 * filters + 9 * filters * filters
            count += into * filters if into != filters else 0
            into = filters
    return count + 2 * into + into * 10 + 10


@pytest.mark.parametrize(
    ("units", "width", "published"),
    [(4, 10, 36_479_194), (2, 4, 2_748_890), (3, 6, 9_658_458), (6, 1, 563_930)],
)
def test_parameters_are_as_many_as_published(units, width, published):
    """WRN-28-10 (36.5 M), WRN-16-4 (2.7 M) and WRN-40-1 (0.6 M); WRN-22-6 has no figure."""
    assert _formula(units, width) == published
    with planned():
        text = f"wide_resnet([{units},{units},{units}], width={width})"
        network = models.build(text, (32, 32, 3), 10)
    assert _trainable(network) == published


def test_depth_6n_plus_4_counts_the_shortcuts_convolutions():
    network = _small("[2,2,2], width=2")
    convolutions = [c.name for c in _layers(network, Conv2D)]
    shortcuts = [name for name in convolutions if "shortcut" in name]
    assert shortcuts == [f"stack{s}_unit0_shortcut_conv" for s in (0, 1, 2)]
    assert len(convolutions) == 6 * 2 + 4
    assert network.get_layer("stack2_unit1_add").output.shape == (None, 2, 3, 128)


@pytest.mark.parametrize("width", [1, 2])
def test_every_logit_of_a_small_network_is_numpys(width):
    """At width 1 the first stack keeps the stem's width: its shortcut is the raw input itself."""
    network = reference.randomized(_small(f"[1,2], width={width}, bn_epsilon=0.125", mean=0.4))

    def conv(x, name, stride=1, **padding):
        (kernel,) = network.get_layer(name).get_weights()
        return reference.conv(x, kernel, stride=stride, **padding)

    def activated(x, name):
        return reference.relu(reference.norm(x, network.get_layer(f"{name}_bn"), 0.125))

    def block(x, name, stride, projected):
        y = activated(x, f"{name}_pre1")
        shortcut = x
        if projected:
            shortcut = conv(y, f"{name}_shortcut_conv", stride, before=0, after=0)
        y = activated(conv(y, f"{name}_conv1", stride), f"{name}_pre2")
        return shortcut + conv(y, f"{name}_conv2")

    x = conv(IMAGES / 255 - 0.4, "stem_conv")
    x = block(x, "stack0_unit0", 1, projected=width > 1)
    x = block(x, "stack1_unit0", 2, projected=True)
    x = block(x, "stack1_unit1", 1, projected=False)
    kernel, bias = network.get_layer("logits").get_weights()
    expected = activated(x, "head").mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_normal_of_variance_2_over_fan_out_and_differ():
    network = _small("[1,1,3], width=1")
    convolutions = _layers(network, Conv2D)[-4:]
    for conv in convolutions:
        np.testing.assert_allclose(conv.kernel.numpy().std(), (2 / (9 * 64)) ** 0.5, rtol=0.02)
    assert len({conv.kernel.numpy().tobytes() for conv in convolutions}) == 4
    dense = network.get_layer("logits").kernel.numpy()
    assert 0.95 / 8 < np.abs(dense).max() <= 1 / 8
    assert not any(conv.use_bias for conv in _layers(network, Conv2D))


def test_settings_reach_the_layers():
    parameters = "[1,2], width=1, activation=silu, dropout=0.25, bn_momentum=0.75"
    network = _small(parameters, l2=0.5, dropout_seed=7)
    for layer in _layers(network, keras.layers.Activation):
        expected = "linear" if layer.name == "float32_logits" else "silu"
        assert layer.activation is keras.activations.get(expected)
    assert (network.get_layer("dropout").rate, network.get_layer("dropout").seed) == (0.25, 7)
    norms = _layers(network, FusedBatchNormalization)
    assert {(n.momentum, n.epsilon) for n in norms} == {(0.75, 1e-5)}
    squares = sum(np.sum(conv.kernel.numpy() ** 2.0) for conv in _layers(network, Conv2D))
    np.testing.assert_allclose(float(tf.add_n(network.losses)), 0.5 * squares, rtol=1e-5)
    assert _small().losses == []


def test_logits_are_float32_of_a_16_bit_network():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = _small()
    assert network.get_layer("stack0_unit0_conv1").compute_dtype == "bfloat16"
    assert network(IMAGES, training=False).dtype == tf.float32


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected units of wide_resnet, .* found ']'"),
        ("[1,0]", "units of wide_resnet must be whole numbers from 1 to 100, received 0"),
        ("width=0", "width of wide_resnet must be a whole number from 1 to 100, received 0"),
        ("pooling=avg", "wide_resnet has no parameter 'pooling'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        _small(parameters)


def test_images_that_cannot_be_halved_so_often_are_refused():
    rule = r"needs images of at least 2×2\. Received: input_shape=\(8, 1, 3\)"
    with pytest.raises(ValueError, match=rule):
        _small(input_shape=(8, 1, 3))
