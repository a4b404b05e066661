"""Optimizers by name: what `--optimizer` chooses from."""

import keras

from tfsc.optimizers.fused import FusedAdam, FusedAdamW, FusedSGD
from tfsc.recipe import Recipe


def build(
    recipe: Recipe,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    momentum: float | keras.optimizers.schedules.LearningRateSchedule,
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer around its schedules.

    Keras' `weight_decay` is decoupled for AdamW and SGD alike: θ ← θ − rate·λ·θ, then the step, on
    every variable. This λ is the one in seed 000's tables. Names are fixed, because checkpoints
    know the optimizer's variables by them and Keras would number a second one in a process.
    """
    return OPTIMIZERS[recipe.optimizer](recipe, schedule, momentum)


def _adamw(recipe, schedule, momentum):
    return FusedAdamW(schedule, weight_decay=recipe.wd, name="adamw")


def _adam(recipe, schedule, momentum):
    return FusedAdam(schedule, name="adam")


def _sgd(recipe, schedule, momentum):
    return FusedSGD(schedule, momentum=momentum, weight_decay=recipe.wd or None, name="sgd")


OPTIMIZERS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd}


def first_moment_decay(recipe: Recipe) -> float | None:
    """β₁ of optimizers that have one, 0 for those without momentum, None where it is scheduled."""
    return None if recipe.optimizer == "sgd" else 0.9
