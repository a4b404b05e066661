"""Optimizers by name: what `--optimizer` chooses from."""

import keras

from tfsc.optimizers.fused import FusedAdam, FusedAdamW, FusedSGD
from tfsc.recipe import Recipe


def build(
    recipe: Recipe, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer around a schedule.

    Keras' `weight_decay` is decoupled for AdamW and SGD alike: θ ← θ − rate·λ·θ, then the step, on
    every variable. This λ is the one in seed 000's tables. Names are fixed, because checkpoints
    know the optimizer's variables by them and Keras would number a second one in a process.
    """
    return OPTIMIZERS[recipe.optimizer](recipe, schedule)


def _adamw(recipe, schedule):
    return FusedAdamW(schedule, weight_decay=recipe.wd, name="adamw")


def _adam(recipe, schedule):
    return FusedAdam(schedule, name="adam")


def _sgd(recipe, schedule):
    return FusedSGD(schedule, momentum=recipe.momentum, weight_decay=recipe.wd or None, name="sgd")


OPTIMIZERS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd}
