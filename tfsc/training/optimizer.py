"""The optimizer of a recipe: what `--optimizer` and the settings around it amount to."""

from typing import Any

import keras

from tfsc.data.batch_plan import BatchPlan
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
from tfsc.schedules.normalized_decay import NormalizedDecay
from tfsc.schedules.warm_restarts import WarmRestarts


def build_optimizer(
    recipe: Recipe,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    momentum: float | keras.optimizers.schedules.LearningRateSchedule,
    plan: BatchPlan | None = None,
    rest_momentum: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer around its schedules.

    The plan tells which step ends an epoch of --freeze_after; without that none is needed. What
    muon leaves to sgd has `rest_momentum`, without one `momentum`.

    Decay is decoupled unless the recipe says otherwise: θ ← θ − rate·λ·θ, then the step, on every
    variable but those of --no_decay. This λ is the one in seed 000's tables. Names are fixed,
    because checkpoints know the optimizer's variables by them and Keras would number a second one
    in a process.
    """
    options = _clipping(recipe) | _freezing(recipe, plan)
    if recipe.optimizer == "muon" and rest_momentum is not None:
        options["rest_momentum"] = rest_momentum
    optimizer = OPTIMIZERS[recipe.optimizer](recipe, schedule, momentum, **options)
    if recipe.lookahead:
        return Lookahead(optimizer, recipe.lookahead, recipe.lookahead_alpha, name="lookahead")
    return optimizer


def _clipping(recipe: Recipe) -> dict[str, float]:
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    return {name: getattr(recipe, name) for name in names if getattr(recipe, name)}


def _freezing(recipe: Recipe, plan: BatchPlan | None) -> dict[str, Any]:
    """--freeze_after in steps."""
    epochs = groups.parse_epochs(recipe.freeze_after)
    if not epochs:
        return {}
    return {"freeze_after": {group: plan.step_after(epochs[group]) for group in epochs}}


def _decay(recipe: Recipe) -> dict[str, Any]:
    """Decay and groups: the same for every optimizer."""
    return {
        "weight_decay": recipe.wd,
        "decoupled": recipe.decoupled,
        "no_decay": groups.parse_names(recipe.no_decay),
        "lr_factors": groups.parse_factors(recipe.lr_factors),
        "wd_factors": groups.parse_factors(recipe.wd_factors),
    }


def _betas(recipe: Recipe) -> dict[str, float]:
    """β₁ and, unless it is the optimizer's own, β₂."""
    return {"beta_1": recipe.beta_1} | ({"beta_2": recipe.beta_2} if recipe.beta_2 else {})


def _rho(recipe: Recipe) -> dict[str, float]:
    return {"rho": recipe.beta_2} if recipe.beta_2 else {}


def _adamw(recipe, schedule, momentum, **rest):
    betas = _betas(recipe)
    return FusedAdamW(
        schedule, epsilon=recipe.epsilon, name="adamw", **betas, **_decay(recipe), **rest
    )


def _adamwr(recipe, schedule, momentum, **rest):
    restarts = schedule
    while not isinstance(restarts, WarmRestarts):  # inside a scaling or a holding per epoch
        restarts = restarts.inner
    decay = _decay(recipe)
    decay["weight_decay"] = NormalizedDecay(restarts, recipe.wd, schedule.value(0))
    betas = _betas(recipe)
    return FusedAdamW(schedule, epsilon=recipe.epsilon, name="adamwr", **betas, **decay, **rest)


def _adam(recipe, schedule, momentum, **rest):
    betas = _betas(recipe)
    return FusedAdam(
        schedule, epsilon=recipe.epsilon, name="adam", **betas, **_decay(recipe), **rest
    )


def _sgd(recipe, schedule, momentum, name="sgd", **rest):
    how = {"momentum": momentum, "nesterov": recipe.nesterov}
    return FusedSGD(schedule, name=name, **how, **_decay(recipe), **rest)


def _sgdw(recipe, schedule, momentum, **rest):
    return _sgd(recipe, schedule, momentum, name="sgdw", **rest)


def _rmsprop(recipe, schedule, momentum, **rest):
    rho = _rho(recipe)
    return FusedRMSprop(
        schedule, epsilon=recipe.epsilon, name="rmsprop", **rho, **_decay(recipe), **rest
    )


def _adagrad(recipe, schedule, momentum, **rest):
    return FusedAdagrad(schedule, epsilon=recipe.epsilon, name="adagrad", **_decay(recipe), **rest)


def _adadelta(recipe, schedule, momentum, **rest):
    rho = _rho(recipe)
    return FusedAdadelta(
        schedule, epsilon=recipe.epsilon, name="adadelta", **rho, **_decay(recipe), **rest
    )


def _lion(recipe, schedule, momentum, **rest):
    return Lion(schedule, name="lion", **_betas(recipe), **_decay(recipe), **rest)


def _muon(recipe, schedule, momentum, rest_momentum=None, **rest):
    rest_momentum = momentum if rest_momentum is None else rest_momentum
    # Muon clips for both.
    freezing = {name: rest[name] for name in rest if name == "freeze_after"}
    others = OPTIMIZERS[recipe.muon_rest](recipe, schedule, rest_momentum, **freezing)
    how = {"momentum": momentum, "nesterov": recipe.nesterov, "steps": recipe.muon_steps}
    return Muon(schedule, rest=others, name="muon", **how, **_decay(recipe), **rest)


OPTIMIZERS = {
    "adamw": _adamw,
    "adamwr": _adamwr,
    "adam": _adam,
    "sgd": _sgd,
    "sgdw": _sgdw,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "lion": _lion,
    "muon": _muon,
}


def first_moment_decay(recipe: Recipe) -> float | None:
    """β₁ of optimizers that have one, 0 for those without momentum, None where it is scheduled."""
    if recipe.optimizer in ("sgd", "sgdw", "muon"):
        return None
    return recipe.beta_1 if recipe.optimizer in ("adamw", "adamwr", "adam", "lion") else 0.0
