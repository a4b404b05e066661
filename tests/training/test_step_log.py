"""What a run's steps leave: all of them in steps.csv, and what TensorBoard serves of its events."""

import math

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing import data_ingester
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.scalar.scalars_plugin import _DEFAULT_DOWNSAMPLING

from tfsc.data.batch_plan import BatchPlan
from tfsc.errors import Diverged, Interrupted
from tfsc.recipe import Recipe
from tfsc.reporting.events import EventWriter
from tfsc.reporting.step_table import StepTable
from tfsc.training.callbacks import StepLog
from tfsc.training.scheduled_values import ScheduledValues

_SCHEDULED = ScheduledValues(
    Recipe(batch_size=10, schedule="[1e-3,0]lin[1e-4,25]"), BatchPlan(100, ((0, 10),))
)
_STEPS = 19_525  # 25 epochs of 781
_LOSSES = np.random.default_rng(0).uniform(0.5, 1.5, _STEPS).astype(np.float32)
_SPIKES = [0, 7_777, _STEPS - 1]  # one step each
_LOSSES[_SPIKES] = 1000.0
_FEW = 3_000  # steps of a shorter run, whose windows are of 3


def _take(log, steps, losses=_LOSSES, execution=1):
    """Drive the callback as `fit` does for some steps (counted from 0)."""
    log.first_step = steps.start
    log.set_params({"steps": len(steps)})
    for batch in range(execution - 1, len(steps) + execution - 1, execution):
        loss = losses[min(steps.start + batch, steps.stop - 1)]
        log.on_train_batch_end(batch, {"batch_loss": loss, "loss": loss, "learning_rate": 1e-3})


def _train(folder, steps, losses=_LOSSES, total=_STEPS, execution=1):
    """Record some steps, in epochs of 781, into a run's files."""
    folder.mkdir(exist_ok=True)
    with (
        EventWriter(folder / "events", after_step=steps.start) as events,
        StepLog(
            events,
            StepTable(folder / "steps.csv", after_step=steps.start),
            _SCHEDULED,
            total,
            after_step=steps.start,
        ) as log,
    ):
        for first in range(steps.start // 781 * 781, steps.stop, 781):
            part = range(max(first, steps.start), min(first + 781, steps.stop))
            _take(log, part, losses, execution)
            log.flush()
            events.scalars(part.stop, {"epoch/val_loss": 1.0})


def _served(folder):
    """Points by tag, as TensorBoard's HTTP interface gives them out with its own settings."""
    multiplexer = EventMultiplexer(
        size_guidance=data_ingester.DEFAULT_SIZE_GUIDANCE,
        tensor_size_guidance=data_ingester.DEFAULT_TENSOR_SIZE_GUIDANCE,
    )
    multiplexer.AddRun(str(folder / "events"), "run")
    multiplexer.Reload()
    served = MultiplexerDataProvider(multiplexer, str(folder)).read_scalars(
        RequestContext(), experiment_id="", plugin_name="scalars", downsample=_DEFAULT_DOWNSAMPLING
    )
    return {tag: [(p.step, p.value) for p in points] for tag, points in served["run"].items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    _train(folder, range(_STEPS))
    return folder


def test_tensorboard_serves_every_window_and_steps_csv_has_every_step(whole):
    served = _served(whole)
    windows = [_LOSSES[first : first + 20].astype(float) for first in range(0, _STEPS, 20)]
    ends = [min(first + 20, _STEPS) for first in range(0, _STEPS, 20)]
    assert set(served) == {
        "step/loss", "step/loss_min", "step/loss_max", "step/learning_rate", "step/momentum",
        "step/noise_scale", "epoch/val_loss",
    }  # fmt: skip
    for tag, of in (("step/loss", np.mean), ("step/loss_min", np.min), ("step/loss_max", np.max)):
        assert [step for step, _ in served[tag]] == ends and len(ends) <= 1000
        values = [value for _, value in served[tag]]
        np.testing.assert_allclose(values, [of(window) for window in windows], rtol=1e-6)
    # No spike of one step is missing.
    spikes = [step for step, value in served["step/loss_max"] if value == 1000.0]
    assert spikes == [20, 7_780, _STEPS]
    table = pd.read_csv(whole / "steps.csv")
    assert table["step"].tolist() == list(range(1, _STEPS + 1))
    np.testing.assert_array_equal(table["loss"].astype(np.float32), _LOSSES)
    assert np.flatnonzero(table["loss"] == 1000.0).tolist() == _SPIKES
    assert table["noise_scale"][9] == _SCHEDULED.columns(9)["noise_scale"]


def _kill(folder, steps):
    """Record steps that are behind the checkpoint from which a run then goes on."""
    events = EventWriter(folder / "events", after_step=steps.start)
    table = StepTable(folder / "steps.csv", after_step=steps.start)
    log = StepLog(events, table, _SCHEDULED, _FEW, after_step=steps.start)
    _take(log, steps)
    log.flush()
    events.flush()
    with (folder / "steps.csv").open("a") as file:
        file.write("9999,0.")


def test_a_run_that_was_killed_and_stopped_again_and_again_leaves_the_same_record(tmp_path):
    _train(tmp_path / "whole", range(_FEW), total=_FEW)
    _train(tmp_path, range(781), total=_FEW)  # 260 windows and a step
    _kill(tmp_path, range(781, 900))
    for part in (range(781, 1500), range(1500, 1501), range(1501, 1503), range(1503, _FEW)):
        _train(tmp_path, part, total=_FEW)  # each stopped and started again
    whole = tmp_path / "whole"
    assert (tmp_path / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()
    found, expected = _served(tmp_path), _served(whole)
    del found["epoch/val_loss"], expected["epoch/val_loss"]  # here one a part
    assert found == expected
    assert [step for step, _ in found["step/loss"]] == list(range(3, _FEW + 1, 3))


def test_a_run_that_diverges_leaves_its_last_steps(tmp_path):
    losses = _LOSSES.copy()
    losses[49:52] = [30.0, 900.0, np.nan]
    with pytest.raises(Diverged, match="the training loss is nan at step 52"):
        _train(tmp_path, range(781), losses)
    table = pd.read_csv(tmp_path / "steps.csv")
    assert table["step"].tolist() == list(range(1, 53))
    assert table["loss"].tolist()[-3:-1] == [30.0, 900.0] and math.isnan(table["loss"][51])
    served = _served(tmp_path)
    assert served["step/loss_max"][-1] == (52, 900.0) and math.isnan(served["step/loss"][-1][1])
    _train(tmp_path, range(781))  # the same command again: the end of its window is cut off
    assert [step for step, _ in _served(tmp_path)["step/loss"]] == list(range(20, 781, 20))


def test_an_execution_of_several_steps_is_recorded_by_its_last(tmp_path):
    _train(tmp_path, range(_FEW), total=_FEW, execution=50)
    table = pd.read_csv(tmp_path / "steps.csv")
    assert table["step"].tolist()[:17] == [*range(50, 800, 50), 781, 831]
    np.testing.assert_array_equal(table["loss"].astype(np.float32), _LOSSES[table["step"] - 1])
    assert [step for step, _ in _served(tmp_path)["step/loss_max"]] == table["step"].tolist()


def test_a_run_without_its_earlier_steps_goes_on(tmp_path):
    _train(tmp_path, range(2000, _FEW), total=_FEW)  # of an earlier version, or steps.csv is lost
    assert pd.read_csv(tmp_path / "steps.csv")["step"].tolist() == list(range(2001, _FEW + 1))
    assert [step for step, _ in _served(tmp_path)["step/loss"]][:2] == [2001, 2004]


def test_steps_are_written_while_a_long_epoch_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(StepLog, "SECONDS_BETWEEN_WRITES", 0.0)
    with EventWriter(tmp_path / "events") as events:
        log = StepLog(events, StepTable(tmp_path / "steps.csv"), _SCHEDULED, 100)
        _take(log, range(3))
        assert pd.read_csv(tmp_path / "steps.csv")["step"].tolist() == [1, 2, 3]
        assert [step for step, _ in _served(tmp_path)["step/loss"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ending", "shown"), [(Interrupted(15), OSError), (ValueError(), ValueError)]
)
def test_a_checkpoint_is_not_ahead_of_a_table_that_cannot_grow(tmp_path, ending, shown):
    table = StepTable(tmp_path / "steps.csv")

    def full(rows):
        assert [row[0] for row in rows] == [1]
        raise OSError(28, "No space left on device", str(table.path))

    table.append = full
    with (
        pytest.raises(shown),
        EventWriter(tmp_path / "events") as events,
        StepLog(events, table, _SCHEDULED, 100) as log,
    ):
        _take(log, range(1))
        raise ending
