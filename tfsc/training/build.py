"""From a recipe to what is trained: its data, `build_learner` and its schedule."""

import keras

from tfsc import augment
from tfsc.data.examples import Source
from tfsc.data.pipeline import TrainingPipeline
from tfsc.data.resident import ResidentExamples
from tfsc.data.split import Split, split
from tfsc.errors import DataError
from tfsc.models import registry as models
from tfsc.optimizers import registry as optimizers
from tfsc.recipe import Recipe
from tfsc.schedules.segments import SegmentSchedule
from tfsc.training.learner import Learner
from tfsc.training.precision import use_xla


def build_data(recipe: Recipe, source: Source) -> tuple[Split, TrainingPipeline]:
    """The recipe's examples of a dataset, and the batches that train.

    Raises:
        DataError: if the dataset is too small for the recipe.
    """
    models.check_size(recipe, source.train.images.shape[1:])
    data = split(source, recipe.val_split, recipe.train_examples, recipe.seed)
    if recipe.batch_size > len(data.train):
        raise DataError(
            f"--batch_size={recipe.batch_size}: must be at most the {len(data.train)} "
            "training examples"
        )
    return data, TrainingPipeline(data.train, recipe.batch_size, recipe.seed, recipe.data_on)


def build_learner(
    recipe: Recipe, data: Split, classes: int, resident: ResidentExamples | None = None
) -> Learner:
    """The recipe's network, optimizer and augmentation, compiled, with initial weights.

    Args:
        recipe: what to train.
        data: the training set, from which the network takes its means.
        classes: number of labels.
        resident: the pipeline's, if it has one.
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
    learner.optimizer.build(learner.network.trainable_variables)
    return learner


def build_schedule(recipe: Recipe, steps_per_epoch: int) -> SegmentSchedule:
    return SegmentSchedule(recipe.schedule, steps_per_epoch, recipe.schedule_per)
