"""resnet_rs: its size as published, every logit of a small one against NumPy, its two versions."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from planned import planned

from tfsc import models
from tfsc.layers.batch_statistics import BatchStatistics
from tfsc.layers.depth import StochasticDepth
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.models import NETWORKS
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,1], stem_width=4", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"resnet_rs({parameters})", (8, 12, 3), 5, **arguments)


def _planned(parameters, size=32):
    with planned():
        return models.build(f"resnet_rs({parameters})", (size, size, 3), 10)


def _trainable(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


@pytest.mark.parametrize(
    ("stem_width", "published"), [(32, 33_663_402), (64, 33_878_666), (128, 34_630_218)]
)
def test_parameters_are_as_many_as_in_the_seeds_code(stem_width, published):
    assert _trainable(_planned(f"stem_width={stem_width}")) == published


def test_the_stem_and_the_stacks_have_the_seeds_sizes():
    network = _planned("")
    sizes = {layer.name: layer.output.shape[1:] for layer in network.layers}
    assert [sizes[f"stem_conv{i}"] for i in (1, 2, 3, 4)] == [
        (16, 16, 128), (16, 16, 128), (16, 16, 256), (8, 8, 256)
    ]  # fmt: skip
    adds = [sizes[f"stack{s}_unit{u - 1}_add"] for s, u in enumerate((3, 4, 6, 3))]
    assert adds == [(8, 8, 256), (4, 4, 512), (2, 2, 1024), (1, 1, 2048)]
    assert network.get_layer("dropout").rate == 0.25
    wider = _planned("[1], stem_stride=1")
    assert wider.get_layer("stack0_unit0_add").output.shape == (None, 16, 16, 256)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("version", ["fixed", "faithful"])
def test_every_logit_of_a_small_network_is_numpys(version):
    """At 8×12 the maps of the second stack are halves of odd ones: 1×1.5, rounded up."""
    text = f"[2,1], stem_width=4, version={version}, se_ratio=0.01, bn_epsilon=0.125"
    network = reference.randomized(_small(text, mean=0.4))

    def conv(x, name, stride=1, side=1, activation=lambda x: x):
        kernel, *bias = network.get_layer(name).get_weights()
        padding = {"before": side, "after": side}
        return activation(reference.conv(x, kernel, *bias, stride=stride, **padding))

    def norm(x, name):
        layer = network.get_layer(f"{name}_bn")
        if version == "fixed":
            return reference.norm(x, layer, 0.125)
        gamma, beta, *_ = layer.get_weights()
        deviation = np.sqrt(x.var((0, 1, 2)) + 0.125)
        return gamma * (x - x.mean((0, 1, 2))) / deviation + beta

    def unit(x, name, stride, shortened):
        y = reference.relu(norm(conv(x, f"{name}_conv1", side=0), f"{name}_1"))
        y = reference.relu(norm(conv(y, f"{name}_conv2", stride), f"{name}_2"))
        y = norm(conv(y, f"{name}_conv3", side=0), f"{name}_3")
        z = y.mean((1, 2), keepdims=True)
        z = conv(z, f"{name}_se_conv1", side=0, activation=reference.relu)
        y = y * conv(z, f"{name}_se_conv2", side=0, activation=_sigmoid)
        if stride > 1:
            x = reference.pool(x, 2, 2)
        if shortened:
            x = norm(conv(x, f"{name}_shortcut_conv", side=0), f"{name}_shortcut")
        return reference.relu(x + y)

    x = IMAGES / 255 - 0.4
    for index, stride in ((1, 2), (2, 1), (3, 1), (4, 2)):
        x = reference.relu(norm(conv(x, f"stem_conv{index}", stride), f"stem_{index}"))
    x = unit(x, "stack0_unit0", 1, shortened=True)
    x = unit(x, "stack0_unit1", 1, shortened=False)
    x = unit(x, "stack1_unit0", 2, shortened=True)
    kernel, bias = network.get_layer("logits").get_weights()
    expected = x.mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def _moved(version):
    """Names of what a branch's first gradient reaches, in training, and what it does not."""
    network = _small(f"[1], stem_width=4, version={version}, dropout=0")
    variables = [v for v in network.trainable_variables if "stack0" in v.path]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(IMAGES, training=True)[:, 0])
    gradients = tape.gradient(loss, variables)
    reached = [bool(np.any(gradient.numpy())) for gradient in gradients]
    names = [v.path.removeprefix("stack0_unit0_") for v in variables]
    branch = [(name, yes) for name, yes in zip(names, reached, strict=True)
              if not name.startswith("shortcut")]  # fmt: skip
    return [name for name, yes in branch if yes], [name for name, yes in branch if not yes]


def test_branches_of_the_faithful_version_are_dead():
    """ReLU passes neither β of the second BatchNorm, 0, nor a gradient back to what is before."""
    alive, dead = _moved("faithful")
    assert alive == ["3_bn/beta"]
    assert {"conv1/kernel", "2_bn/gamma", "2_bn/beta", "conv3/kernel", "3_bn/gamma"} <= {*dead}


def test_branches_of_the_fixed_version_begin_at_zero_and_learn():
    alive, _ = _moved("fixed")
    assert "3_bn/gamma" in alive  # with that, all before it learn from the second step on
    network = _small("[1], stem_width=4")
    network.get_layer("stack0_unit0_3_bn").gamma.assign(tf.ones([256]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(IMAGES, training=False)[:, 0])
    before = [network.get_layer(f"stack0_unit0_{name}").kernel for name in ("conv1", "conv2")]
    assert all(np.any(gradient.numpy()) for gradient in tape.gradient(loss, before))


@pytest.mark.parametrize("version", ["fixed", "faithful"])
def test_only_the_faithful_version_is_evaluated_on_the_batchs_statistics(version):
    network = _small(f"[1,1], stem_width=4, version={version}")
    norms = [layer for layer in network.layers if isinstance(layer, FusedBatchNormalization)]
    assert {isinstance(layer, BatchStatistics) for layer in norms} == {version == "faithful"}
    whole, alone = (network(images, training=False).numpy() for images in (IMAGES, IMAGES[:2]))
    assert np.allclose(whole[:2], alone, rtol=1e-3, atol=1e-5) == (version == "fixed")


def test_squeeze_and_excitation_is_as_wide_as_the_ratio_or_the_reduction_says():
    def widths(parameters):
        layers = _planned(f"[1,1,1,1], {parameters}").layers
        return [layer.filters for layer in layers if layer.name.endswith("_se_conv1")]

    assert widths("se_ratio=0.25") == [64, 128, 256, 512]
    assert widths("se_reduction=16") == widths("se_ratio=0.0625") == [16, 32, 64, 128]
    assert widths("se_reduction=1") == [256, 512, 1024, 2048]
    assert widths("se_ratio=1e-9") == [1, 1, 1, 1]
    assert widths("se_ratio=0") == []


def test_stochastic_depth_grows_from_stack_to_stack():
    """The paper's rate·(i + 2)/5; each unit draws for itself."""
    network = _planned("[1,2,1,1], depth_rate=0.5")
    layers = [layer for layer in network.layers if isinstance(layer, StochasticDepth)]
    np.testing.assert_allclose([layer.rate for layer in layers], [0.2, 0.3, 0.3, 0.4, 0.5])
    assert [layer.layer for layer in layers] == [0, 1, 2, 3, 4]
    assert {layer.seed for layer in layers} == {0}
    seeded = _small("[1], stem_width=4, depth_rate=0.5", dropout_seed=7)
    assert seeded.get_layer("stack0_unit0_depth").seed == 7
    assert not any(isinstance(layer, StochasticDepth) for layer in _planned("[1,1]").layers)


def test_initial_weights_are_normal_of_variance_2_over_fan_out():
    network = _small("[1,2], stem_width=4")
    for name, fan_out in (("unit0_conv3", 512), ("unit1_conv2", 9 * 128), ("unit1_se_conv2", 512)):
        deviation = network.get_layer(f"stack1_{name}").kernel.numpy().std()
        np.testing.assert_allclose(deviation, (2 / fan_out) ** 0.5, rtol=0.02)


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("stem_stride=3", "stem_stride of resnet_rs must be 1 or 2, received 3"),
        ("version=broken", "version of resnet_rs must be one of fixed, faithful, found 'broken'"),
        ("se_ratio=0.5, se_reduction=16", "say one thing: give one of them"),
        ("se_ratio=1.5", "se_ratio of resnet_rs must be from 0 to 1, received 1.5"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        NETWORKS.parse(f"resnet_rs({parameters})")


def test_images_that_cannot_be_halved_so_often_are_refused():
    with pytest.raises(ValueError, match=r"needs images of at least 16×16\. Received"):
        _planned("[1,1,1]", size=15)
    assert _planned("[1,1,1], stem_stride=1", size=8).get_layer("stack2_unit0_add")
