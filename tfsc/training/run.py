"""`run`: from a recipe to a run directory."""

import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsc import augment
from tfsc.data.examples import Source
from tfsc.data.pipeline import TrainingPipeline, evaluation_batches
from tfsc.data.source import load
from tfsc.data.split import Split, split
from tfsc.errors import DataError, Diverged, Interrupted
from tfsc.evaluation.exported import write_export
from tfsc.models import registry as models
from tfsc.optimizers import registry as optimizers
from tfsc.recipe import Recipe
from tfsc.reporting.plots import plot_curves
from tfsc.reporting.provenance import provenance
from tfsc.reporting.run_directory import RunDirectory
from tfsc.reporting.summary import summarize
from tfsc.schedules.segments import SegmentSchedule
from tfsc.training.callbacks import ProgressLine, RestoreMetrics, StepLog, StopOnSignal, duration
from tfsc.training.checkpoint import CheckpointStore
from tfsc.training.clock import Clock
from tfsc.training.learner import Learner
from tfsc.training.precision import set_precision, use_xla


def run(recipe: Recipe) -> dict[str, Any]:
    """Train by a recipe, or resume where the same recipe stopped, and return the summary.

    Raises:
        TfscError: whatever a person can mend; `Diverged` and `Interrupted` leave a run directory
            that says so.
    """
    # Whatever a person can mend is found before a run directory is made.
    set_precision(recipe.precision)
    source = load(recipe.dataset, recipe.data_dir)
    data = split(source, recipe.val_split, recipe.train_examples, recipe.seed)
    if recipe.batch_size > len(data.train):
        raise DataError(
            f"--batch_size={recipe.batch_size}: must be at most the {len(data.train)} "
            "training examples"
        )
    with RunDirectory(recipe) as directory, StopOnSignal() as signals:
        summary = directory.summary()
        if summary.get("status") == "done":
            print(
                f"{directory.path}: done already, {_result(summary)}; "
                "`python -m tfsc.export` exports its checkpoints"
            )
            return summary
        directory.write_split(data, source.digest)
        directory.add_provenance(provenance(source, recipe.digest))
        return _Run(recipe, directory, source, data, signals).train()


def build_learner(recipe: Recipe, data: Split, classes: int) -> Learner:
    """The recipe's network, optimizer and augmentation, compiled, with initial weights."""
    keras.utils.set_random_seed(recipe.seed)
    schedule = build_schedule(recipe, len(data.train) // recipe.batch_size)
    learner = Learner(
        models.build(recipe, data.train, classes),
        augment.build(recipe.shift, recipe.flip, recipe.seed),
        ema=recipe.ema,
    )
    learner.compile(
        optimizer=optimizers.build(recipe, schedule),
        jit_compile=use_xla(recipe.xla),
        steps_per_execution=recipe.steps_per_execution,
    )
    learner.optimizer.build(learner.network.trainable_variables)
    return learner


def build_schedule(recipe: Recipe, steps_per_epoch: int) -> SegmentSchedule:
    return SegmentSchedule(recipe.schedule, steps_per_epoch, recipe.schedule_per)


class _Run:
    """One process's part of a run: what has been reached, and the loop that goes on from there."""

    def __init__(
        self,
        recipe: Recipe,
        directory: RunDirectory,
        source: Source,
        data: Split,
        signals: StopOnSignal,
    ):
        self.recipe, self.directory, self.signals = recipe, directory, signals
        self.class_names = source.class_names
        self.pipeline = TrainingPipeline(data.train, recipe.batch_size, recipe.seed)
        self.evaluation = evaluation_batches(data.val)
        self.steps_per_epoch = self.pipeline.steps_per_epoch
        self.total_steps = recipe.steps or recipe.epochs * self.steps_per_epoch
        self.total_epochs = math.ceil(self.total_steps / self.steps_per_epoch)
        self.schedule = build_schedule(recipe, self.steps_per_epoch)
        self.learner = build_learner(recipe, data, len(source.class_names))
        self.store = CheckpointStore(
            directory.checkpoints, recipe.digest, keep=recipe.keep_checkpoints
        )
        self.state = self.learner.state()
        self.step, self.history, self.epoch_training = 0, [], None
        clock = None
        if checkpoint := self.store.restore_newest(self.state):
            self.step = checkpoint.step
            self.history = checkpoint.progress["history"]
            self.epoch_training = checkpoint.progress["epoch_training"]
            clock = checkpoint.progress["clock"]
            self.say(f"resuming after step {self.step} of {self.total_steps}")
        self.clock = Clock(recipe.batch_size, clock)
        self.progress = ProgressLine(self.total_steps, recipe.batch_size, self.total_epochs)

    def train(self) -> dict[str, Any]:
        """Train the epochs that are missing, then export."""
        writer = tf.summary.create_file_writer(str(self.directory.events))
        self.step_log = StepLog(writer)
        examples = self.pipeline.count
        self.say(
            f"{self.directory.path}: {self.recipe.dataset}, {examples} training examples, "
            f"{self.learner.network.count_params():,} parameters, {self.total_steps} steps in "
            f"{self.total_epochs} epochs, {self.recipe.precision}"
        )
        self.write_summary("running")
        if self.history:
            # A kill may have come between the checkpoint and these.
            self.directory.write_metrics(self.history)
            self.draw_curves()
        try:
            while len(self.history) < self.total_epochs:
                self.train_epoch()
                row = self.evaluate_epoch()
                self.record(row, writer)
            if self.recipe.export:
                self.export()
        except Interrupted as interruption:
            self.progress.clear()
            self.save_checkpoint()
            self.write_summary("interrupted")
            self.say(f"{interruption} at step {self.step}; the same command resumes")
            raise
        except Diverged as divergence:
            self.progress.clear()
            self.write_summary("diverged")
            self.say(f"diverged: {divergence}")
            raise Diverged(f"{divergence}; {self._last_checkpoint()}") from None
        finally:
            writer.close()
        summary = self.write_summary("done")
        self.say(f"done: {_result(summary)}")
        return summary

    def train_epoch(self) -> None:
        """Train what is left of the current epoch."""
        epoch = len(self.history)
        end = min((epoch + 1) * self.steps_per_epoch, self.total_steps)
        if self.step >= end:
            return  # stopped during evaluation: this epoch's training is done
        callbacks = [self.clock, self.progress, self.step_log, self.signals]
        self.progress.first_step = self.step_log.first_step = self.step
        if self.step > epoch * self.steps_per_epoch:
            callbacks.insert(0, RestoreMetrics(self.learner.metrics))
        try:
            self.learner.fit(
                self.pipeline.batches(self.step, end),
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
            self.step = int(self.learner.steps)
            # Also when a signal came with the last step: then only the evaluation is left.
            if self.step == end:
                self.epoch_training = _rounded(self.learner.get_metrics_result())

    def evaluate_epoch(self) -> dict[str, Any]:
        """Evaluate after an epoch; return its row of metrics.csv."""
        started = time.perf_counter()
        val = self.evaluate()
        if not math.isfinite(val["loss"]):
            raise Diverged(f"the validation loss is {val['loss']} after step {self.step}")
        row = {
            "epoch": len(self.history) + 1,
            "step": self.step,
            "learning_rate": float(f"{self.schedule.value(self.step - 1):.9g}"),
            "train_loss": self.epoch_training["loss"],
            "train_accuracy": self.epoch_training["accuracy"],
            "val_loss": val["loss"],
            "val_accuracy": val["accuracy"],
        }
        if self.recipe.ema:
            self.learner.swap_ema()
            try:
                averaged = self.evaluate()
            finally:
                self.learner.swap_ema()
            row |= {"ema_val_loss": averaged["loss"], "ema_val_accuracy": averaged["accuracy"]}
        self.clock.book_evaluation(time.perf_counter() - started)
        return row | self.clock.lap()

    def evaluate(self) -> dict[str, float]:
        result = self.learner.evaluate(
            self.evaluation, verbose=0, return_dict=True, callbacks=[self.signals]
        )
        return _rounded(result)

    def record(self, row: dict[str, Any], writer: tf.summary.SummaryWriter) -> None:
        """Make a finished epoch part of the record, the checkpoint first."""
        self.history.append(row)
        self.epoch_training = None
        epoch = row["epoch"]
        if self.has_checkpoint(epoch):
            self.save_checkpoint()
        with writer.as_default(step=self.step):
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    tf.summary.scalar(f"epoch/{name}", value)
        writer.flush()
        self.directory.write_metrics(self.history)
        self.draw_curves()
        self.write_summary("running")
        averaged = f", averaged {row['ema_val_accuracy']:.4f}" if self.recipe.ema else ""
        self.say(
            f"epoch {epoch}/{self.total_epochs}  train {row['train_accuracy']:.4f} "
            f"(loss {row['train_loss']:.4f})  val {row['val_accuracy']:.4f}{averaged} "
            f"(loss {row['val_loss']:.4f})  rate {row['learning_rate']:.3g}  "
            f"{duration(row['train_seconds'])}  {row['images_per_second']:.0f} images/s"
        )

    def has_checkpoint(self, epoch: int) -> bool:
        return epoch % self.recipe.checkpoint_every == 0 or epoch == self.total_epochs

    def save_checkpoint(self) -> None:
        saved = [row for row in self.history if self.has_checkpoint(row["epoch"])]
        best = max(saved, key=lambda row: row["val_accuracy"], default=None)
        self.store.save(
            self.state,
            self.step,
            progress={
                "history": self.history,
                "epoch_training": self.epoch_training,
                "clock": self.clock.state(),
            },
            best_step=best and best["step"],
        )

    def export(self) -> None:
        write_export(
            self.learner.network, self.class_names, self.recipe, self.step, self.directory.export
        )

    def write_summary(self, status: str) -> dict[str, Any]:
        summary = summarize(self.history, status, self.recipe.threshold, self.clock.now())
        self.directory.write_summary(summary)
        return summary

    def draw_curves(self) -> None:
        steps = np.unique(np.linspace(0, self.total_steps - 1, 1000).astype(int))
        rates = np.array([self.schedule.value(int(step)) for step in steps])
        plot_curves(
            self.directory.path / "curves.png",
            self.history,
            (steps / self.steps_per_epoch, rates),
            f"{self.recipe.dataset} · {self.recipe.model} · {self.recipe.optimizer} "
            f"λ={self.recipe.wd:g} · {self.recipe.precision} · seed {self.recipe.seed}",
            self.total_epochs,
        )

    def say(self, line: str) -> None:
        self.directory.log(line)
        print(line, flush=True)

    def _last_checkpoint(self) -> str:
        checkpoints = self.store.all()
        if not checkpoints:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {checkpoints[0].arrays_path}"


def _rounded(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as recorded: float32 has no more than seven digits."""
    return {name: float(f"{float(value):.7g}") for name, value in metrics.items()}


def _result(summary: dict[str, Any]) -> str:
    final, best = summary["final"], summary["best"]
    return (
        f"validation accuracy {final['val_accuracy']:.4f} after epoch {final['epoch']}, best "
        f"{best['val_accuracy']:.4f} at epoch {best['epoch']}"
    )
