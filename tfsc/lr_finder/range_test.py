"""The learning-rate range test: train while the rate grows, then put everything back."""

import contextlib
import math
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsc.schedules.range_test import RangeTest


@dataclass
class Sweep:
    """What a range test saw.

    Attributes:
        rates: learning rate of each step taken.
        losses: each step's training loss, before the update by that rate.
        smoothed: their average, see `Smoothing`.
        measured: pairs of a step (counted from 0) and what `measure` returned after it.
        stopped: why it ended early; empty if it did not.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    measured: list[tuple[int, Any]] = field(default_factory=list)
    stopped: str = ""


class Smoothing:
    """An exponential average that starts without bias.

        avg ← β·avg + (1 − β)·loss,   smoothed = avg/(1 − βᵏ) after k losses

    Args:
        beta: 0 ≤ β < 1; 0 gives the losses themselves.

    Source: Gugger, "How do you find a good learning rate"; seed 004 has β = 0.98.
    """

    def __init__(self, beta: float):
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be at least 0 and below 1. Received: {beta}")
        self.beta = beta
        self._average, self._count = 0.0, 0

    def __call__(self, loss: float) -> float:
        self._count += 1
        self._average = self.beta * self._average + (1 - self.beta) * loss
        return self._average / (1 - self.beta**self._count)


def range_test(
    model: keras.Model,
    batches: tf.data.Dataset,
    schedule: RangeTest,
    smoothing: float = 0.98,
    stop_at: float = 4.0,
    measure: Callable[[], Any] | None = None,
    measure_every: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Sweep:
    """Train `model` while its learning rate grows, and leave it as it was, bit for bit.

    Ends early when a loss is not finite, or, from the second step on, when the smoothed loss
    exceeds stop_at times the least one so far. All variables of model and optimizer are restored,
    and the optimizer's learning rate.

    Example:
        >>> sweep = range_test(model, dataset.repeat(), RangeTest(1e-6, 10.0, num_steps=100))
        >>> plt.semilogx(sweep.rates, sweep.smoothed)

    Args:
        model: a compiled and built model whose steps_per_execution is 1.
        batches: pairs (x, y), or (x, y, sample_weight), or what the model's own `train_step` takes;
            at least as many as the schedule has steps: `dataset.batch(64).repeat()` is endless. A
            `keras.utils.PyDataset` or a generator of batches will do, too.
        schedule: the rates; its `first_step` is replaced by the optimizer's count.
        smoothing: β of `Smoothing`.
        stop_at: 0: only a loss that is not finite ends the test.
        measure: called after every `measure_every` steps; may call `model.evaluate`.
        callbacks: further callbacks for `fit`.

    Raises:
        ValueError: if the model cannot be tested so, or an argument is out of range.

    Source: Smith, "Cyclical learning rates for training neural networks", section 3.3; Gugger,
        "How do you find a good learning rate"; seed 004.
    """
    if getattr(model, "optimizer", None) is None or not model.built:
        raise ValueError(f"model must be compiled and built. Received: {model.name}")
    if model.steps_per_execution != 1:
        raise ValueError(
            "model must be compiled with steps_per_execution=1, for each step to have its rate. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    if stop_at and not stop_at > 1:
        raise ValueError(f"stop_at must be 0 or above 1. Received: {stop_at}")
    if measure_every < 1:
        raise ValueError(f"measure_every must be at least 1. Received: {measure_every}")
    _check_batches(model, batches, schedule.num_steps)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    schedule = RangeTest(
        **{**schedule.get_config(), "first_step": int(model.optimizer.iterations.numpy())}
    )
    sweep = Sweep()
    recorder = _Recorder(sweep, schedule, Smoothing(smoothing), stop_at, measure, measure_every)
    with _restored(model), _driven(model, schedule) as assign:
        recorder.assign = assign
        model.fit(
            batches,
            steps_per_epoch=schedule.num_steps,
            callbacks=[recorder, *callbacks],
            shuffle=False,
            verbose=0,
        )
    # A callback of the caller's may have stopped it, too.
    if len(sweep.rates) < schedule.num_steps and not model.stop_training:
        raise _too_few(schedule.num_steps, len(sweep.rates))
    return sweep


def _check_batches(model: keras.Model, batches: Any, steps: int) -> None:
    """Refuse what `fit` would answer with an error that does not name it, or too little."""
    kinds = (
        tf.data.Dataset,
        tf.distribute.DistributedDataset,
        keras.utils.PyDataset,
        types.GeneratorType,
    )
    if not isinstance(batches, kinds):
        kind = type(batches).__name__
        if isinstance(batches, (tuple, list)):
            kind += f" of {', '.join(type(part).__name__ for part in batches)}"
        raise ValueError(
            "batches must be a tf.data.Dataset (or PyDataset or generator) of batches (x, y) or "
            "(x, y, sample_weight); of arrays, tf.data.Dataset.from_tensor_slices((x, y))"
            f".batch(64).repeat() makes one. Received: {kind}"
        )
    if not isinstance(batches, tf.data.Dataset):
        return
    elements = batches.element_spec
    # A model with a step of its own, or without a loss of targets, may take something else.
    with_targets = type(model).train_step is keras.Model.train_step and model.loss is not None
    if with_targets and not (isinstance(elements, tuple) and len(elements) in (2, 3)):
        raise ValueError(
            "batches must hold pairs (x, y) or (x, y, sample_weight): the model is compiled with a "
            f"loss. Received elements: {elements}"
        )
    count = int(batches.cardinality())  # negative: endless, or not known
    if 0 <= count < steps:
        raise _too_few(steps, count)


def _too_few(steps: int, count: int) -> ValueError:
    return ValueError(
        f"batches must be at least the schedule's {steps}; repeat() makes a dataset endless. "
        f"Received: {count}"
    )


class _Recorder(keras.callbacks.Callback):
    """Fills a `Sweep` and stops the test."""

    def __init__(
        self,
        sweep: Sweep,
        schedule: RangeTest,
        smoothing: Smoothing,
        stop_at: float,
        measure: Callable[[], Any] | None,
        measure_every: int,
    ):
        super().__init__()
        self.sweep, self.schedule, self.smoothing = sweep, schedule, smoothing
        self.stop_at, self.measure, self.measure_every = stop_at, measure, measure_every
        self.assign: Callable[[float], None] = lambda rate: None
        self._least = math.inf

    def on_train_batch_begin(self, batch, logs=None):
        # Keras reports a running mean: after a reset it is this batch's loss.
        self.model.reset_metrics()
        self.assign(self._rate(batch))

    def on_train_batch_end(self, batch, logs=None):
        sweep = self.sweep
        loss = float(logs["loss"])
        smoothed = self.smoothing(loss)
        sweep.rates.append(self._rate(batch))
        sweep.losses.append(loss)
        sweep.smoothed.append(smoothed)
        self._least = min(self._least, smoothed)
        if not math.isfinite(smoothed):
            self._stop(f"the loss is {loss}")
        elif self.stop_at and batch > 0 and smoothed > self.stop_at * self._least:
            self._stop(f"the smoothed loss exceeds {self.stop_at:g} × its least, {self._least:.4g}")
        elif self.measure is not None and (batch + 1) % self.measure_every == 0:
            sweep.measured.append((batch, self.measure()))

    def _rate(self, batch: int) -> float:
        return self.schedule.value(self.schedule.first_step + batch)

    def _stop(self, why: str) -> None:
        self.sweep.stopped = why
        self.model.stop_training = True


@contextlib.contextmanager
def _restored(model: keras.Model) -> Iterator[None]:
    """Gives every variable of a model and its optimizer the value it had."""
    everything = [*model.variables, *model.optimizer.variables]
    everything += [v for metric in model.metrics for v in metric.variables]
    variables = {id(variable): variable for variable in everything}.values()
    held = [(variable, np.array(variable.numpy())) for variable in variables]
    try:
        yield
    finally:
        for variable, value in held:
            variable.assign(value)


@contextlib.contextmanager
def _driven(model: keras.Model, schedule: RangeTest) -> Iterator[Callable[[float], None]]:
    """Puts the schedule in the place of the optimizer's own, or lets each step assign its rate."""
    compiled = model.train_function
    scheduled: list[keras.optimizers.Optimizer] = []
    assigned: list[keras.optimizers.Optimizer] = []
    for optimizer in _with_rates(model.optimizer):
        constant = isinstance(optimizer.learning_rate, keras.Variable)
        (assigned if constant else scheduled).append(optimizer)
    # Only the attribute holds a schedule; the property is its value at this step.
    own = [optimizer._learning_rate for optimizer in scheduled]

    def assign(rate: float) -> None:
        for optimizer in assigned:
            optimizer.learning_rate = rate

    if scheduled:
        model.train_function = None
    for optimizer in scheduled:
        optimizer.learning_rate = schedule
    try:
        yield assign
    finally:
        model.train_function = compiled
        for optimizer, before in zip(scheduled, own, strict=True):
            optimizer.learning_rate = before


def _with_rates(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """Those with a learning rate of their own: inside float16's loss scaling, Lookahead, Muon."""
    for name in ("inner_optimizer", "inner"):
        if (inner := getattr(optimizer, name, None)) is not None:
            return _with_rates(inner)
    rest = getattr(optimizer, "rest", None)
    return [optimizer] + ([] if rest is None else _with_rates(rest))
