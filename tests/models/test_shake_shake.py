"""shake_shake: its sizes as published, and every logit of a small one against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from planned import planned

from tfsc import models, random
from tfsc.layers.dropout import sample_numbers
from tfsc.layers.shake import ShakeShake
from tfsc.models import NETWORKS
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,1], width=4", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"shake_shake({parameters})", (8, 12, 3), 5, **arguments)


def _planned(parameters, **arguments):
    with planned():
        return models.build(f"shake_shake({parameters})", (32, 32, 3), 10, **arguments)


def _formula(units, width):
    """Convolutions without bias, scale and offset of a BatchNorm behind each; the dense layer."""
    count, into = 9 * 3 * 16 + 2 * 16, 16
    for stack in range(3):
        filters = width * 2**stack
        for _ in range(units):
            count += 2 * (9 * into * filters + 9 * filters * filters + 2 * 2 * filters)
            count += into * filters + 2 * filters if into != filters else 0
            into = filters
    return count + into * 10 + 10


@pytest.mark.parametrize(
    ("width", "published"), [(32, 2_923_162), (64, 11_653_978), (96, 26_192_922)]
)
def test_parameters_are_as_many_as_published(width, published):
    """26 2×32d (2.9 M), 2×64d (11.7 M) and 2×96d (26.2 M)."""
    network = _planned(f"width={width}")
    assert _formula(4, width) == published
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == published
    assert network.get_layer("stack2_unit3_add").output.shape == (None, 8, 8, 4 * width)


@pytest.mark.parametrize("training", [False, True])
def test_every_logit_of_a_small_network_is_numpys(training):
    """In training with BatchNorm frozen, so that what is left of it is α, by sample number."""
    text = "[1,2], width=4, bn_epsilon=0.125"
    network = reference.randomized(_small(text, mean=0.4, dropout_seed=3))
    numbers = np.array([5, 2**40, 6, 0])
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False

    def conv(x, name, stride=1, **padding):
        (kernel,) = network.get_layer(name).get_weights()
        return reference.conv(x, kernel, stride=stride, **padding)

    def norm(x, name):
        return reference.norm(x, network.get_layer(name), 0.125)

    def branch(x, name, stride):
        y = reference.relu(norm(conv(x, f"{name}_conv1", stride), f"{name}_bn1"))
        return norm(conv(y, f"{name}_conv2"), f"{name}_bn2")

    def shares(number):
        if not training:
            return np.full((4, 1, 1, 1), 0.5)
        stream = random.of_layer(random.SHAKE, number)
        alpha, _ = random.uniform_pair(3, stream, tf.constant(numbers))
        return alpha.numpy().reshape(4, 1, 1, 1)

    def block(x, name, stride, number, wider):
        y = reference.relu(x)
        if wider:
            up = np.pad(y, [(0, 0), (1, 0), (1, 0), (0, 0)])[:, :-1, :-1]
            halves = [
                conv(half[:, ::stride, ::stride], f"{name}_shortcut_conv{i}", before=0, after=0)
                for i, half in ((1, y), (2, up))
            ]
            x = norm(np.concatenate(halves, -1), f"{name}_shortcut_bn")
        one, other = (branch(y, f"{name}_branch{i}", stride) for i in (1, 2))
        alpha = shares(number)
        return x + alpha * one + (1 - alpha) * other

    x = norm(conv(IMAGES / 255 - 0.4, "stem_conv"), "stem_bn")
    x = block(x, "stack0_unit0", 1, 0, wider=True)
    x = block(x, "stack1_unit0", 2, 1, wider=True)
    x = block(x, "stack1_unit1", 1, 2, wider=False)
    kernel, bias = network.get_layer("logits").get_weights()
    expected = reference.relu(x).mean((1, 2)) @ kernel + bias
    with sample_numbers(tf.constant(numbers)):
        logits = network(IMAGES, training=training)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_settings_reach_each_block_and_each_block_draws_for_itself():
    network = _planned("[2,1,1], forward=even, backward=shake, level=batch", dropout_seed=7)
    layers = [layer for layer in network.layers if isinstance(layer, ShakeShake)]
    assert [layer.layer for layer in layers] == [0, 1, 2, 3]
    settings = {(layer.forward, layer.backward, layer.level, layer.seed) for layer in layers}
    assert settings == {("even", "shake", "batch", 7)}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("forward=even,backward=keep", "shake_shake(forward=even,backward=even)"),
        ("forward=even,backward=even,level=batch", "shake_shake(forward=even,backward=even)"),
        ("backward=keep,level=batch", "shake_shake(backward=keep,level=batch)"),
        ("forward=even,level=batch", "shake_shake(forward=even,level=batch)"),
    ],
)
def test_equal_networks_are_one_text(text, canonical):
    assert str(NETWORKS.parse(f"shake_shake({text})")) == canonical


def test_initial_weights_are_normal_of_variance_2_over_fan_out_and_differ():
    network = _small("[1,1], width=16")
    kernels = [network.get_layer(f"stack1_unit0_branch{i}_conv2").kernel.numpy() for i in (1, 2)]
    for kernel in kernels:
        np.testing.assert_allclose(kernel.std(), (2 / (9 * 32)) ** 0.5, rtol=0.03)
    assert (kernels[0] == kernels[1]).mean() < 0.01
    assert 0.9 * 32**-0.5 < np.abs(network.get_layer("logits").kernel.numpy()).max() <= 32**-0.5


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("width=33", "width of shake_shake must be even, received 33"),
        ("forward=keep", "forward of shake_shake must be one of shake, even, found 'keep'"),
        ("level=pixel", "level of shake_shake must be one of image, batch, found 'pixel'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        NETWORKS.parse(f"shake_shake({parameters})")
