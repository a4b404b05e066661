"""`Clock`: how long a run took, without compilation where speed is meant."""

import time

import keras

from tfsc.training.callbacks import steps_done


class Clock(keras.callbacks.Callback):
    """Measures training time and speed; its totals live in the checkpoint and survive restarts.

    `timed_*` leave out each call that traces and compiles the step: the first one in a process, and
    the next after `compile_again`. Evaluation is measured apart. Idea: big_vision's Chrono.

    Args:
        state: `state()` of the run's last checkpoint.

    Attributes:
        batch_size: images in one step, to be set before each `fit`.
    """

    def __init__(self, state: dict[str, dict[str, float]] | None = None):
        super().__init__()
        self.batch_size = 0
        self.totals = dict.fromkeys(
            (
                "train_seconds",
                "timed_seconds",
                "timed_images",
                "evaluation_seconds",
                "total_seconds",
            ),
            0.0,
        )
        self._epoch_before = dict(self.totals)
        if state:
            self.totals, self._epoch_before = dict(state["totals"]), dict(state["epoch_before"])
        self._process_started = time.perf_counter()
        self._total_before = self.totals["total_seconds"]
        self._compiled = False

    def on_epoch_begin(self, epoch, logs=None):
        self._fit_started = self._timed_started = time.perf_counter()
        self._steps = self._untimed_steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps = steps_done(self, batch)
        if not self._compiled:
            self._compiled = True
            self._untimed_steps = self._steps
            self._timed_started = time.perf_counter()

    def compile_again(self) -> None:
        """The next call will trace and compile the step anew."""
        self._compiled = False

    def stop(self) -> None:
        """Book what was trained since the epoch (or its rest) began."""
        now = time.perf_counter()
        self.totals["train_seconds"] += now - self._fit_started
        if self._steps > self._untimed_steps:
            self.totals["timed_seconds"] += now - self._timed_started
            steps = self._steps - self._untimed_steps
            self.totals["timed_images"] += steps * self.batch_size

    def on_epoch_end(self, epoch, logs=None):
        self.stop()

    def book_evaluation(self, seconds: float) -> None:
        self.totals["evaluation_seconds"] += seconds

    def now(self) -> dict[str, float]:
        """Totals up to this moment."""
        elapsed = time.perf_counter() - self._process_started
        return {**self.totals, "total_seconds": self._total_before + elapsed}

    def state(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps of the clock."""
        return {"totals": self.now(), "epoch_before": self._epoch_before}

    def lap(self) -> dict[str, float | None]:
        """Columns for the epoch that ends here; the next one starts.

        images_per_second is None if every call of the epoch compiled.
        """
        passed = {name: self.totals[name] - self._epoch_before[name] for name in self.totals}
        self._epoch_before = dict(self.totals)
        timed = passed["timed_seconds"]
        return {
            "train_seconds": round(passed["train_seconds"], 3),
            "evaluation_seconds": round(passed["evaluation_seconds"], 3),
            "images_per_second": round(passed["timed_images"] / timed, 1) if timed else None,
        }
