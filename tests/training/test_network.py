"""Networks by the name in a recipe."""

import keras
import numpy as np
import numpy_layers as reference
import pytest
from planned import planned

from tfsc.data.examples import Examples
from tfsc.errors import DataError
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.whitening import whitening_kernel
from tfsc.layers.winograd import WinogradConv2D
from tfsc.models.input_statistics import image_mean, image_scale
from tfsc.recipe import Recipe, settings
from tfsc.training.network import NETWORKS, build_network, check_size

TRAIN = Examples(
    np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3)).astype(np.uint8),
    np.arange(20, dtype=np.int32) % 4,
)


def _recipe(model="resnet_v2", **changes):
    stacks = {"caffe_cifar10": {}, "airbench": {"widths": (4, 16)}}.get(
        model, {"stack_units": (1, 1)}
    )
    return Recipe(model=model, **stacks | changes)


def _build(*model, **changes):
    keras.utils.set_random_seed(0)
    return build_network(_recipe(*model, **changes), TRAIN, classes=4)


def _planned(*model, winograd=False, **changes):
    with planned():
        return build_network(_recipe(*model, **changes), TRAIN, 4, winograd)


def test_the_registry_has_exactly_the_models_that_a_recipe_may_name():
    assert set(NETWORKS) == set(settings()["model"].choices)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_maps_raw_images_to_logits(name):
    logits = _build(name)(TRAIN.images, training=False).numpy()
    assert logits.shape == (20, 4)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 0


def test_resnet_v2_is_built_as_the_recipe_says():
    network = _planned(
        shortcut_kernels=(1, 5),
        pooling="none",
        shortcut_preactivation="all",
        shortcut_bn=False,
        activation="silu",
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
    pooled = _planned(pooling="avg")
    assert "pool" in {layer.name for layer in pooled.layers}


def test_resnet_smith_is_built_as_the_recipe_says():
    network = _planned("resnet_smith", conv_bias="standard", downsampling="tensorflow")
    assert network.get_layer("stack1_unit0_shortcut").pool_size == (2, 2)
    assert network.get_layer("stack0_unit0_conv1").use_bias
    assert not network.get_layer("stack1_unit0_conv1").use_bias


def test_wide_resnet_is_built_as_the_recipe_says():
    network = _planned("wide_resnet", width=3)
    assert network.get_layer("stack1_unit0_conv1").filters == 16 * 2 * 3


def test_airbench_is_built_as_the_recipe_says():
    network = _build("airbench", group_depth=3, logit_scale=0.5, identity_init="false")
    assert network.get_layer("group1_conv3").filters == 16
    assert network.get_layer("logit_scale").scale == 0.5
    assert np.count_nonzero(network.get_layer("group0_conv1").kernel.numpy() == 0) == 0
    images = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    kernel = network.get_layer("whitening").kernel
    np.testing.assert_allclose(kernel, whitening_kernel(images), rtol=1e-3, atol=1e-3)
    fewer = _build("airbench", whiten_images=7, center="channel", scale_by="channel_std")
    images = keras.Model(fewer.input, fewer.get_layer("scale").output)(TRAIN.images[:7]).numpy()
    kernel = fewer.get_layer("whitening").kernel
    np.testing.assert_allclose(kernel, whitening_kernel(images), rtol=1e-3, atol=1e-3)
    trained = _planned("airbench", whiten_images=0)
    assert trained.get_layer("stem_conv").kernel.shape == (2, 2, 3, 24)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "airbench"])
def test_each_network_may_have_airbenchs_stem_identity_and_logit_scale(name):
    plain = _build(name, center="channel")
    network = _build(
        name, center="channel", whiten_images=15, identity_init="true", logit_scale=0.5
    )
    stem = network.get_layer("whitening")
    scaled = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    kernel = whitening_kernel(scaled[:15])
    # Networks that scale to 255 whiten what they see.
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
    for layer in wide:
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
    [("airbench", 2), ("wide_resnet", 2), ("resnet_smith", 2), ("resnet_v2", 2)],
)
def test_winograd_replaces_3x3_convolutions(name, others):
    def kinds(winograd):
        network = _planned(name, winograd=winograd)
        threes = [x for x in network.layers if getattr(x, "kernel_size", 0) == (3, 3)]
        return [isinstance(layer, WinogradConv2D) for layer in threes]

    assert not any(kinds(False))
    # Of stride 2, of less than 16 channels.
    assert kinds(True).count(False) == others


_OWN = {
    "resnet_v2": (0.99, 1e-3),
    "resnet_smith": (0.95, 1e-5),
    "wide_resnet": (0.9, 1e-5),
    "airbench": (0.6, 1e-12),
}


@pytest.mark.parametrize("name", _OWN)
def test_batchnorms_are_the_networks_own_unless_the_recipe_says_otherwise(name):
    def values(**changes):
        network = _planned(name, **changes)
        norms = [layer for layer in network.layers if isinstance(layer, FusedBatchNormalization)]
        return {(norm.momentum, norm.epsilon) for norm in norms}

    assert values() == {_OWN[name]}
    assert values(bn_momentum=0.5, bn_epsilon=0.25) == {(0.5, 0.25)}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_all_networks_take_reaches_each(name):
    network = _planned(name, dropout=0.25, seed=3, l2=0.5, activation="silu", input_scale=255.0)
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
    network = reference.randomized(_build(name, l2=1e-4, dropout=0.5))
    expected = network(TRAIN.images, training=False)
    network.save(tmp_path / "network.keras")
    keras.config.set_dtype_policy("float32")  # the policy is the file's, not the session's
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(TRAIN.images, training=False), expected)
    # Names come from the recipe alone, not from what was built before.
    names = [layer.name for layer in loaded.layers]
    assert names == [layer.name for layer in _planned(name, dropout=0.5).layers]


@pytest.mark.parametrize(
    ("name", "center"),
    [("resnet_v2", center) for center in settings()["center"].choices]
    + [(name, "pixel") for name in NETWORKS if name != "resnet_v2"],
)
def test_the_networks_subtract_the_mean_of_the_training_images(name, center):
    network = _build(name, center=center)
    scaled = keras.Model(network.input, network.get_layer("scale").output)
    expected = TRAIN.images / 255
    means = {"pixel": expected.mean(0), "channel": expected.mean((0, 1, 2)), "none": 0}
    np.testing.assert_allclose(scaled(TRAIN.images), expected - means[center], atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "shape", "rule"),
    [
        (
            _recipe(stack_units=(1,) * 4),
            (8, 7),
            "--stack_units=1,1,1,1: 4 stacks need images of at least 8×8, --dataset=cifar10 "
            "has 8×7",
        ),
        (_recipe("wide_resnet"), (1, 9), "--stack_units=1,1: 2 stacks need images of at least 2×2"),
        (_recipe("resnet_smith"), (9, 1), "2 stacks need images of at least 2×2"),
        (
            _recipe("resnet_smith", downsampling="tensorflow", stack_units=(1, 1, 1)),
            (8, 6),
            "--stack_units=1,1,1: with --downsampling=tensorflow 3 stacks need image sizes that "
            "4 divides, --dataset=cifar10 has 8×6",
        ),
        (
            _recipe("caffe_cifar10"),
            (32, 7),
            "--model=caffe_cifar10: needs images of at least 8×8, --dataset=cifar10 has 32×7",
        ),
        (
            _recipe("airbench"),
            (9, 4),
            "--widths=4,16: 2 groups need images of at least 5×5, --dataset=cifar10 has 9×4",
        ),
        (
            _recipe("wide_resnet", stack_units=(1,), whiten_images=9),
            (1, 9),
            "--whiten_images=9: needs images of at least 2×2, --dataset=cifar10 has 1×9",
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
    check_size(_recipe(crop=3), (4, 5, 3))
    with pytest.raises(DataError, match=r"--crop=4: must be below height and width, .* has 9×4"):
        check_size(_recipe(crop=4), (9, 4, 3))


@pytest.mark.parametrize(
    ("recipe", "shape"),
    [
        (_recipe(stack_units=(1,) * 4), (8, 8)),
        (_recipe("wide_resnet", stack_units=(1, 1, 1)), (4, 5)),
        (_recipe("resnet_smith", stack_units=(1, 1, 1)), (4, 7)),
        (_recipe("resnet_smith", downsampling="tensorflow", stack_units=(1, 1, 1)), (4, 8)),
        (_recipe("caffe_cifar10"), (8, 9)),
        (_recipe("airbench"), (5, 6)),
    ],
)
def test_images_that_just_suit_are_taken(recipe, shape):
    check_size(recipe, (*shape, 3))
    train = Examples(np.zeros((2, *shape, 3), np.uint8), np.zeros(2))
    assert build_network(recipe, train, 4)(train.images).shape == (2, 4)


@pytest.mark.parametrize(
    ("center", "shape"), [("pixel", (8, 12, 3)), ("channel", (3,)), ("none", ())]
)
def test_the_mean_is_exact_and_between_0_and_1(center, shape):
    # So many bright images that a float32 sum of pixels would be off.
    images = np.full((3000, 8, 12, 3), 251, np.uint8)
    images[::2, :, :, 1] = 250
    mean = image_mean(images, center)
    assert mean.shape == shape
    assert mean.dtype == np.float32
    if center == "none":
        assert mean == 0
    else:
        expected = np.array([251, 250.5, 251]) / 255
        np.testing.assert_allclose(mean, np.broadcast_to(expected, shape), rtol=1e-7)


def test_images_are_divided_by_each_channels_standard_deviation():
    scale = image_scale(TRAIN.images, 2.0, "channel_std")
    np.testing.assert_allclose(scale, 2 / (TRAIN.images / 255).std((0, 1, 2)), rtol=1e-6)
    assert image_scale(TRAIN.images, 2.0, "none") == 2.0
    network = _build(center="channel", scale_by="channel_std")
    scaled = keras.Model(network.input, network.get_layer("scale").output)(TRAIN.images).numpy()
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, rtol=1e-5)


def test_a_channel_that_never_changes_is_left_alone():
    images = np.full((2001, 2, 2, 2), 7, np.uint8)
    images[::3, ..., 1] = 9
    scale = image_scale(images, 1.0, "channel_std")
    np.testing.assert_allclose(scale, [1, 255 / (2 * (2 / 9) ** 0.5)], rtol=1e-6)
