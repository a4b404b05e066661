"""`build`: one model of a text, of what that has read, and of its arguments."""

import keras
import numpy as np
import pytest
from planned import planned

from tfsc import models
from tfsc.models import NETWORKS
from tfsc.models.catalog import size_fault
from tfsc.text.reader import TextSyntaxError


def _names(network):
    return [layer.name for layer in network.layers]


def test_a_text_what_it_reads_as_and_its_arguments_are_the_same_network():
    text = "resnet_v2([1,2], shortcut=1, pooling=avg, bn_momentum=0.5)"
    call = NETWORKS.call("resnet_v2", units=(1, 2), shortcut=(1,), pooling="avg", bn_momentum=0.5)
    assert NETWORKS.parse(text) == call
    with planned():
        networks = [models.build(each, (8, 8, 3), 4) for each in (text, call)]
    one, other = networks
    assert _names(one) == _names(other)
    assert one.count_params() == other.count_params()
    assert one.get_layer("stem_bn").momentum == other.get_layer("stem_bn").momentum == 0.5


@pytest.mark.parametrize("name", NETWORKS)
def test_each_is_named_after_its_family_and_ends_in_float32_logits(name):
    with planned():
        network = models.build(name, (32, 32, 3), 7)
    assert network.name == name
    assert network.output.shape == (None, 7)
    assert network.output.dtype == "float32"
    assert _names(network)[:2] == ["image", "scale"]


def test_a_whitening_is_a_layer_before_a_network_and_airbenchs_own_stem():
    whitening = np.random.default_rng(0).normal(size=(2, 2, 3, 24)).astype(np.float32)
    for name, behind in (("wide_resnet([1])", "whitening_act"), ("airbench([8])", "stem_act")):
        network = models.build(name, (8, 8, 3), 4, whitening=whitening)
        assert _names(network)[2:4] == ["whitening", behind]
        np.testing.assert_array_equal(network.get_layer("whitening").kernel, whitening)
        assert network.trainable_weights[0].path == "whitening/bias"


def test_the_network_is_given_scaled_images():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    mean, scale = np.float32([0.1, 0.2, 0.3]), np.float32([2, 3, 4])
    with planned():
        network = models.build("wide_resnet([1])", (8, 8, 3), 4, mean=mean, scale=scale)
    scaled = keras.Model(network.input, network.get_layer("scale").output)(images)
    np.testing.assert_allclose(scaled, scale * (images / 255 - mean), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "size", "fault"),
    [
        ("resnet_v2([1])", (1, 1), ""),
        ("resnet_v2([1,1,1])", (3, 9), "needs images of at least 4×4"),
        ("resnet_v2([1,1,1])", (4, 5), ""),
        ("resnet_smith([1,1,1])", (4, 7), ""),
        ("resnet_smith([1,1,1], downsampling=tensorflow)", (4, 6), "sizes that 4 divides"),
        ("resnet_smith([1,1,1], downsampling=tensorflow)", (8, 4), ""),
        ("wide_resnet([1,1])", (9, 1), "needs images of at least 2×2"),
        ("resnet_rs([1,1], stem_stride=1)", (3, 9), "needs images of at least 4×4"),
        ("resnet_rs([1,1], stem_stride=1)", (4, 4), ""),
        ("caffe_cifar10", (8, 7), "needs images of at least 8×8"),
        ("caffe_cifar10", (9, 8), ""),
        ("airbench([4,4])", (4, 9), "needs images of at least 5×5"),
        ("airbench([4,4])", (5, 5), ""),
    ],
)
def test_sizes_that_networks_take_are_known_without_building_them(text, size, fault):
    found = size_fault(NETWORKS.parse(text), *size)
    assert fault in found and bool(fault) == bool(found)
    if fault:
        with pytest.raises(ValueError, match=r"needs image.*Received: input_shape="):
            models.build(text, (*size, 3), 4)
    else:
        with planned():
            assert models.build(text, (*size, 3), 4).output.shape == (None, 4)


@pytest.mark.parametrize("text", ["resnet", "resnet_v2(5", "resnet_v2 airbench", ""])
def test_a_text_that_is_no_network_is_refused(text):
    with pytest.raises(TextSyntaxError):
        models.build(text, (8, 8, 3), 4)
