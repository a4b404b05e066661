"""The network of a recipe: what `--model` and the settings around it amount to."""

from typing import Any

import keras
import numpy as np

from tfsc.data.examples import Examples
from tfsc.errors import DataError
from tfsc.layers.whitening import EPSILON, whitening_kernel
from tfsc.layers.whitening import SIZE as PATCH
from tfsc.models.airbench import airbench, least_size
from tfsc.models.caffe_cifar10 import LEAST_SIZE, caffe_cifar10
from tfsc.models.input_statistics import image_mean, image_scale
from tfsc.models.resnet_smith import resnet_smith
from tfsc.models.resnet_v2 import resnet_v2
from tfsc.models.wide_resnet import wide_resnet
from tfsc.recipe import Recipe


def build_network(
    recipe: Recipe,
    train: Examples,
    classes: int,
    winograd: bool = False,
    fused_norm: bool = False,
) -> keras.Model:
    """The recipe's network for these training images, with its initial weights.

    Args:
        recipe: names the network and its settings.
        train: the training set, from which it takes its means.
        classes: number of labels.
        winograd, fused_norm: what the recipe's settings amount to on this machine.
    """
    native = {"winograd": winograd, "fused_norm": fused_norm}
    return NETWORKS[recipe.model](recipe, train, classes, native)


def _shared(recipe: Recipe, train: Examples, classes: int) -> dict[str, Any]:
    """The arguments that every network takes."""
    mean = image_mean(train.images, recipe.center)
    scale = image_scale(train.images, recipe.input_scale, recipe.scale_by)
    whitening = None
    if count := recipe.resolved("whiten_images"):
        chosen = train.images[:count].astype(np.float32) / 255
        # ε of images whose range is 1.
        epsilon = EPSILON * recipe.input_scale**2
        whitening = whitening_kernel((chosen - mean) * scale, epsilon=epsilon)
    return {
        "input_shape": train.images.shape[1:],
        "classes": classes,
        "activation": recipe.activation,
        "l2": recipe.l2,
        "mean": mean,
        "input_scale": scale,
        "whitening": whitening,
        "identity_init": recipe.resolved("identity_init") == "true",
        "logit_scale": recipe.resolved("logit_scale"),
        "dropout": recipe.dropout,
        "dropout_seed": recipe.seed,
    }


def _stacked(recipe: Recipe, train: Examples, classes: int) -> dict[str, Any]:
    """The arguments that every residual network takes."""
    return {
        **_shared(recipe, train, classes),
        **_norms(recipe),
        "stack_units": recipe.stack_units,
    }


def _norms(recipe: Recipe) -> dict[str, float]:
    """BatchNorm's numbers where they are not the network's own."""
    names = ("bn_momentum", "bn_epsilon")
    return {name: value for name in names if (value := getattr(recipe, name))}


def _resnet_v2(
    recipe: Recipe, train: Examples, classes: int, native: dict[str, bool]
) -> keras.Model:
    return resnet_v2(
        **_stacked(recipe, train, classes),
        shortcut_kernels=recipe.shortcut_kernels,
        pooling=recipe.pooling,
        shortcut_preactivation=recipe.shortcut_preactivation,
        shortcut_bn=recipe.shortcut_bn,
        **native,
    )


def _resnet_smith(
    recipe: Recipe, train: Examples, classes: int, native: dict[str, bool]
) -> keras.Model:
    return resnet_smith(
        **_stacked(recipe, train, classes),
        conv_bias=recipe.conv_bias,
        downsampling=recipe.downsampling,
        **native,
    )


def _wide_resnet(
    recipe: Recipe, train: Examples, classes: int, native: dict[str, bool]
) -> keras.Model:
    return wide_resnet(**_stacked(recipe, train, classes), width=recipe.width, **native)


def _caffe_cifar10(
    recipe: Recipe, train: Examples, classes: int, native: dict[str, bool]
) -> keras.Model:
    return caffe_cifar10(**_shared(recipe, train, classes))


def _airbench(
    recipe: Recipe, train: Examples, classes: int, native: dict[str, bool]
) -> keras.Model:
    return airbench(
        **_shared(recipe, train, classes),
        **_norms(recipe),
        widths=recipe.widths,
        group_depth=recipe.group_depth,
        **native,
    )


NETWORKS = {
    "resnet_v2": _resnet_v2,
    "resnet_smith": _resnet_smith,
    "wide_resnet": _wide_resnet,
    "caffe_cifar10": _caffe_cifar10,
    "airbench": _airbench,
}


def check_size(recipe: Recipe, image_shape: tuple[int, ...]) -> None:
    """Refuse images whose size does not suit the recipe's network or crop.

    Raises:
        DataError: with the rule.
    """
    height, width = image_shape[:2]
    has = f"--dataset={recipe.dataset} has {height}×{width}"
    if min(height, width) <= recipe.crop:
        raise DataError(f"--crop={recipe.crop}: must be below height and width, {has}")
    if recipe.model == "caffe_cifar10":
        if min(height, width) < LEAST_SIZE:
            raise DataError(
                f"--model=caffe_cifar10: needs images of at least {LEAST_SIZE}×{LEAST_SIZE}, {has}"
            )
        return
    if recipe.model == "airbench":
        least = least_size(recipe.widths)
        if min(height, width) < least:
            raise DataError(
                f"--widths={','.join(map(str, recipe.widths))}: {len(recipe.widths)} groups need "
                f"images of at least {least}×{least}, {has}"
            )
        return
    stacks = len(recipe.stack_units)
    factor = 2 ** (stacks - 1)
    flag = f"--stack_units={','.join(map(str, recipe.stack_units))}"
    if min(height, width) < factor:
        raise DataError(f"{flag}: {stacks} stacks need images of at least {factor}×{factor}, {has}")
    if recipe.resolved("whiten_images") and min(height, width) < PATCH:
        raise DataError(
            f"--whiten_images={recipe.whiten_images}: needs images of at least {PATCH}×{PATCH}, "
            f"{has}"
        )
    if recipe.downsampling == "tensorflow" and (height % factor or width % factor):
        raise DataError(
            f"{flag}: with --downsampling=tensorflow {stacks} stacks need image sizes that "
            f"{factor} divides, {has}"
        )
