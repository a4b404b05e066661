"""`lr_find`: range tests of a recipe's learning rate, over seeds, and their report."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from tfsc.data.examples import Examples, Source
from tfsc.data.pipeline import TrainingPipeline, evaluation_batches
from tfsc.data.source import load
from tfsc.data.split import Split, stratified_draw
from tfsc.errors import TfscError, one_line
from tfsc.hardware import bf16
from tfsc.lr_finder.options import Options
from tfsc.lr_finder.plots import plot_accuracies, plot_losses
from tfsc.lr_finder.range_test import Sweep, range_test
from tfsc.lr_finder.report import Report, report_accuracies, report_losses
from tfsc.lr_finder.suggestions import AccuracyRange, accuracy_range
from tfsc.precision import native_doubt, onednn_faults, set_precision
from tfsc.recipe import Recipe, auto_precision
from tfsc.runs.run_directory import default_run_dir
from tfsc.schedules.range_test import RangeTest
from tfsc.training.build import build_data, build_learner
from tfsc.training.callbacks import ProgressLine
from tfsc.training.learner import Learner


def lr_find(recipe: Recipe, options: Options) -> Report:
    """Test the recipe's learning rate, write the report and print what it suggests.

    Each seed is a test of its own: it sees what it would see alone.

    Raises:
        TfscError: whatever a person can mend.
    """
    recipe, line = auto_precision.on_this_machine(recipe)
    if line:
        print(line, flush=True)
    if warning := bf16.warning(recipe.precision):
        logging.warning("%s", warning)
    set_precision(recipe.precision)
    asked = recipe.native, recipe.bf16_winograd, recipe.precision, recipe.xla
    if line := native_doubt(*asked):
        print(line, flush=True)
    source = load(recipe.dataset, recipe.data_dir)
    out = Path(options.out or _default_out(recipe, options))
    sweeps: dict[int, Sweep] = {}
    ranges: dict[int, AccuracyRange] = {}
    for seed in range(recipe.seed, recipe.seed + options.seeds):
        seeded = recipe.replace(seed=seed)
        data, pipeline = build_data(seeded, source)
        validation = _validation(source, data, options)
        out.mkdir(parents=True, exist_ok=True)  # before minutes are spent
        learner = build_learner(seeded, data, len(source.class_names), pipeline.resident)
        print(f"seed {seed}: {_plan(options)}", flush=True)
        with onednn_faults(recipe.precision):
            sweeps[seed] = _sweep(learner, pipeline, options, recipe, validation)
        if validation is not None:
            ranges[seed] = _range(sweeps[seed], options, validation)
    picture, log = out / "lr_find.png", options.growth == "exponential"
    title = _title(recipe, options)
    if ranges:
        report = report_accuracies(recipe, sweeps, ranges)
        rates = [_schedule(options).value(step) for step in _evaluated(options)]
        plot_accuracies(picture, rates, sweeps, ranges, report.answers, log, title)
    else:
        report = report_losses(recipe, sweeps, options.num_steps)
        plot_losses(picture, sweeps, report.answers, log, title)
    dataset = {"name": source.name, "version": source.version, "digest": source.digest}
    report.write(out, recipe, options, dataset)
    print(report.text(recipe))
    print(f"report in {out}")
    return report


def _sweep(
    learner: Learner,
    pipeline: TrainingPipeline,
    options: Options,
    recipe: Recipe,
    validation: Examples | None,
) -> Sweep:
    """One seed's test."""
    measure = None
    if validation is not None:
        batches = evaluation_batches(validation)

        def measure() -> float:
            accuracy = learner.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
            return float(f"{accuracy:.7g}")  # float32 has no more

    progress = ProgressLine(options.num_steps, epochs=1)
    progress.batch_size = recipe.batch_size
    try:
        return range_test(
            learner,
            pipeline.batches(0, options.num_steps),
            _schedule(options),
            options.smoothing,
            options.stop_at,
            measure,
            options.evaluate_every or 1,
            callbacks=[progress],
        )
    except tf.errors.ResourceExhaustedError as error:
        raise TfscError(
            f"--batch_size={recipe.batch_size}: out of memory: {one_line(error)}; "
            "take a smaller batch or network"
        ) from error
    finally:
        progress.clear()


def _schedule(options: Options) -> RangeTest:
    return RangeTest(options.start, options.end, options.num_steps, options.growth)


def _evaluated(options: Options) -> range:
    """The steps (counted from 0) after which the accuracy is planned to be measured."""
    every = options.evaluate_every
    return range(every - 1, options.evaluations * every, every)


def _validation(source: Source, data: Split, options: Options) -> Examples | None:
    """The examples on which accuracies are measured; None where they are not."""
    if options.measure != "accuracy":
        return None
    count = options.val_examples
    asked = f"--val_examples={count}"
    return stratified_draw(source, data.val_indices, count, asked) if count else data.val


def _range(sweep: Sweep, options: Options, validation: Examples) -> AccuracyRange:
    """What one seed's accuracies say."""
    chance = np.bincount(validation.labels).max() / len(validation)
    return accuracy_range(
        [sweep.rates[step] for step, _ in sweep.measured],
        [accuracy for _, accuracy in sweep.measured],
        options.evaluations,
        float(chance),
        len(validation),
    )


def _plan(options: Options) -> str:
    text = f"{options.num_steps} steps, rates {options.start:g} to {options.end:g}"
    if options.evaluations:
        text += f", {options.evaluations} evaluations"
    return text


def _title(recipe: Recipe, options: Options) -> str:
    seeds = f"seed {recipe.seed}"
    if options.seeds > 1:
        seeds = f"seeds {recipe.seed}–{recipe.seed + options.seeds - 1}"
    decay = f" λ={recipe.wd:g}" if recipe.wd else ""
    return (
        f"{recipe.dataset} · {recipe.short('model')} · {recipe.short('optimizer')}{decay} · batch "
        f"{recipe.batch_size} · {recipe.precision} · {options.num_steps} steps · {seeds}"
    )


def _default_out(recipe: Recipe, options: Options) -> Path:
    run = Path(default_run_dir(recipe))
    return run.with_name(f"lr_find-{options.measure}-{run.name}")
