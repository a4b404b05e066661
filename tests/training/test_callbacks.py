"""Callbacks and clock of a run, driven as Keras drives them."""

import io
import os
import signal

import keras
import numpy as np
import pytest

from tfsc.data.batch_plan import BatchPlan
from tfsc.errors import Diverged, Interrupted
from tfsc.recipe import Recipe
from tfsc.reporting.events import EventWriter
from tfsc.reporting.step_table import StepTable
from tfsc.training import callbacks, clock
from tfsc.training.scheduled_values import ScheduledValues

SCHEDULED = ScheduledValues(Recipe(batch_size=10), BatchPlan(100, ((0, 10),)))


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _drive(callback, batches, steps, logs=None, epoch=0):
    callback.set_params({"steps": steps})
    callback.on_epoch_begin(epoch)
    for batch in batches:
        callback.on_train_batch_end(batch, logs or {})
    callback.on_epoch_end(epoch)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (7325, "2:02:05")],
)
def test_duration(seconds, text):
    assert callbacks.duration(seconds) == text


def test_the_last_execution_of_an_epoch_may_be_short():
    callback = keras.callbacks.Callback()
    callback.set_params({"steps": 5})
    # Keras reports executions of three as 2 and 5 although only five steps ran.
    assert [callbacks.steps_done(callback, batch) for batch in (2, 5)] == [3, 5]


def test_progress_shows_the_time_left_on_a_terminal(monkeypatch):
    screen = _Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    times = iter([10.0, 11.0, 12.0])  # one second a step after the first, which compiles
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(times))
    line = callbacks.ProgressLine(total_steps=103, epochs=25)
    line.batch_size = 64
    _drive(line, range(3), steps=4, logs={"loss": 0.5, "accuracy": 0.75}, epoch=6)
    frames = screen.getvalue().split("\r\x1b[2K")
    assert "epoch 7/25" in frames[2] and "3/4" in frames[2]
    assert "loss 0.5000  accuracy 0.7500  64 images/s  1:40 left" in frames[2]
    assert frames[-1] == ""


def test_progress_fits_the_terminal(monkeypatch):
    screen = _Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "40")
    line = callbacks.ProgressLine(total_steps=1, epochs=1)
    line._draw("x" * 100)
    assert screen.getvalue() == "\r\x1b[2K" + "x" * 39


def test_progress_ends_with_its_terminal(monkeypatch):
    class Gone(_Terminal):
        def write(self, text):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("sys.stderr", Gone())
    line = callbacks.ProgressLine(total_steps=4, epochs=1)
    _drive(line, range(4), steps=4, logs={"loss": 0.5, "accuracy": 0.75})
    line.clear()
    assert not line.shown


def test_progress_is_silent_elsewhere(monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    line = callbacks.ProgressLine(total_steps=4, epochs=1)
    _drive(line, range(4), steps=4, logs={"loss": 0.5, "accuracy": 0.75})
    assert output.getvalue() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step(number):
    before = signal.getsignal(number)
    with callbacks.StopOnSignal() as stop:
        stop.on_train_batch_end(0)  # nothing has arrived
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            stop.on_train_batch_end(1)
        assert caught.value.exit_code == 128 + number
        with pytest.raises(Interrupted):
            stop.on_test_batch_end(0)
        # A second one is not held back.
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_a_hangup_stops_the_run_unless_it_is_ignored():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
        with callbacks.StopOnSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.on_train_batch_end(0)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with callbacks.StopOnSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted) as caught:
                stop.on_train_batch_end(0)
        assert caught.value.exit_code == 129
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops_with_step_and_rate(tmp_path, value):
    with EventWriter(tmp_path) as events:
        log = callbacks.StepLog(events, StepTable(tmp_path / "steps.csv"), SCHEDULED, 100)
        log.first_step = 40
        log.set_params({"steps": 10})
        log.on_train_batch_end(0, {"batch_loss": 1.0, "loss": 1.0, "learning_rate": 0.1})
        with pytest.raises(Diverged) as caught:
            log.on_train_batch_end(1, {"batch_loss": value, "loss": value, "learning_rate": 0.1})
    assert str(caught.value) == f"the training loss is {value} at step 42 (learning rate 0.1)"
    assert (caught.value.step, caught.value.learning_rate) == (42, 0.1)


def test_a_bad_loss_inside_an_execution_of_several_steps_stops_too(tmp_path):
    # The last of the steps may be finite again; the epoch's mean is not.
    with EventWriter(tmp_path) as events:
        log = callbacks.StepLog(events, StepTable(tmp_path / "steps.csv"), SCHEDULED, 100)
        log.set_params({"steps": 8})
        with pytest.raises(Diverged, match="mean loss of the epoch is inf at step 4"):
            log.on_train_batch_end(3, {"batch_loss": 1.0, "loss": np.inf, "learning_rate": 0.1})


def test_metrics_of_an_interrupted_epoch_come_back_after_fits_reset():
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.0, 6.0])
    restore = callbacks.RestoreMetrics([metric])
    metric.reset_state()
    restore.on_epoch_begin(0)
    metric.update_state([3.0])
    assert float(metric.result()) == 3.0


def test_the_clock_leaves_out_the_first_execution_and_survives_a_restart(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])

    def epoch(timer, times):
        timer.set_params({"steps": len(times)})
        timer.on_epoch_begin(0)
        for batch, seconds in enumerate(times):
            now[0] += seconds
            timer.on_train_batch_end(batch)
        timer.on_epoch_end(0)

    timer = clock.Clock()
    timer.batch_size = 10
    epoch(timer, [60.0, 1.0, 1.0])  # a minute of compilation
    timer.book_evaluation(5.0)
    lap = timer.lap()
    assert lap == {"train_seconds": 62.0, "evaluation_seconds": 5.0, "images_per_second": 10.0}
    epoch(timer, [2.0, 2.0])
    assert timer.lap()["images_per_second"] == 5.0
    timer.compile_again()
    epoch(timer, [20.0])  # nothing but compilation
    assert timer.lap()["images_per_second"] is None
    epoch(timer, [1.0])  # and then the process ends inside an epoch

    again = clock.Clock(timer.state())
    again.batch_size = 10
    epoch(again, [30.0, 1.0])
    assert again.lap()["train_seconds"] == 32.0  # both processes' part
    totals = again.now()
    assert totals["timed_images"] == 20 + 20 + 10 + 10
    assert totals["timed_seconds"] == 2.0 + 4.0 + 1.0 + 1.0
    assert totals["train_seconds"] == 62.0 + 4.0 + 20.0 + 1.0 + 31.0
    assert totals["total_seconds"] == pytest.approx(118.0)
