"""What TensorBoard reads of a run."""

import resource

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tfsc.reporting.events import EventWriter


def _read(directory):
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [
            (event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


def test_scalars_read_back_by_tag(tmp_path):
    with EventWriter(tmp_path / "events") as events:
        events.scalars(1, {"step/loss": 2.5, "step/learning_rate": 0.125})
        events.scalars(2, {"step/loss": 1.5})
    assert _read(tmp_path / "events") == {
        "step/loss": [(1, 2.5), (2, 1.5)],
        "step/learning_rate": [(1, 0.125)],
    }


def test_steps_that_a_killed_process_wrote_ahead_of_its_checkpoint_show_once(tmp_path):
    first = EventWriter(tmp_path)
    for step in (1, 2, 3, 4):
        first.scalars(step, {"step/loss": float(step)})
    first.flush()  # and then kill -9
    with EventWriter(tmp_path, after_step=2) as events:
        for step in (3, 4, 5):
            events.scalars(step, {"step/loss": float(step)})
    assert _read(tmp_path)["step/loss"] == [(step, float(step)) for step in (1, 2, 3, 4, 5)]
    first.close()


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_a_record_that_a_kill_cut_off_goes(tmp_path, lost):
    with EventWriter(tmp_path) as first:
        for step in (1, 2, 3):
            first.scalars(step, {"step/loss": float(step)})
    first.path.write_bytes(first.path.read_bytes()[:-lost])
    with EventWriter(tmp_path, after_step=2) as events:
        events.scalars(3, {"step/loss": 3.0})
    assert _read(tmp_path)["step/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_run_that_starts_again_from_its_beginning_shows_once(tmp_path):
    for _ in range(2):
        with EventWriter(tmp_path) as events:
            events.scalars(1, {"step/loss": 1.0})
    assert _read(tmp_path)["step/loss"] == [(1, 1.0)]


def test_a_file_that_cannot_grow_is_named(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    events = EventWriter(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            for step in range(1000):
                events.scalars(step, {"step/loss": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(events.path)
    assert caught.value.strerror == "File too large"


def test_what_ended_the_run_is_not_hidden_by_the_last_buffer(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(ZeroDivisionError), EventWriter(tmp_path) as events:
            events.scalars(1, {"step/loss": 1.0})
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
            raise ZeroDivisionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
