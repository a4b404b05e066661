"""Optimizers by name: what `--optimizer` chooses from."""

from typing import Any

import keras

from tfsc.optimizers import groups
from tfsc.optimizers.adadelta import FusedAdadelta
from tfsc.optimizers.adagrad import FusedAdagrad
from tfsc.optimizers.adam import FusedAdam, FusedAdamW
from tfsc.optimizers.lion import Lion
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.recipe import Recipe


def build(
    recipe: Recipe, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer around a schedule.

    Decay is decoupled unless the recipe says otherwise: θ ← θ − rate·λ·θ, then the step, on every
    variable but those of --no_decay. This λ is the one in seed 000's tables. Names are fixed,
    because checkpoints know the optimizer's variables by them and Keras would number a second one
    in a process.
    """
    optimizer = OPTIMIZERS[recipe.optimizer](recipe, schedule, **_clipping(recipe))
    if recipe.lookahead:
        return Lookahead(optimizer, recipe.lookahead, recipe.lookahead_alpha, name="lookahead")
    return optimizer


def _clipping(recipe: Recipe) -> dict[str, float]:
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    return {name: getattr(recipe, name) for name in names if getattr(recipe, name)}


def _decay(recipe: Recipe) -> dict[str, Any]:
    """Decay and groups: the same for every optimizer."""
    return {
        "weight_decay": recipe.wd,
        "decoupled": recipe.decoupled,
        "no_decay": groups.parse_names(recipe.no_decay),
        "lr_factors": groups.parse_factors(recipe.lr_factors),
    }


def _betas(recipe: Recipe) -> dict[str, float]:
    """β₁ and, unless it is the optimizer's own, β₂."""
    return {"beta_1": recipe.beta_1} | ({"beta_2": recipe.beta_2} if recipe.beta_2 else {})


def _rho(recipe: Recipe) -> dict[str, float]:
    return {"rho": recipe.beta_2} if recipe.beta_2 else {}


def _adamw(recipe, schedule, **rest):
    betas = _betas(recipe)
    return FusedAdamW(
        schedule, epsilon=recipe.epsilon, name="adamw", **betas, **_decay(recipe), **rest
    )


def _adam(recipe, schedule, **rest):
    betas = _betas(recipe)
    return FusedAdam(
        schedule, epsilon=recipe.epsilon, name="adam", **betas, **_decay(recipe), **rest
    )


def _sgd(recipe, schedule, name="sgd", **rest):
    momentum = {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    return FusedSGD(schedule, name=name, **momentum, **_decay(recipe), **rest)


def _sgdw(recipe, schedule, **rest):
    return _sgd(recipe, schedule, name="sgdw", **rest)


def _rmsprop(recipe, schedule, **rest):
    rho = _rho(recipe)
    return FusedRMSprop(
        schedule, epsilon=recipe.epsilon, name="rmsprop", **rho, **_decay(recipe), **rest
    )


def _adagrad(recipe, schedule, **rest):
    return FusedAdagrad(schedule, epsilon=recipe.epsilon, name="adagrad", **_decay(recipe), **rest)


def _adadelta(recipe, schedule, **rest):
    rho = _rho(recipe)
    return FusedAdadelta(
        schedule, epsilon=recipe.epsilon, name="adadelta", **rho, **_decay(recipe), **rest
    )


def _lion(recipe, schedule, **rest):
    return Lion(schedule, name="lion", **_betas(recipe), **_decay(recipe), **rest)


def _muon(recipe, schedule, **rest):
    # Muon clips for both.
    others = OPTIMIZERS[recipe.muon_rest](recipe, schedule)
    momentum = {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    return Muon(schedule, rest=others, name="muon", **momentum, **_decay(recipe), **rest)


OPTIMIZERS = {
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
    "sgdw": _sgdw,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "lion": _lion,
    "muon": _muon,
}
