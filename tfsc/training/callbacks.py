"""Keras callbacks of a run: signals, the step log, the progress line."""

import math
import shutil
import signal
import sys
import time
from types import FrameType

import keras

from tfsc.errors import Diverged, Interrupted
from tfsc.reporting.events import EventWriter
from tfsc.reporting.step_table import StepTable
from tfsc.reporting.windows import Windows
from tfsc.training.scheduled_values import ScheduledValues


class StopOnSignal(keras.callbacks.Callback):
    """Raises `Interrupted` after the step in which SIGINT, SIGTERM or SIGHUP arrived.

    A context: outside it the signals do what they did before. A second signal does so at once.
    SIGHUP stays ignored where it was, as under nohup.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: int | None = None

    def __enter__(self) -> "StopOnSignal":
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[signal.Signals(number)])

    def check(self) -> None:
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(self, batch, logs=None):
        self.check()

    def on_test_batch_end(self, batch, logs=None):
        self.check()


class StepLog(keras.callbacks.Callback):
    """Records each step's loss and scheduled values, and stops when the loss diverges.

    steps.csv gets every step. TensorBoard gets at most 1000 points a tag, so that it shows all of
    them: mean, least and largest loss of windows of steps, and the scheduled values of each
    window's last step.

    With steps_per_execution = n it sees the last of every n steps, and the epoch's mean loss, which
    is not finite either once any step's loss was not. Both records have that step's loss alone.

    A context: on leaving, all steps are in the table. A run that goes on later goes on in the same
    window: only a loss that diverges ends one early.

    Args:
        events: where to write for TensorBoard.
        table: where to write all steps.
        scheduled: momentum and noise scale of each step.
        total_steps: of the whole run.
        after_step: the step from which the run goes on; the table has those before.
    """

    SECONDS_BETWEEN_WRITES = 10.0

    def __init__(
        self,
        events: EventWriter,
        table: StepTable,
        scheduled: ScheduledValues,
        total_steps: int,
        after_step: int = 0,
    ):
        super().__init__()
        self.events, self.table, self.scheduled = events, table, scheduled
        self.first_step = 0
        self._windows = Windows(total_steps)
        for step, loss in table.losses_from(self._windows.first_of(after_step)):
            self._windows.add(step, {"loss": loss})
        self._windows.add(after_step, {})  # also where the table lacks what was before
        self._steps: list[tuple[int, float, float]] = []
        self._written_at = time.monotonic()

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(self, kind, *_):
        try:
            self.flush()
        except OSError:
            # A checkpoint must not be ahead of the table. What else ended the run matters more.
            if kind is None or issubclass(kind, Interrupted):
                raise

    def on_train_batch_end(self, batch, logs=None):
        step = self.first_step + steps_done(self, batch)
        # The rate is that of the optimizer, in float32.
        loss, rate = float(logs["batch_loss"]), float(logs["learning_rate"])
        self._steps.append((step, loss, rate))
        if point := self._windows.add(step, {"loss": loss}):
            self._show(step, point, rate)
        for name, value in (("loss", loss), ("mean loss of the epoch", float(logs["loss"]))):
            if not math.isfinite(value):
                if point := self._windows.end():
                    self._show(step, point, rate)
                raise Diverged(f"the training {name} is {value}", step, rate)
        if time.monotonic() - self._written_at >= self.SECONDS_BETWEEN_WRITES:
            self.flush()
            self.events.flush()

    def flush(self) -> None:
        """Bring the steps seen so far into the table."""
        steps, self._steps = self._steps, []  # those that do not fit are not tried again
        self.table.append(
            (step, loss, rate, now["momentum"], now["batch_size"], now["noise_scale"])
            for step, loss, rate in steps
            for now in (self.scheduled.columns(step - 1),)
        )
        self._written_at = time.monotonic()

    def _show(self, step: int, point: dict[str, float], rate: float) -> None:
        """Write a window's point for TensorBoard."""
        now = self.scheduled.columns(step - 1)
        values = point | {"momentum": now["momentum"], "noise_scale": now["noise_scale"]}
        values["learning_rate"] = rate
        self.events.scalars(step, {f"step/{name}": value for name, value in values.items()})


class RestoreMetrics(keras.callbacks.Callback):
    """Puts an interrupted epoch's running metrics back after `fit` has reset them."""

    def __init__(self, metrics: list[keras.metrics.Metric]):
        super().__init__()
        self._held = [(v, v.numpy()) for metric in metrics for v in metric.variables]

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self._held:
            variable.assign(value)


class ProgressLine(keras.callbacks.Callback):
    """On a terminal, one line that moves: epoch, bar, loss, accuracy, speed, time left.

    Args:
        total_steps: of the whole run.
        epochs: of the whole run.

    Attributes:
        batch_size: images in one step, to be set before each `fit`.
    """

    _WIDTH = 24

    def __init__(self, total_steps: int, epochs: int):
        super().__init__()
        self.total_steps, self.epochs = total_steps, epochs
        self.batch_size = 0
        self.first_step = 0
        self.shown = sys.stderr.isatty()
        self._last_drawn = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._started, self._first_batch = epoch, None, 0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self._started is None:  # the first call also compiles: it says nothing about speed
            self._started, self._first_batch = now, batch
            return
        if not self.shown or now - self._last_drawn < 0.2:
            return
        self._last_drawn = now
        seconds_a_step = (now - self._started) / (batch - self._first_batch)
        here = steps_done(self, batch)
        step = self.first_step + here
        done = int(self._WIDTH * here / self.params["steps"])
        bar = "█" * done + "·" * (self._WIDTH - done)
        self._draw(
            f"epoch {self._epoch + 1}/{self.epochs} {bar} {here}/{self.params['steps']}  "
            f"loss {float(logs['loss']):.4f}  accuracy {float(logs['accuracy']):.4f}  "
            f"{self.batch_size / seconds_a_step:.0f} images/s  "
            f"{duration((self.total_steps - step) * seconds_a_step)} left"
        )

    def on_epoch_end(self, epoch, logs=None):
        self.clear()

    def clear(self) -> None:
        if self.shown:
            self._draw("")

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be redrawn
        try:
            sys.stderr.write(f"\r\x1b[2K{text[:width]}")
            sys.stderr.flush()
        except OSError:  # the terminal is gone: no reason to end the run
            self.shown = False


def steps_done(callback: keras.callbacks.Callback, batch: int) -> int:
    """Steps that this call of `fit` has finished at the end of `batch` (counted from 0).

    Keras counts whole executions: the last one of an epoch may hold fewer steps.
    """
    return min(batch + 1, callback.params["steps"])


def duration(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
