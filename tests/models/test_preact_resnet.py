"""preact_resnet: its size as published, and every logit of a small one against NumPy."""

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


def _small(parameters="[1,2], width=4", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"preact_resnet({parameters})", (8, 12, 3), 5, **arguments)


def _formula(units, width):
    """Convolutions, and scale and offset of a BatchNorm before each but the stem; the stem's."""
    count, into = 9 * 3 * width + 2 * width, width
    for stack, blocks in enumerate(units):
        filters = width * 2**stack
        for _ in range(blocks):
            count += 2 * into + 9 * into * filters + 2 * filters + 9 * filters * filters
            count += into * filters if into != filters else 0
            into = filters
    return count + into * 10 + 10


def test_parameters_are_as_many_as_published():
    """11.17 million; the depth 18 leaves out the convolutions of shortcuts, the stem counts."""
    assert _formula((2, 2, 2, 2), 64) == 11_171_274
    with planned():
        network = models.build("preact_resnet", (32, 32, 3), 10)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 11_171_274
    convolutions = [c.name for c in network.layers if isinstance(c, Conv2D)]
    shortcuts = [name for name in convolutions if "shortcut" in name]
    assert shortcuts == [f"stack{s}_unit0_shortcut_conv" for s in (1, 2, 3)]
    assert len(convolutions) - len(shortcuts) + 1 == 18
    assert network.get_layer("stack3_unit1_add").output.shape == (None, 4, 4, 512)


@pytest.mark.parametrize("shortcut", ["activated", "raw"])
def test_every_logit_of_a_small_network_is_numpys(shortcut):
    text = f"[1,2], width=4, shortcut={shortcut}, bn_epsilon=0.125"
    network = reference.randomized(_small(text, mean=0.4))

    def conv(x, name, stride=1, **padding):
        (kernel,) = network.get_layer(name).get_weights()
        return reference.conv(x, kernel, stride=stride, **padding)

    def activated(x, name):
        return reference.relu(reference.norm(x, network.get_layer(f"{name}_bn"), 0.125))

    def block(x, name, stride=1):
        y = activated(x, f"{name}_pre1")
        short = y if shortcut == "activated" else x
        if stride > 1:
            short = conv(y, f"{name}_shortcut_conv", stride, before=0, after=0)
        y = activated(conv(y, f"{name}_conv1", stride), f"{name}_pre2")
        return short + conv(y, f"{name}_conv2")

    x = activated(conv(IMAGES / 255 - 0.4, "stem_conv"), "stem")
    x = block(block(block(x, "stack0_unit0"), "stack1_unit0", 2), "stack1_unit1")
    kernel, bias = network.get_layer("logits").get_weights()
    expected = x.mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_uniform_within_one_over_root_fan_in_and_differ():
    network = _small("[1,1], width=16")
    kernels = [network.get_layer(f"stack1_unit0_conv{i}").kernel.numpy() for i in (1, 2)]
    for kernel, fan_in in zip(kernels, (9 * 16, 9 * 32), strict=True):
        assert 0.99 * fan_in**-0.5 < np.abs(kernel).max() <= fan_in**-0.5
    assert (kernels[0] == kernels[1][:, :, :16]).mean() < 0.01
    assert 0.9 * 32**-0.5 < np.abs(network.get_layer("logits").kernel.numpy()).max() <= 32**-0.5


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[1,0]", "units of preact_resnet must be whole numbers from 1 to 100, received 0"),
        ("shortcut=none", "must be one of activated, raw, found 'none'"),
        ("width=0", "width of preact_resnet must be a whole number from 1 to 1024, received 0"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        NETWORKS.parse(f"preact_resnet({parameters})")
