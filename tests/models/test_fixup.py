"""fixup: its sizes as published, every logit of a small one against NumPy, a thousand layers."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from planned import planned

from tfsc import models
from tfsc.models import NETWORKS
from tfsc.optimizers.groups import matches
from tfsc.optimizers.sgd import FusedSGD
from tfsc.text.reader import TextSyntaxError
from tfsc.training.learner import Learner

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)


def _small(parameters="[1,2]", **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"fixup({parameters})", (8, 12, 3), 5, **arguments)


def _formula(units):
    """Convolutions, four biases and a scale of each block; two biases more; the dense layer."""
    count, into = 9 * 3 * 16 + 2, 16
    for filters in (16, 32, 64):
        for _ in range(units):
            count += 9 * into * filters + 9 * filters * filters + 5
            into = filters
    return count + 64 * 10 + 10


@pytest.mark.parametrize(("units", "published"), [(9, 849_091), (18, 1_720_138)])
def test_parameters_are_as_many_as_published(units, published):
    """ResNet-56 and ResNet-110."""
    assert _formula(units) == published
    with planned():
        network = models.build(f"fixup([{units},{units},{units}])", (32, 32, 3), 10)
    assert network.count_params() == published
    convolutions = [x for x in network.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) + 1 == 6 * units + 2  # its depth, the dense layer included


def test_every_logit_of_a_small_network_is_numpys():
    network = reference.randomized(_small(mean=0.4))

    def number(name):
        return network.get_layer(name).get_weights()[0].item()

    def conv(x, name, stride=1):
        return reference.conv(x, network.get_layer(name).get_weights()[0], stride=stride)

    def block(x, name, stride=1):
        moved = x + number(f"{name}_bias1")
        y = reference.relu(conv(moved, f"{name}_conv1", stride) + number(f"{name}_bias2"))
        y = conv(y + number(f"{name}_bias3"), f"{name}_conv2") * number(f"{name}_scale")
        if stride > 1:
            x = np.pad(moved[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (0, 16)])
        return reference.relu(x + y + number(f"{name}_bias4"))

    x = reference.relu(conv(IMAGES / 255 - 0.4, "stem_conv") + number("stem_bias"))
    x = block(block(block(x, "stack0_unit0"), "stack1_unit0", 2), "stack1_unit1")
    kernel, bias = network.get_layer("logits").get_weights()
    expected = (x.mean((1, 2)) + number("head_bias")) @ kernel + bias
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_the_papers():
    """Normal of variance 2/fan_out over the number of blocks; of 54, the deviation is .016038."""
    network = _small("[5,1]")
    kernels = [network.get_layer(f"stack0_unit{i}_conv1").kernel.numpy() for i in (0, 4)]
    for kernel in kernels:
        np.testing.assert_allclose(kernel.std(), (2 / (9 * 16) / 6) ** 0.5, rtol=0.05)
    assert (kernels[0] == kernels[1]).mean() < 0.01
    wider = network.get_layer("stack1_unit0_conv1").kernel.numpy()
    np.testing.assert_allclose(wider.std(), (2 / (9 * 32) / 6) ** 0.5, rtol=0.05)
    assert not network.get_layer("stack0_unit0_conv2").kernel.numpy().any()
    np.testing.assert_array_equal(network(IMAGES, training=False), np.zeros((4, 5)))
    stem = np.abs(network.get_layer("stem_conv").kernel.numpy())
    assert 0.95 * 27**-0.5 < stem.max() <= 27**-0.5
    with planned():
        deep = models.build("fixup([54])", (8, 8, 3), 10)
    scale = deep.get_layer("stack0_unit0_conv1").kernel_initializer.scale
    np.testing.assert_allclose((scale / (9 * 16)) ** 0.5, 0.016038, rtol=1e-4)


def test_groups_of_variables_single_out_what_learns_more_slowly():
    network = _small("[1,1]")
    paths = [variable.path for variable in network.trainable_variables]
    ours = [path for path in paths if matches("bias", path) or matches("scale", path)]
    kernels = [path for path in paths if path.endswith("kernel")]
    assert sorted(ours + kernels) == sorted(paths)
    assert len(ours) == 2 * 5 + 2 + 1  # the dense layer's, too, as in the paper's code


def _first_steps(text):
    """Losses of three steps on one batch of two images, 4×4."""
    keras.utils.set_random_seed(0)
    network = models.build(text, (4, 4, 3), 4)
    learner = Learner(network)
    learner.compile(FusedSGD(0.01), jit_compile=False)
    learner.optimizer.build(network.trainable_variables)
    batch = {
        "image": tf.constant(IMAGES[:2, :4, :4]),
        "label": tf.constant([0, 1]),
        "number": tf.range(2, dtype=tf.int64),
    }
    return [float(learner.train_step(batch)["batch_loss"]) for _ in range(3)]


@pytest.mark.slow  # test_network.py has the steps in small, test_deep_graphs.py the depth
def test_a_thousand_layers_take_finite_first_steps():
    losses = _first_steps("fixup([167,167,167])")  # depth 1,004
    np.testing.assert_allclose(losses[0], np.log(4), rtol=1e-5)
    assert losses[0] > losses[1] > losses[2] > 0


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected units of fixup, .* found ']'"),
        ("[2001]", "units of fixup must be whole numbers from 1 to 2000, received 2001"),
        ("identity_init=true", "fixup has no parameter 'identity_init'"),
        ("bn_momentum=0.9", "fixup has no parameter 'bn_momentum'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        NETWORKS.parse(f"fixup({parameters})")
