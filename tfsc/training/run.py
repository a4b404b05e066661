"""`run`: from a recipe to a run directory."""

import contextlib
import dataclasses
import math
import os
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfsc.augment.separable import SeparableChain
from tfsc.data.examples import Source
from tfsc.data.pipeline import TrainingPipeline, evaluation_batches
from tfsc.data.source import load
from tfsc.errors import (
    Diverged,
    ExportError,
    Interrupted,
    RecipeError,
    StorageError,
    TfscError,
    one_line,
)
from tfsc.exports.write import write_export
from tfsc.hardware import bf16
from tfsc.hardware.gpu import has_gpu
from tfsc.layers.fused_pointwise import FusedPointwiseConv2D
from tfsc.layers.norm_relu import NormReLU
from tfsc.layers.winograd import WinogradConv2D
from tfsc.native import compiler
from tfsc.precision import native_doubt, onednn_faults, set_precision
from tfsc.recipe import Recipe
from tfsc.reporting.energy import NOTHING_YET, GpuMeter, Usage
from tfsc.reporting.events import EventWriter
from tfsc.reporting.plots import plot_curves
from tfsc.reporting.provenance import other_rounding, provenance
from tfsc.reporting.step_table import StepTable
from tfsc.reporting.summary import evaluated, result, summarize
from tfsc.reporting.windows import Windows
from tfsc.runs.begun_precision import settle
from tfsc.runs.finished import finished, said_if_done
from tfsc.runs.run_directory import RunDirectory, earlier_digests
from tfsc.training.build import build_data, build_learner, schedule_doubts, total_steps
from tfsc.training.callbacks import ProgressLine, RestoreMetrics, StepLog, StopOnSignal, duration
from tfsc.training.checkpoint import CheckpointStore
from tfsc.training.clock import Clock
from tfsc.training.garbage_collection import EpochGarbage
from tfsc.training.learner import Learner
from tfsc.training.replicas import replica_strategy
from tfsc.training.scheduled_values import ScheduledValues

# A drawing takes as long as many a small network's epoch.
SECONDS_BETWEEN_DRAWINGS = 10.0


def run(recipe: Recipe) -> dict[str, Any]:
    """Train by a recipe, or resume where the same recipe stopped, and return the summary.

    Raises:
        TfscError: whatever a person can mend; `Diverged` and `Interrupted` leave a run directory
            that says so.
    """
    recipe, precision_line = settle(recipe)
    if summary := finished(recipe):  # which refuses another recipe's before a network is built
        return summary
    # Whatever a person can mend is found before a run directory is made.
    strategy = replica_strategy(recipe.replicas)
    set_precision(recipe.precision)
    source = load(recipe.dataset, recipe.data_dir)
    data, pipeline = build_data(recipe, source)
    with strategy.scope():
        learner = build_learner(recipe, data, len(source.class_names), pipeline.resident)
    directory = RunDirectory(recipe)
    with directory, StopOnSignal() as signals:
        if summary := said_if_done(directory):  # by another process, in the meantime
            return summary
        directory.write_split(data, source.digest)
        came_to = {"precision": recipe.precision, "native": _in_cpp(learner)}
        directory.add_provenance(provenance(source, recipe.digest, came_to))
        evaluation = evaluation_batches(data.val)
        run = _Run(
            recipe, directory, source, pipeline, evaluation, learner, signals, data.val.images
        )
        if precision_line:
            run.say(precision_line)
        asked = recipe.native, recipe.bf16_winograd, recipe.precision, recipe.xla
        if line := native_doubt(*asked):
            run.say(line)
        if run.resumed and (line := other_rounding(directory.starts())):
            run.warn(line)
        if warning := bf16.warning(recipe.precision, recipe.replicas):
            run.warn(warning)
        return run.train()


def _in_cpp(learner: Learner) -> dict[str, bool | str]:
    """What this run computes in C++, for which level of processors that was compiled, of what."""
    kinds = {"norm": NormReLU, "pointwise": FusedPointwiseConv2D, "winograd": WinogradConv2D}
    used = {
        name: any(isinstance(layer, kind) for layer in learner.network.layers)
        for name, kind in kinds.items()
    }
    chain = learner.augmentation
    used["augment"] = isinstance(chain, SeparableChain) and chain.native and bool(chain.layers)
    if not any(used.values()):
        return {"level": "", "library": "", **used}
    return {"level": compiler.level(), "library": compiler.key(), **used}


class _Run:
    """One process's part of a run: what has been reached, and the loop that goes on from there."""

    def __init__(
        self,
        recipe: Recipe,
        directory: RunDirectory,
        source: Source,
        pipeline: TrainingPipeline,
        evaluation: tf.data.Dataset,
        learner: Learner,
        signals: StopOnSignal,
        val_images: np.ndarray,
    ):
        self.recipe, self.directory = recipe, directory
        self.learner, self.signals = learner, signals
        self.class_names = source.class_names
        self.pipeline, self.evaluation = pipeline, evaluation
        self.val_images = val_images
        self.plan = pipeline.plan
        self.total_steps = total_steps(recipe, self.plan)
        self.total_epochs = math.ceil(self.plan.epochs(self.total_steps))
        self.scheduled = ScheduledValues(recipe, self.plan)
        self.store = CheckpointStore(
            directory.checkpoints,
            recipe.digest,
            keep=recipe.keep_checkpoints,
            warn=self.warn,
            earlier=earlier_digests(directory.path),
        )
        self.state = self.learner.state()
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.epoch_training: Any = None
        self.garbage = EpochGarbage()
        self.drawn_epochs, self.drawn_at = 0, time.monotonic()
        clock, used_before, self.resumed = None, NOTHING_YET, False
        if checkpoint := self.store.restore_newest(self.state):
            self.resumed = True
            self.step = checkpoint.step
            self.history = checkpoint.progress["history"]
            self.epoch_training = checkpoint.progress["epoch_training"]
            clock = checkpoint.progress["clock"]
            # Runs of earlier versions did not measure it: then their total is unknown.
            used_before = Usage(**checkpoint.progress.get("gpus", {}))
            self.say(f"resuming after step {self.step} of {self.total_steps}")
        self.clock = Clock(clock)
        self.meter = GpuMeter(recipe.replicas if has_gpu() else 0, used_before)
        self.progress = ProgressLine(self.total_steps, self.total_epochs)
        self.epoch_windows = Windows(self.total_epochs)
        for row in self.history:
            self.epoch_windows.add(row["epoch"], _shown(row))

    def train(self) -> dict[str, Any]:
        """Train the epochs that are missing, then export; leave a record of what stopped it."""
        with self.meter, self.garbage:
            return self.train_on_record()

    def train_on_record(self) -> dict[str, Any]:
        self.say(
            f"{self.directory.path}: {self.recipe.dataset}, {self.pipeline.count} training "
            f"examples, {self.learner.network.count_params():,} parameters, {self.total_steps} "
            f"steps in {self.total_epochs} epochs, {self.recipe.precision}"
        )
        if not self.resumed:  # once, not at each start
            for doubt in schedule_doubts(self.recipe, self.plan):
                self.warn(doubt)
        try:
            try:
                with onednn_faults(self.recipe.precision):
                    self.train_and_export()
            except Interrupted as interruption:
                self.progress.clear()
                self.save_checkpoint()
                self.write_summary("interrupted")
                self.draw_last_curves()
                self.say(f"{interruption} at step {self.step}; the same command resumes")
                raise
            summary = self.write_summary("done")
        except Diverged as divergence:
            self.progress.clear()
            self.write_summary("diverged", divergence)
            self.draw_last_curves()
            self.say(f"diverged: {divergence}; {self._last_checkpoint()}")
            raise
        except (OSError, ExportError) as error:
            self.progress.clear()
            # On a full disk even this may fail; the error below says what matters.
            with contextlib.suppress(OSError):
                self.write_summary("interrupted")
            raise self._storage_error(error) from error
        except RecipeError as error:
            self.progress.clear()
            self.directory.log(f"stopped: {error}")
            self.write_summary("interrupted")
            raise
        except tf.errors.ResourceExhaustedError as error:
            raise TfscError(
                f"--batch_size={self.recipe.batch_size}: out of memory: {one_line(error)}; "
                "take a smaller batch or network"
            ) from error
        self.say(f"done: {result(summary)}")
        return summary

    def train_and_export(self) -> None:
        self.write_summary("running")
        if self.history:
            # A kill may have come between the checkpoint and these.
            self.directory.write_metrics(self.history)
            self.draw_curves()
        with (
            EventWriter(self.directory.events, after_step=self.step) as events,
            StepLog(
                events,
                StepTable(self.directory.steps, after_step=self.step),
                self.scheduled,
                self.total_steps,
                after_step=self.step,
            ) as self.step_log,
        ):
            while len(self.history) < self.total_epochs:
                self.train_epoch()
                row = self.evaluate_epoch()
                self.record(row, events)
        self.draw_curves()
        if self.recipe.export:
            self.export()

    def train_epoch(self) -> None:
        """Train what is left of the current epoch."""
        epoch = len(self.history)
        end = min(self.plan.first_step(epoch + 1), self.total_steps)
        if self.step >= end:
            return  # stopped during evaluation: this epoch's training is done
        # By the epoch's first step, also where a resumed run begins later: the same graph.
        anew = self.learner.leave_out_frozen(self.plan.first_step(epoch))
        callbacks = [self.clock, self.progress, self.step_log, self.signals]
        self.progress.first_step = self.step_log.first_step = self.step
        batch_size = self.plan.at_epoch(epoch).batch_size
        if anew or batch_size != self.clock.batch_size:
            self.clock.compile_again()
        self.progress.batch_size = self.clock.batch_size = batch_size
        if self.step > self.plan.first_step(epoch):
            callbacks.insert(0, RestoreMetrics(self.learner.metrics))
        try:
            self.learner.fit(
                self.pipeline.batches(self.step, end),
                steps_per_epoch=end - self.step,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
        except Interrupted:
            self.clock.stop()
            raise
        finally:
            self.step = int(self.learner.steps.numpy())
            # Also when a signal came with the last step: then only the evaluation is left.
            if self.step == end:
                self.epoch_training = _rounded(self.learner.get_metrics_result())

    def evaluate_epoch(self) -> dict[str, Any]:
        """Evaluate after an epoch, if it is one's turn; return its row of metrics.csv."""
        started = time.perf_counter()
        self.check_finite()
        epoch = len(self.history) + 1
        turn = epoch % self.recipe.validate_every == 0 or epoch == self.total_epochs
        row = {
            "epoch": epoch,
            "step": self.step,
            **self.scheduled.columns(max(self.step - 1, 0)),
            "train_loss": self.epoch_training["loss"],
            "train_accuracy": self.epoch_training["accuracy"],
            **(self.evaluate("val") if turn else _left_out("val")),
        }
        if self.learner.ema_weights and not turn:
            row |= _left_out("ema_val")
        elif self.learner.ema_weights:
            self.learner.swap_ema()
            try:
                row |= self.evaluate("ema_val")
            finally:
                self.learner.swap_ema()
        self.clock.book_evaluation(time.perf_counter() - started)
        return row | self.clock.lap()

    def last_rate(self) -> float:
        """Learning rate of the last step taken."""
        return self.scheduled.columns(max(self.step - 1, 0))["learning_rate"]

    def check_finite(self) -> None:
        """Weights may be spoilt before a loss shows it: those are neither saved nor exported.

        Raises:
            Diverged: if anything that a checkpoint holds is not finite.
        """
        bad = [name for name, value in self.state.items() if not _finite(value)]
        if bad:
            what = f"{len(bad)} variables are not finite ({bad[0]} first)"
            raise Diverged(what, self.step, self.last_rate())

    def _check_loss(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"the {name} is {loss}", self.step, self.last_rate())

    def evaluate(self, prefix: str) -> dict[str, float]:
        """Loss and accuracy on the validation set, as columns of metrics.csv."""
        result = self.learner.evaluate(
            self.evaluation, verbose=0, return_dict=True, callbacks=[self.signals]
        )
        result = _rounded(result)
        what = "validation loss" + " of the averaged weights" * (prefix == "ema_val")
        self._check_loss(what, result["loss"])
        return {f"{prefix}_loss": result["loss"], f"{prefix}_accuracy": result["accuracy"]}

    def record(self, row: dict[str, Any], events: EventWriter) -> None:
        """Make a finished epoch part of the record.

        What is appended to comes before the checkpoint, what is written anew behind it.
        """
        self.history.append(row)
        self.epoch_training = None
        epoch = row["epoch"]
        if point := self.epoch_windows.add(epoch, _shown(row)):
            events.scalars(self.step, {f"epoch/{name}": value for name, value in point.items()})
        # A checkpoint must not be ahead of these: on resuming they are only cut off behind it.
        self.step_log.flush()
        events.flush()
        if self.has_checkpoint(epoch):
            self.save_checkpoint()
        self.directory.write_metrics(self.history)
        if time.monotonic() - self.drawn_at >= SECONDS_BETWEEN_DRAWINGS:
            self.draw_curves()
        self.write_summary("running")
        self.garbage.collect()
        val = ""
        if row["val_accuracy"] is not None:
            averaged = (
                f", averaged {row['ema_val_accuracy']:.4f}" if self.learner.ema_weights else ""
            )
            val = f"val {row['val_accuracy']:.4f}{averaged} (loss {row['val_loss']:.4f})  "
        self.say(
            f"epoch {epoch}/{self.total_epochs}  train {row['train_accuracy']:.4f} "
            f"(loss {row['train_loss']:.4f})  {val}rate {row['learning_rate']:.3g}  "
            f"{duration(row['train_seconds'])}  {_speed(row['images_per_second'])} images/s"
        )

    def has_checkpoint(self, epoch: int) -> bool:
        return epoch % self.recipe.checkpoint_every == 0 or epoch == self.total_epochs

    def save_checkpoint(self) -> None:
        self.check_finite()
        saved = [row for row in evaluated(self.history) if self.has_checkpoint(row["epoch"])]
        best = max(saved, key=lambda row: row["val_accuracy"], default=None)
        self.store.save(
            self.state,
            self.step,
            progress={
                "history": self.history,
                "epoch_training": self.epoch_training,
                "clock": self.clock.state(),
                "gpus": dataclasses.asdict(self.meter.usage()),
            },
            best_step=best["step"] if best else None,
        )

    def export(self) -> None:
        write_export(
            self.learner.network,
            self.class_names,
            self.recipe.flagfile(),
            self.recipe.digest,
            self.step,
            self.directory.export,
            self.val_images,
        )

    def write_summary(self, status: str, divergence: Diverged | None = None) -> dict[str, Any]:
        summary = summarize(
            self.history, status, self.recipe.threshold, self.clock.now(), self.meter.usage()
        )
        if divergence:
            checkpoint = self.store.newest_sound()
            summary["diverged"] = {
                "what": divergence.what,
                "step": divergence.step,
                "learning_rate": divergence.learning_rate,
                "last_good_checkpoint": checkpoint and checkpoint.arrays_path.name,
            }
        self.directory.write_summary(summary)
        return summary

    def draw_curves(self) -> None:
        """Draw the finished epochs, unless this process has drawn all of them already."""
        if len(self.history) == self.drawn_epochs:
            return
        steps = np.unique(np.linspace(0, self.total_steps - 1, 1000).astype(int))
        rates = np.array([self.scheduled.schedule.value(int(step)) for step in steps])
        epochs = np.array([self.plan.epochs(int(step)) for step in steps])
        plot_curves(
            self.directory.path / "curves.png",
            self.history,
            (epochs, rates),
            f"{self.recipe.dataset} · {self.recipe.short('model')} · "
            f"{self.recipe.short('optimizer')} "
            f"λ={self.recipe.wd:g} · {self.recipe.precision} · seed {self.recipe.seed}",
            self.total_epochs,
        )
        self.drawn_epochs, self.drawn_at = len(self.history), time.monotonic()

    def draw_last_curves(self) -> None:
        """Draw what a run that stops has, if there is room: its summary is what counts."""
        with contextlib.suppress(OSError):
            self.draw_curves()

    def say(self, line: str) -> None:
        """Log a line and show it. A run outlives the terminal or pipe that it talks to."""
        self.directory.log(line)
        try:
            print(line, flush=True)
        except OSError as error:
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            self.directory.log(f"standard output is gone ({error.strerror}); going on without")

    def warn(self, line: str) -> None:
        self.directory.log(f"warning: {line}")
        logging.warning("%s", line)

    def _storage_error(self, error: OSError | ExportError) -> StorageError:
        what = error if isinstance(error, ExportError) else f"{error.filename}: {error.strerror}"
        return StorageError(
            f"{what}; stopped after step {self.step}, {self._last_checkpoint()}; the same command "
            "goes on from there"
        )

    def _last_checkpoint(self) -> str:
        checkpoint = self.store.newest_sound()
        if checkpoint is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {checkpoint.arrays_path}"


def _finite(variable: keras.Variable) -> bool:
    return bool(np.isfinite(variable.numpy()).all())


def _left_out(prefix: str) -> dict[str, None]:
    """The columns of an evaluation that did not take place."""
    return {f"{prefix}_loss": None, f"{prefix}_accuracy": None}


def _shown(row: dict[str, Any]) -> dict[str, float | None]:
    """What TensorBoard shows of an epoch's row."""
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


def _speed(images_per_second: float | None) -> str:
    return "–" if images_per_second is None else f"{images_per_second:.0f}"


def _rounded(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as recorded: float32 has no more than seven digits."""
    return {name: float(f"{float(value):.7g}") for name, value in metrics.items()}
