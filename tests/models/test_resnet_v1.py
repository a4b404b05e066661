"""resnet_v1: its size as published, and every logit of a small one against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
from keras.layers import Conv2D
from planned import planned

from tfsc import models

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,2]", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"resnet_v1({parameters})", (8, 12, 3), 5, **arguments)


def _formula(units, projection=False):
    """Convolutions without bias, scale and offset of a BatchNorm behind each; the dense layer."""
    count, into = 9 * 3 * 16 + 2 * 16, 16
    for filters in (16, 32, 64):
        for _ in range(units):
            count += 9 * into * filters + 9 * filters * filters + 2 * 2 * filters
            count += into * filters + 2 * filters if projection and into != filters else 0
            into = filters
    return count + 64 * 10 + 10


@pytest.mark.parametrize(
    ("units", "ours", "published"),
    [(3, 269_722, 0.27), (5, 464_154, 0.46), (7, 658_586, 0.66), (9, 853_018, 0.85)],
)
def test_parameters_are_as_many_as_published(units, ours, published):
    """ResNet-20, 32, 44 and 56 of the paper's table 6, in millions."""
    assert _formula(units) == ours
    with planned():
        network = models.build(f"resnet_v1([{units},{units},{units}])", (32, 32, 3), 10)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == ours
    assert round(ours / 1e6, 2) == published
    convolutions = [layer for layer in network.layers if isinstance(layer, Conv2D)]
    assert len(convolutions) + 1 == 6 * units + 2  # its depth, the dense layer included


def test_projections_have_weights_of_their_own():
    with planned():
        network = models.build("resnet_v1(shortcut=projection)", (32, 32, 3), 10)
    weights = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert weights == _formula(3, projection=True) == 272_474


@pytest.mark.parametrize("shortcut", ["zeros", "projection"])
def test_every_logit_of_a_small_network_is_numpys(shortcut):
    text = f"[1,2], shortcut={shortcut}, bn_epsilon=0.125"
    network = reference.randomized(_small(text, mean=0.4))

    def conv(x, name, stride=1, **padding):
        (kernel,) = network.get_layer(name).get_weights()
        return reference.conv(x, kernel, stride=stride, **padding)

    def norm(x, name):
        return reference.norm(x, network.get_layer(name), 0.125)

    def block(x, name, stride=1):
        y = reference.relu(norm(conv(x, f"{name}_conv1", stride), f"{name}_bn1"))
        y = norm(conv(y, f"{name}_conv2"), f"{name}_bn2")
        if stride > 1 and shortcut == "zeros":
            x = np.pad(x[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (0, 16)])
        elif stride > 1:
            x = conv(x, f"{name}_shortcut_conv", stride, before=0, after=0)
            x = norm(x, f"{name}_shortcut_bn")
        return reference.relu(x + y)

    x = reference.relu(norm(conv(IMAGES / 255 - 0.4, "stem_conv"), "stem_bn"))
    x = block(block(block(x, "stack0_unit0"), "stack1_unit0", 2), "stack1_unit1")
    kernel, bias = network.get_layer("logits").get_weights()
    expected = x.mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def test_odd_sizes_are_halved_upwards():
    keras.utils.set_random_seed(0)
    network = models.build("resnet_v1([1,1])", (7, 9, 1), 5)
    assert network.get_layer("stack1_unit0_add").output.shape == (None, 4, 5, 32)
    assert network(np.zeros((2, 7, 9, 1), np.uint8)).shape == (2, 5)


def test_initial_weights_are_he_normal_and_differ():
    convolutions = [layer for layer in _small("[1,1,3]").layers if isinstance(layer, Conv2D)][-4:]
    for conv in convolutions:
        np.testing.assert_allclose(conv.kernel.numpy().std(), (2 / (9 * 64)) ** 0.5, rtol=0.02)
    assert len({conv.kernel.numpy().tobytes() for conv in convolutions}) == 4
