"""A disk or quota that runs out at a chosen file, by the kernel's own limit on file sizes."""

import json
import re
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import assert_same_run

from tfsc.errors import StorageError
from tfsc.recipe import Recipe
from tfsc.reporting.events import EventWriter
from tfsc.reporting.step_table import StepTable
from tfsc.runs.run_directory import RunDirectory
from tfsc.training import run as run_module
from tfsc.training.checkpoint import CheckpointStore


def _recipe(run_dir):
    return Recipe(
        dataset="digits",
        model="airbench([4], activation=relu)",
        input="center whiten(50)",
        train_examples=100,
        batch_size=25,
        epochs=2,
        schedule="[1e-3,0]lin[1e-4,2]",
        augment="none",  # augmentation's graph takes a quarter of such a run's time
        run_dir=str(run_dir),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with room for everything."""
    path = tmp_path_factory.mktemp("storage") / "whole"
    run_module.run(_recipe(path))
    return path


def _drawn(path, *_):
    """In place of `plot_curves`, which takes as long as a quarter of one of these runs."""
    path.write_bytes(b"a picture")


@contextmanager
def _no_room():
    """No file of this process may grow beyond 64 bytes: a write fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# What has no room in each start of one run, in which call, and how many epochs are then safe. The
# first one ends epoch 1, those that follow train the second until there is a checkpoint of it.
_FAULTS = (
    (EventWriter, "flush", 3, "events/events.out.tfevents.", 1),
    (StepTable, "append", 1, "steps.csv", 1),
    (CheckpointStore, "save", 1, "checkpoints/step-00000008-", 1),
    (RunDirectory, "log", 3, "train.log", 2),
    (RunDirectory, "write_metrics", 1, "metrics.csv", 2),
    (RunDirectory, "write_summary", 1, "summary.json", 2),
    (run_module, "plot_curves", 1, "curves.png", 2),
    (run_module, "write_export", 1, "export", 2),
)


def test_a_full_disk_stops_the_run_with_the_path_and_loses_no_epoch(
    whole, tmp_path, monkeypatch, fault
):
    recipe = _recipe(tmp_path / "run")
    for owner, method, call, path, done in _FAULTS:
        message = _stopped_by_a_full_disk(recipe, tmp_path, owner, method, call)
        assert message.startswith(f"{tmp_path}/run/{path}")
        assert "File too large" in message or method == "write_export"
        safe = f"{tmp_path}/run/checkpoints/step-{4 * done:08d}-"
        assert f"the last good checkpoint is {safe}" in message
        assert len(message.splitlines()) == 1
        summary = json.loads((tmp_path / "run/summary.json").read_text())
        assert summary["status"] == "interrupted"
        assert not (tmp_path / "run/export").exists()
        assert not [
            p for p in Path(tmp_path / "run").rglob("*") if "tmp" in p.name or "partial" in p.name
        ]
        # These names are others each time.
        shown = re.sub(r"(tfevents\.|cannot be written: )[^:;]*", r"\1…", message)
        fault("storage", f"quota reached (RLIMIT_FSIZE) in {path.rstrip('-.')}", f"stops: {shown}")
    monkeypatch.setattr(run_module, "plot_curves", _drawn)
    run_module.run(recipe)
    assert_same_run(whole, tmp_path / "run")
    log = (tmp_path / "run/train.log").read_text()
    resumed = [int(step) for step in re.findall(r"resuming after step (\d+) of 8", log)]
    assert resumed == [4 * done for *_, done in _FAULTS]


def _stopped_by_a_full_disk(recipe, folder, owner, method, call) -> str:
    """What a start of the run says that had no room in this call of the method."""
    real, calls = getattr(owner, method), []

    def limited(*arguments, **keywords):
        calls.append(method)
        if len(calls) != call:
            return real(*arguments, **keywords)
        with _no_room():
            return real(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "plot_curves", _drawn)
        patch.setattr(owner, method, limited)
        patch.setattr(run_module, "SECONDS_BETWEEN_DRAWINGS", 0)
        with pytest.raises(StorageError) as caught:
            run_module.run(recipe)
    return str(caught.value)
