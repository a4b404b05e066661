"""From a recipe to what is trained: its data, `build_learner` and its schedule."""

import math

import keras

from tfsc import averages, losses
from tfsc.augment.builder import build as build_augmentation
from tfsc.data.batch_plan import BatchPlan
from tfsc.data.examples import Source
from tfsc.data.pipeline import TrainingPipeline
from tfsc.data.resident import ResidentExamples
from tfsc.data.split import Split, split
from tfsc.errors import DataError, RecipeError, shown
from tfsc.optimizers.catalog import momenta
from tfsc.optimizers.groups import UnknownGroupError
from tfsc.precision import use_native, use_winograd, use_xla
from tfsc.recipe import Recipe
from tfsc.schedules import builder, parser
from tfsc.schedules.base import Schedule
from tfsc.schedules.compose import ByEpoch, Scaled
from tfsc.schedules.doubts import doubts
from tfsc.schedules.momentum_and_batch_size import Inverse
from tfsc.schedules.parsed import ScheduleText
from tfsc.training.learner import Learner
from tfsc.training.network import build_network, check_size
from tfsc.training.optimizer import build_optimizer


def build_data(recipe: Recipe, source: Source) -> tuple[Split, TrainingPipeline]:
    """The recipe's examples of a dataset, and the batches that train.

    Raises:
        DataError: if the dataset is too small for the recipe.
    """
    check_size(recipe, source.train.images.shape[1:])
    data = split(source, recipe.val_split, recipe.train_examples, recipe.seed)
    largest = max(size for _, size in recipe.batch_sizes())
    if largest > len(data.train):
        name = "batch_schedule" if recipe.batch_schedule else "batch_size"
        goes_to = f", goes to {largest}" if recipe.batch_schedule else ""
        raise DataError(
            f"--{name}={getattr(recipe, name)}: must be at most the {len(data.train)} training "
            f"examples{goes_to}"
        )
    plan = BatchPlan(len(data.train), recipe.batch_sizes())
    return data, TrainingPipeline(data.train, plan, recipe.seed, recipe.data_on)


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
        RecipeError: if --no_decay, --lr_factors, --wd_factors or --freeze_after names variables
            that the network does not have, or --native=on cannot be had.
    """
    keras.utils.set_random_seed(recipe.seed)
    plan = BatchPlan(len(data.train), recipe.batch_sizes())
    native = use_native(recipe.native, recipe.precision, recipe.xla)
    winograd = use_winograd(recipe.native, recipe.bf16_winograd, recipe.precision, recipe.xla)
    # Several replicas share BatchNorm's sums, which the operation in C++ does not.
    norm_relu = native and recipe.replicas == 1
    learner = Learner(
        build_network(recipe, data.train, classes, native=norm_relu, winograd=winograd),
        build_augmentation(recipe.parsed("augment"), recipe.seed, native),
        ema=averages.build(recipe.parsed("average"), total_steps(recipe, plan)),
        complete=resident,
        micro_batch=recipe.micro_batch,
        loss=losses.build(recipe.parsed("loss")),
    )
    learner.compile(
        optimizer=build_optimizer(
            recipe,
            build_schedule(recipe, plan),
            lambda text: _momentum(recipe, recipe.momentum(text), plan),
            plan,
        ),
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


def total_steps(recipe: Recipe, plan: BatchPlan) -> int:
    """Optimizer steps of the whole run."""
    return recipe.steps or plan.first_step(recipe.epochs)


def build_schedule(recipe: Recipe, plan: BatchPlan) -> Schedule:
    """The recipe's learning rate, for the steps of a plan."""
    schedule = _build(recipe, recipe.parsed_schedule(), plan, "schedule")
    if recipe.scale_lr_from:
        return Scaled(schedule, recipe.batch_size / recipe.scale_lr_from)
    return schedule


def build_momentum(recipe: Recipe, plan: BatchPlan) -> Schedule | None:
    """The first momentum of the recipe's optimizer, likewise; None if it has none."""
    momenta = recipe.momenta()
    return _build(recipe, momenta[0][1], plan, "optimizer") if momenta else None


def schedule_doubts(recipe: Recipe, plan: BatchPlan) -> list[str]:
    """Lines about what the recipe's schedules say in vain.

    Nothing about defaults, which a short trial leaves as they are, nor about what is the inverse of
    the learning rate.
    """
    run = _length(recipe, plan)
    given = {f"--{flag}": getattr(recipe, flag) for flag in ("schedule", "batch_schedule")}
    if recipe.schedule == Recipe.schedule:
        del given["--schedule"]
    texts = {flag: parser.parse(text) for flag, text in given.items() if text}
    for what, momentum in momenta(recipe.parsed("optimizer")):
        if not isinstance(momentum, Inverse):
            texts[f"--optimizer: {what}"] = momentum
    return [f"{where}: {doubt}" for where, text in texts.items() for doubt in doubts(text, *run)]


def _momentum(recipe: Recipe, parsed: ScheduleText, plan: BatchPlan) -> float | Schedule:
    """A number if it never moves, which takes no operations in the graph."""
    constant = parsed.constant()
    return _build(recipe, parsed, plan, "optimizer") if constant is None else constant


def _length(recipe: Recipe, plan: BatchPlan) -> tuple[int, int]:
    """Steps of an epoch and of the run, for schedules.

    They are steps of the first batch size, so that epochs stay comparable.
    """
    steps = total_steps(recipe, plan)
    first, last = plan.stages[0], plan.at_step(steps)
    in_last = (steps - last.step) * first.steps_per_epoch
    total = last.epoch * first.steps_per_epoch + math.ceil(in_last / last.steps_per_epoch)
    return first.steps_per_epoch, total


def _build(recipe: Recipe, parsed: ScheduleText, plan: BatchPlan, flag: str) -> Schedule:
    schedule = builder.build(parsed, *_length(recipe, plan), recipe.schedule_per, flag)
    if len(plan.stages) > 1:
        stages = [(stage.step, stage.epoch, stage.steps_per_epoch) for stage in plan.stages]
        return ByEpoch(schedule, stages)
    return schedule
