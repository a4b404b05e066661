"""Networks by name: what `--model` chooses from."""

from typing import Any

import keras
import numpy as np

from tfsc.data.examples import Examples
from tfsc.errors import DataError
from tfsc.models.caffe_cifar10 import LEAST_SIZE, caffe_cifar10
from tfsc.models.resnet_smith import resnet_smith
from tfsc.models.resnet_v2 import resnet_v2
from tfsc.models.wide_resnet import wide_resnet
from tfsc.recipe import Recipe


def build(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    """The recipe's network for these training images, with its initial weights."""
    return NETWORKS[recipe.model](recipe, train, classes)


def _shared(recipe: Recipe, train: Examples, classes: int) -> dict[str, Any]:
    """The arguments that every network takes."""
    return {
        "input_shape": train.images.shape[1:],
        "classes": classes,
        "activation": recipe.activation,
        "l2": recipe.l2,
        "mean": image_mean(train.images, recipe.center),
        "input_scale": recipe.input_scale,
        "dropout": recipe.dropout,
        "dropout_seed": recipe.seed,
    }


def _stacked(recipe: Recipe, train: Examples, classes: int) -> dict[str, Any]:
    """The arguments that every residual network takes."""
    arguments = _shared(recipe, train, classes) | {"stack_units": recipe.stack_units}
    for name in ("bn_momentum", "bn_epsilon"):
        if value := getattr(recipe, name):  # 0 is the network's own
            arguments[name] = value
    return arguments


def _resnet_v2(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    return resnet_v2(
        **_stacked(recipe, train, classes),
        shortcut_kernels=recipe.shortcut_kernels,
        pooling=recipe.pooling,
        shortcut_preactivation=recipe.shortcut_preactivation,
        shortcut_bn=recipe.shortcut_bn,
    )


def _resnet_smith(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    return resnet_smith(
        **_stacked(recipe, train, classes),
        conv_bias=recipe.conv_bias,
        downsampling=recipe.downsampling,
    )


def _wide_resnet(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    return wide_resnet(**_stacked(recipe, train, classes), width=recipe.width)


def _caffe_cifar10(recipe: Recipe, train: Examples, classes: int) -> keras.Model:
    return caffe_cifar10(**_shared(recipe, train, classes))


NETWORKS = {
    "resnet_v2": _resnet_v2,
    "resnet_smith": _resnet_smith,
    "wide_resnet": _wide_resnet,
    "caffe_cifar10": _caffe_cifar10,
}


def check_size(recipe: Recipe, image_shape: tuple[int, ...]) -> None:
    """Refuse images whose size does not suit the recipe's network.

    Raises:
        DataError: with the rule.
    """
    height, width = image_shape[:2]
    has = f"--dataset={recipe.dataset} has {height}×{width}"
    if recipe.model == "caffe_cifar10":
        if min(height, width) < LEAST_SIZE:
            raise DataError(
                f"--model=caffe_cifar10: needs images of at least {LEAST_SIZE}×{LEAST_SIZE}, {has}"
            )
        return
    stacks = len(recipe.stack_units)
    factor = 2 ** (stacks - 1)
    flag = f"--stack_units={','.join(map(str, recipe.stack_units))}"
    if min(height, width) < factor:
        raise DataError(f"{flag}: {stacks} stacks need images of at least {factor}×{factor}, {has}")
    if recipe.downsampling == "tensorflow" and (height % factor or width % factor):
        raise DataError(
            f"{flag}: with --downsampling=tensorflow {stacks} stacks need image sizes that "
            f"{factor} divides, {has}"
        )


def image_mean(images: np.ndarray, center: str) -> np.ndarray:
    """Mean of uint8 images after scaling to 0–1: per "pixel", per "channel", or 0 for "none"."""
    if center == "none":
        return np.float32(0)
    axes = 0 if center == "pixel" else (0, 1, 2)
    return (images.mean(axes, dtype=np.float64) / 255).astype(np.float32)
