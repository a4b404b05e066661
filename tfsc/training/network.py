"""The network of a recipe: what `--model`, `--input` and the settings around them amount to."""

import keras

from tfsc import inputs, models
from tfsc.data.examples import Examples
from tfsc.errors import DataError, shown
from tfsc.layers.whitening import SIZE as PATCH
from tfsc.models.catalog import size_fault
from tfsc.recipe import Recipe


def build_network(
    recipe: Recipe,
    train: Examples,
    classes: int,
    native: bool = False,
    winograd: bool = False,
) -> keras.Model:
    """The recipe's network for these training images, with its initial weights.

    Args:
        recipe: names the network and its settings.
        train: the training set, from which it takes its means.
        classes: number of labels.
        native, winograd: as of `models.build`: what --native amounts to on this machine.
    """
    given = inputs.build(recipe.parsed("input"), train.images)
    return models.build(
        recipe.parsed("model"),
        train.images.shape[1:],
        classes,
        mean=given.mean,
        scale=given.scale,
        whitening=given.whitening,
        l2=recipe.l2,
        dropout_seed=recipe.seed,
        native=native,
        winograd=winograd,
    )


def check_size(recipe: Recipe, image_shape: tuple[int, ...]) -> None:
    """Refuse images whose size does not suit the recipe's network, input or augmentation.

    Raises:
        DataError: with the rule.
    """
    height, width = image_shape[:2]
    has = f"--dataset={recipe.dataset} has {height}×{width}"
    crop = recipe.parsed("augment").named("crop")
    if crop and min(height, width) <= crop["size"]:
        raise DataError(
            f"--augment={shown(recipe.augment)}: size of crop must be below height and width, {has}"
        )
    if fault := size_fault(recipe.parsed("model"), height, width):
        raise DataError(f"--model={shown(recipe.model)}: {fault}, {has}")
    if recipe.parsed("input").named("whiten") and min(height, width) < PATCH:
        raise DataError(
            f"--input={shown(recipe.input)}: whiten needs images of at least {PATCH}×{PATCH}, {has}"
        )
