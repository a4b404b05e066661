"""The network of a recipe: what `--model` and `--input` amount to."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
import tensorflow as tf
from planned import planned

from tfsc.data.examples import Examples
from tfsc.errors import DataError
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.whitening import EPSILON, whitening_kernel
from tfsc.layers.winograd import WinogradConv2D
from tfsc.models import NETWORKS
from tfsc.optimizers.sgd import FusedSGD
from tfsc.recipe import Recipe
from tfsc.training.learner import Learner
from tfsc.training.network import build_network, check_size

TRAIN = Examples(
    np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3)).astype(np.uint8),
    np.arange(20, dtype=np.int32) % 4,
)


SMALL = {
    "caffe_cifar10": (),
    "airbench": ("widths=[4,16]",),
    "resnet_rs": ("units=[1,1]", "stem_width=8"),
    "preact_resnet": ("units=[1,1]", "width=16"),
    "shake_shake": ("units=[1,1]", "width=16"),
    "resnet9": ("widths=[16,24]", "residual=[1]"),
}
INPUTS = {"caffe_cifar10": "center scale(255)", "airbench": "center whiten"}


def _text(name, *parameters):
    """A small network of this name."""
    return f"{name}({', '.join((*SMALL.get(name, ('units=[1,1]',)), *parameters))})"


def _build(model, **changes):
    keras.utils.set_random_seed(0)
    return build_network(Recipe(model=model, **changes), TRAIN, classes=4)


def _planned(model, winograd=False, **changes):
    with planned():
        return build_network(Recipe(model=model, **changes), TRAIN, 4, winograd=winograd)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_maps_raw_images_to_logits(name):
    network = _build(_text(name), input=INPUTS.get(name, "center"))
    if name == "fixup":  # its dense layer begins at 0
        network.get_layer("logits").kernel.assign(np.random.default_rng(0).normal(size=(32, 4)))
    logits = network(TRAIN.images, training=False).numpy()
    assert logits.shape == (20, 4)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_reaches_every_trainable_variable(name):
    """At random weights: some begin at 0, and what lies before them waits for a step."""
    network = reference.randomized(_build(_text(name), input=INPUTS.get(name, "center")))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(TRAIN.images[:4], training=False) ** 2)
    variables = network.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient.numpy() != 0), variable.path


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_on_one_batch_lower_its_loss(name, policy):
    """Draws are by sample number: all steps on a batch have the same."""
    keras.config.set_dtype_policy(policy)
    network = _build(_text(name, "dropout=0.25"), input=INPUTS.get(name, "center"))
    learner = Learner(network)
    learner.compile(FusedSGD(0.01), jit_compile=False)
    learner.optimizer.build(network.trainable_variables)
    batch = {
        "image": tf.constant(TRAIN.images[:6]),
        "label": tf.constant([0, 0, 0, 1, 2, 3]),
        "number": tf.range(6, dtype=tf.int64),
    }
    losses = [float(learner.train_step(batch)["batch_loss"]) for _ in range(3)]
    assert losses[0] > losses[1] > losses[2] > 0


def test_resnet_v2_is_built_as_the_recipe_says():
    network = _planned(
        "resnet_v2([1,1], shortcut=[1,5], preactivation=all, preactivation_bn=false, "
        "activation=silu)",
        l2=0.5,
    )
    kernels = [network.get_layer(f"stack{i}_unit0_shortcut_conv").kernel_size for i in (0, 1)]
    assert kernels == [(1, 1), (5, 5)]
    names = {layer.name for layer in network.layers}
    assert "pool" not in names
    assert "stack0_unit0_shortcut_act" in names
    assert "stack0_unit0_shortcut_bn" not in names
    activation = network.get_layer("stem_act").activation
    assert activation is keras.activations.silu
    assert network.get_layer("stem_conv").kernel_regularizer.l2 == 0.5
    assert "stack1_unit1_add" not in names and "stack2_unit0_add" not in names
    pooled = _planned("resnet_v2([1,1], pooling=avg)")
    assert "pool" in {layer.name for layer in pooled.layers}


def test_resnet_smith_is_built_as_the_recipe_says():
    network = _planned("resnet_smith([1,1], bias=standard, downsampling=tensorflow)")
    assert network.get_layer("stack1_unit0_shortcut").pool_size == (2, 2)
    assert network.get_layer("stack0_unit0_conv1").use_bias
    assert not network.get_layer("stack1_unit0_conv1").use_bias


def test_wide_resnet_is_built_as_the_recipe_says():
    network = _planned("wide_resnet([1,1], width=3)")
    assert network.get_layer("stack1_unit0_conv1").filters == 16 * 2 * 3


def test_airbench_is_built_as_the_recipe_says():
    model = "airbench([4,16], depth=3, logit_scale=0.5, identity_init=false)"
    network = _build(model, input="center whiten")
    assert network.get_layer("group1_conv3").filters == 16
    assert network.get_layer("logit_scale").scale == 0.5
    assert np.count_nonzero(network.get_layer("group0_conv1").kernel.numpy() == 0) == 0
    images = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    kernel = network.get_layer("whitening").kernel
    np.testing.assert_allclose(kernel, whitening_kernel(images), rtol=1e-3, atol=1e-3)
    fewer = _build("airbench([4,16])", input="standardize whiten(7)")
    images = keras.Model(fewer.input, fewer.get_layer("scale").output)(TRAIN.images[:7]).numpy()
    kernel = fewer.get_layer("whitening").kernel
    np.testing.assert_allclose(kernel, whitening_kernel(images), rtol=1e-3, atol=1e-3)
    trained = _planned("airbench([4,16])", input="center")
    assert trained.get_layer("stem_conv").kernel.shape == (2, 2, 3, 24)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "airbench"])
def test_each_network_may_have_airbenchs_stem_identity_and_logit_scale(name):
    factor = 255 if name == "caffe_cifar10" else 1
    identity = ("identity_init",) if "identity_init" in NETWORKS[name].parameters else ()
    plain = _build(_text(name), input="center(channel)")
    network = _build(
        _text(name, *identity, "logit_scale=0.5"),
        input=f"center(channel) scale({factor}) whiten(15)",
    )
    stem = network.get_layer("whitening")
    scaled = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    # Networks that scale to 255 whiten what they see.
    kernel = whitening_kernel(scaled[:15], epsilon=EPSILON * factor**2)
    np.testing.assert_allclose(stem.kernel, kernel, rtol=1e-3, atol=1e-3 * np.abs(kernel).max())
    assert [weight.path for weight in stem.trainable_variables] == ["whitening/bias"]
    assert stem.output.shape[1:] == (*TRAIN.images.shape[1:3], 24)
    act = network.get_layer("whitening_act")
    assert act.activation is keras.activations.relu

    wide = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size[0] > 1
    ]
    assert wide and wide[0].input.shape[-1] == 24  # the network's own stem lies behind it
    for layer in wide if identity else ():
        side, _, into, out = layer.kernel.shape
        same = min(into, out)
        middle = layer.kernel.numpy()[side // 2, side // 2]
        np.testing.assert_array_equal(middle[:, :same], np.eye(into, same))
        assert np.count_nonzero(layer.kernel.numpy()[..., :same]) == same
        others = plain.get_layer(layer.name).kernel.numpy()
        assert np.count_nonzero(others == 0) == 0

    logits = keras.Model(network.input, network.get_layer("float32_logits").output)(TRAIN.images)
    np.testing.assert_allclose(network(TRAIN.images), 0.5 * logits.numpy())


@pytest.mark.parametrize(
    ("name", "others"),
    [("airbench", 2), ("wide_resnet", 2), ("resnet_smith", 2), ("resnet_v2", 2), ("resnet_rs", 5)],
)
def test_winograd_replaces_3x3_convolutions(name, others):
    def kinds(winograd):
        network = _planned(_text(name), winograd)
        threes = [x for x in network.layers if getattr(x, "kernel_size", 0) == (3, 3)]
        return [isinstance(layer, WinogradConv2D) for layer in threes]

    assert not any(kinds(False))
    # Of stride 2, of less than 16 channels.
    assert kinds(True).count(False) == others


_OWN = {
    "resnet_v2": (0.99, 1e-3),
    "resnet_smith": (0.95, 1e-5),
    "resnet_rs": (0.9, 1e-5),
    "wide_resnet": (0.9, 1e-5),
    "preact_resnet": (0.9, 1e-5),
    "shake_shake": (0.9, 1e-5),
    "resnet9": (0.9, 1e-5),
    "airbench": (0.6, 1e-12),
}


@pytest.mark.parametrize("name", _OWN)
def test_batchnorms_are_the_networks_own_unless_the_text_says_otherwise(name):
    def values(*parameters):
        network = _planned(_text(name, *parameters))
        norms = [layer for layer in network.layers if isinstance(layer, FusedBatchNormalization)]
        return {(norm.momentum, norm.epsilon) for norm in norms}

    assert values() == {_OWN[name]}
    assert values("bn_momentum=0.5", "bn_epsilon=0.25") == {(0.5, 0.25)}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_all_networks_take_reaches_each(name):
    text = _text(name, "dropout=0.25", "activation=silu")
    network = _planned(text, seed=3, l2=0.5, input="center scale(255)")
    assert network.name == name
    dropout = network.get_layer("dropout")
    assert (dropout.rate, dropout.seed) == (0.25, 3)
    kinds = {a.activation for a in network.layers if isinstance(a, keras.layers.Activation)}
    assert kinds == {keras.activations.silu, keras.activations.linear}  # linear casts the logits
    convolutions = [c for c in network.layers if isinstance(c, keras.layers.Conv2D)]
    assert {conv.kernel_regularizer.l2 for conv in convolutions} == {0.5}
    assert network.get_layer("scale").scale == 1
    assert network.get_layer("logits").units == 4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_keras_file_of_each_network_gives_its_logits(name, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = reference.randomized(_build(_text(name, "dropout=0.5"), l2=1e-4))
    expected = network(TRAIN.images, training=False)
    network.save(tmp_path / "network.keras")
    keras.config.set_dtype_policy("float32")  # the policy is the file's, not the session's
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(TRAIN.images, training=False), expected)
    # Names come from the recipe alone, not from what was built before.
    again = _planned(_text(name, "dropout=0.5"))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in again.layers]


@pytest.mark.parametrize(
    ("name", "step"),
    [("resnet_v2", step) for step in ("center(pixel)", "center(channel)", "none")]
    + [(name, "center(pixel)") for name in NETWORKS if name != "resnet_v2"],
)
def test_the_networks_subtract_the_mean_of_the_training_images(name, step):
    network = _build(_text(name), input=step)
    scaled = keras.Model(network.input, network.get_layer("scale").output)
    expected = TRAIN.images / 255
    means = {
        "center(pixel)": expected.mean(0),
        "center(channel)": expected.mean((0, 1, 2)),
        "none": 0,
    }
    np.testing.assert_allclose(scaled(TRAIN.images), expected - means[step], atol=1e-6)


def test_images_are_divided_by_each_channels_standard_deviation():
    network = _build("resnet_v2([1,1])", input="standardize")
    scaled = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "shape", "rule"),
    [
        (
            Recipe(model="resnet_v2([1,1,1,1])"),
            (8, 7),
            "--model=resnet_v2([1,1,1,1]): needs images of at least 8×8, --dataset=cifar10 has 8×7",
        ),
        (
            Recipe(model="wide_resnet([1,1])"),
            (1, 9),
            "--model=wide_resnet([1,1]): needs images of at least 2×2",
        ),
        (Recipe(model="resnet_rs([1])"), (3, 9), "needs images of at least 4×4"),
        (Recipe(model="preact_resnet([1,1])"), (9, 1), "needs images of at least 2×2"),
        (Recipe(model="resnet9([4,4,4], residual=[1])"), (3, 9), "needs images of at least 4×4"),
        (Recipe(model="shake_shake([1])"), (9, 1), "needs images of at least 2×2"),
        (Recipe(model="resnet_smith([1,1])"), (9, 1), "needs images of at least 2×2"),
        (
            Recipe(model="resnet_smith([1,1,1], downsampling=tensorflow)"),
            (8, 6),
            "--model=resnet_smith([1,1,1], downsampling=tensorflow): needs image sizes that 4 "
            "divides, --dataset=cifar10 has 8×6",
        ),
        (
            Recipe(model="caffe_cifar10"),
            (32, 7),
            "--model=caffe_cifar10: needs images of at least 8×8, --dataset=cifar10 has 32×7",
        ),
        (
            Recipe(model="airbench([4,16])"),
            (9, 4),
            "--model=airbench([4,16]): needs images of at least 5×5, --dataset=cifar10 has 9×4",
        ),
        (
            Recipe(model="wide_resnet([1])", input="center whiten(9)"),
            (1, 9),
            "--input=center whiten(9): whiten needs images of at least 2×2, --dataset=cifar10 has "
            "1×9",
        ),
    ],
)
def test_images_that_do_not_suit_are_refused_by_the_rule_and_by_the_network(recipe, shape, rule):
    with pytest.raises(DataError) as caught:
        check_size(recipe, (*shape, 3))
    assert rule in str(caught.value)
    with pytest.raises(ValueError, match=r"Received: (input_)?shape="):
        build_network(recipe, Examples(np.zeros((2, *shape, 3), np.uint8), np.zeros(2)), 4)


def test_images_that_are_too_small_for_the_crop_are_refused():
    check_size(Recipe(augment="crop(3)"), (4, 5, 3))
    rule = r"--augment=crop\(4\) flip: size of crop must be below height and width, .* has 9×4"
    with pytest.raises(DataError, match=rule):
        check_size(Recipe(augment="crop(4) flip"), (9, 4, 3))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("resnet_v2([1,1,1,1])", (8, 8)),
        ("wide_resnet([1,1,1])", (4, 5)),
        ("resnet_rs([1], stem_width=4)", (4, 5)),
        ("resnet9([4,4,4], residual=[1])", (4, 7)),
        ("fixup([1,1])", (2, 3)),
        ("shake_shake([1,1], width=4)", (2, 3)),
        ("resnet_smith([1,1,1])", (4, 7)),
        ("resnet_smith([1,1,1], downsampling=tensorflow)", (4, 8)),
        ("caffe_cifar10", (8, 9)),
        ("airbench([4,16])", (5, 6)),
    ],
)
def test_images_that_just_suit_are_taken(model, shape):
    recipe = Recipe(model=model)
    check_size(recipe, (*shape, 3))
    train = Examples(np.zeros((2, *shape, 3), np.uint8), np.zeros(2))
    assert build_network(recipe, train, 4)(train.images).shape == (2, 4)
