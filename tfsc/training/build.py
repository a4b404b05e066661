"""From a recipe to what is trained: `build_learner` and its schedule."""

import keras

from tfsc import augment
from tfsc.data.resident import ResidentExamples
from tfsc.data.split import Split
from tfsc.errors import RecipeError
from tfsc.flagfile import shown
from tfsc.models import registry as models
from tfsc.optimizers import registry as optimizers
from tfsc.optimizers.groups import UnknownGroupError
from tfsc.recipe import Recipe
from tfsc.schedules.segments import SegmentSchedule
from tfsc.training.learner import Learner
from tfsc.training.precision import use_xla


def build_learner(
    recipe: Recipe, data: Split, classes: int, resident: ResidentExamples | None = None
) -> Learner:
    """The recipe's network, optimizer and augmentation, compiled, with initial weights.

    Args:
        recipe: what to train.
        data: the training set, from which the network takes its means.
        classes: number of labels.
        resident: the pipeline's, if it has one.

    Raises:
        RecipeError: if --no_decay or --lr_factors names variables that the network does not have.
    """
    keras.utils.set_random_seed(recipe.seed)
    schedule = build_schedule(recipe, len(data.train) // recipe.batch_size)
    learner = Learner(
        models.build(recipe, data.train, classes),
        augment.build(recipe.shift, recipe.flip, recipe.seed),
        ema=recipe.ema,
        complete=resident,
    )
    learner.compile(
        optimizer=optimizers.build(recipe, schedule),
        jit_compile=use_xla(recipe.xla) and recipe.replicas == 1,
        steps_per_execution=recipe.steps_per_execution,
    )
    try:
        learner.optimizer.build(learner.network.trainable_variables)
    except UnknownGroupError as error:
        text = shown(getattr(recipe, error.argument))
        group = shown(error.group, 40)
        raise RecipeError(
            f"--{error.argument}={text}: {error.rule}; no variable belongs to {group}"
        ) from None
    return learner


def build_schedule(recipe: Recipe, steps_per_epoch: int) -> SegmentSchedule:
    return SegmentSchedule(recipe.schedule, steps_per_epoch, recipe.schedule_per)
