"""The optimizer of a recipe: what `--optimizer` and the settings around it amount to."""

from collections.abc import Callable
from typing import Any

import keras

from tfsc.data.batch_plan import BatchPlan
from tfsc.optimizers import builder
from tfsc.optimizers.catalog import innermost
from tfsc.recipe import Recipe
from tfsc.schedules.normalized_decay import NormalizedDecay
from tfsc.schedules.warm_restarts import WarmRestarts


def build_optimizer(
    recipe: Recipe,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    momentum: Callable[[Any], builder.Scheduled] | None = None,
    plan: BatchPlan | None = None,
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer around its learning rate.

    Decay is decoupled unless the recipe says otherwise: θ ← θ − rate·λ·θ, then the step, on every
    variable but those of --no_decay. This λ is the one in seed 000's tables.

    Args:
        recipe: names it.
        schedule: its learning rate.
        momentum: makes a number or a schedule of what a momentum says; None: they are numbers.
        plan: tells which step ends an epoch of --freeze_after; without that none is needed.
    """
    optimizer = recipe.parsed("optimizer")
    decay = {
        "weight_decay": recipe.wd,
        "decoupled": recipe.decoupled,
        "no_decay": recipe.parsed("no_decay"),
        "lr_factors": recipe.parsed("lr_factors"),
        "wd_factors": recipe.parsed("wd_factors"),
    }
    if innermost(optimizer).family == "adamwr":
        decay["weight_decay"] = NormalizedDecay(_restarts(schedule), recipe.wd, schedule.value(0))
    epochs = recipe.parsed("freeze_after")
    freeze_after = {}
    if epochs:
        if plan is None:
            raise ValueError("--freeze_after needs the plan of batches")
        freeze_after = {group: plan.step_after(epochs[group]) for group in epochs}
    return builder.build(
        optimizer,
        schedule,
        decay=decay,
        clip=recipe.parsed("clip"),
        freeze_after=freeze_after,
        momentum=momentum,
    )


def _restarts(schedule: Any) -> WarmRestarts:
    """The restarts inside a scaling or a holding per epoch."""
    while not isinstance(schedule, WarmRestarts):
        schedule = schedule.inner
    return schedule


def first_moment_decay(recipe: Recipe) -> float | None:
    """β₁ of optimizers that have one, 0 for those without momentum, None where it is scheduled."""
    call = innermost(recipe.parsed("optimizer"))
    return None if "momentum" in call else call.get("beta_1", 0.0)
