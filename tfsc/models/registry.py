"""Networks by name: what `--model` chooses from."""

import keras
import numpy as np

from tfsc.data.examples import Examples
from tfsc.errors import DataError
from tfsc.models.resnet_v2 import resnet_v2
from tfsc.recipe import Recipe


def build(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    """The recipe's network for these training images, with its initial weights."""
    return NETWORKS[recipe.model](recipe, train, classes)


def _resnet_v2(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    return resnet_v2(
        input_shape=train.images.shape[1:],
        classes=classes,
        stack_units=recipe.stack_units,
        shortcut_kernels=recipe.shortcut_kernels,
        pooling=recipe.pooling,
        shortcut_preactivation=recipe.shortcut_preactivation,
        shortcut_bn=recipe.shortcut_bn,
        activation=recipe.activation,
        l2=recipe.l2,
        mean=image_mean(train.images, recipe.center),
        dropout=recipe.dropout,
        dropout_seed=recipe.seed,
    )


NETWORKS = {"resnet_v2": _resnet_v2}


def check_size(recipe: Recipe, image_shape: tuple[int, ...]) -> None:
    """Refuse images that are too small for the recipe's network.

    Raises:
        DataError: with the smallest size that would do.
    """
    least = 2 ** (len(recipe.stack_units) - 1)
    if min(image_shape[:2]) < least:
        units = ",".join(map(str, recipe.stack_units))
        raise DataError(
            f"--stack_units={units}: {len(recipe.stack_units)} stacks need images of at least "
            f"{least}×{least}, --dataset={recipe.dataset} has {image_shape[0]}×{image_shape[1]}"
        )


def image_mean(images: np.ndarray, center: str) -> np.ndarray:
    """Mean of uint8 images after scaling to 0–1: per "pixel", per "channel", or 0 for "none"."""
    if center == "none":
        return np.float32(0)
    axes = 0 if center == "pixel" else (0, 1, 2)
    return (images.mean(axes, dtype=np.float64) / 255).astype(np.float32)
