"""Networks by the name in a recipe."""

import keras
import numpy as np
import pytest

from tfsc.data.examples import Examples
from tfsc.models import registry
from tfsc.models.registry import image_mean
from tfsc.recipe import Recipe, settings

TRAIN = Examples(
    np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3)).astype(np.uint8),
    np.arange(20, dtype=np.int32) % 4,
)


def _build(**changes):
    recipe = Recipe(stack_units=(1, 1), shortcut_kernels=(3,)).replace(**changes)
    return registry.build(recipe, TRAIN, classes=4)


def test_the_registry_has_exactly_the_models_that_a_recipe_may_name():
    assert set(registry.NETWORKS) == set(settings()["model"].choices)


@pytest.mark.parametrize("name", registry.NETWORKS)
def test_each_network_maps_raw_images_to_logits(name):
    logits = _build(model=name)(TRAIN.images, training=False).numpy()
    assert logits.shape == (20, 4)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 0


def test_resnet_v2_is_built_as_the_recipe_says():
    network = _build(
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
    pooled = _build(pooling="avg")
    assert "pool" in {layer.name for layer in pooled.layers}


@pytest.mark.parametrize("center", settings()["center"].choices)
def test_the_networks_subtract_the_mean_of_the_training_images(center):
    network = _build(center=center)
    scaled = keras.Model(network.input, network.get_layer("scale").output)
    expected = TRAIN.images / 255
    expected = (
        expected
        - {
            "pixel": expected.mean(0),
            "channel": expected.mean((0, 1, 2)),
            "none": 0,
        }[center]
    )
    np.testing.assert_allclose(scaled(TRAIN.images), expected, atol=1e-6)


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
