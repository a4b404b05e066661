"""resnet9: its size as published, and every logit of a small one against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
from keras.layers import Conv2D
from planned import planned

from tfsc import models
from tfsc.models import NETWORKS
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[4,6,8], residual=[1]", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"resnet9({parameters})", (8, 12, 3), 5, **arguments)


def _formula(widths, residual):
    """Convolutions, each with scale and offset of its BatchNorm; the dense layer has no bias."""
    count, into = 0, 3
    for index, width in enumerate(widths):
        count += 9 * into * width + 2 * width
        count += 2 * (9 * width * width + 2 * width) if index in residual else 0
        into = width
    return count + into * 10


def test_parameters_are_as_many_as_published():
    """6.57 million; nine layers are eight convolutions and the dense one."""
    assert _formula((64, 128, 256, 512), (1, 3)) == 6_573_120
    with planned():
        network = models.build("resnet9", (32, 32, 3), 10)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 6_573_120
    assert sum(isinstance(layer, Conv2D) for layer in network.layers) == 8
    assert network.get_layer("layer3_add").output.shape == (None, 4, 4, 512)
    assert network.get_layer("logit_scale").scale == 0.125


def test_every_logit_of_a_small_network_is_numpys():
    network = reference.randomized(_small("[4,6,8], residual=[1], bn_epsilon=0.125", mean=0.4))

    def convolved(x, name):
        (kernel,) = network.get_layer(f"{name}_conv").get_weights()
        x = reference.norm(reference.conv(x, kernel), network.get_layer(f"{name}_bn"), 0.125)
        return reference.relu(x)

    x = convolved(IMAGES / 255 - 0.4, "layer0")
    x = reference.pool(convolved(x, "layer1"), 2, 2, np.max)
    x = x + convolved(convolved(x, "layer1_res1"), "layer1_res2")
    x = reference.pool(convolved(x, "layer2"), 2, 2, np.max)
    (kernel,) = network.get_layer("logits").get_weights()
    expected = x.max((1, 2)) @ kernel / 8
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_uniform_within_one_over_root_fan_in_and_differ():
    network = _small("[16,16,16], residual=[1,2]")
    kernels = [network.get_layer(f"layer{i}_res1_conv").kernel.numpy() for i in (1, 2)]
    for kernel in kernels:
        assert 0.99 / 12 < np.abs(kernel).max() <= 1 / 12
    assert (kernels[0] == kernels[1]).mean() < 0.01
    assert 0.9 / 4 < np.abs(network.get_layer("logits").kernel.numpy()).max() <= 1 / 4


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected widths of resnet9, .* found ']'"),
        ("[8,8], residual=[0]", "residual of resnet9 must be whole numbers from 1 to 15"),
        ("[8,8], residual=[2]", r"residual of resnet9 must name layers from 1 to 1, has 2"),
        ("[8]", r"widths of resnet9 must be at least two, has 1"),
        ("residual=[3,3]", "residual of resnet9 names layer 3 twice"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        NETWORKS.parse(f"resnet9({parameters})")


def test_the_order_of_the_residual_layers_says_nothing():
    one, other = (NETWORKS.parse(f"resnet9(residual={order})") for order in ("[3,1]", "[1,3]"))
    assert one == other
    assert str(one) == "resnet9"
