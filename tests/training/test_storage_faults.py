"""A disk or quota that runs out at a chosen file, by the kernel's own limit on file sizes."""

import functools
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


def _recipe(run_dir, export):
    return Recipe(
        export=export,
        dataset="digits",
        model="airbench",
        widths=(4,),
        whiten_images=50,
        train_examples=100,
        batch_size=25,
        epochs=2,
        schedule="[1e-3,0]lin[1e-4,2]",
        shift=0.0,
        flip=False,  # augmentation's graph takes a quarter of such a run's time
        run_dir=str(run_dir),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """`whole(export)`: a run with room for everything."""

    @functools.cache
    def made(export):
        path = tmp_path_factory.mktemp("storage") / "whole"
        run_module.run(_recipe(path, export))
        return path

    return made


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


@pytest.mark.parametrize(
    ("owner", "method", "call", "path", "done"),
    [
        (CheckpointStore, "save", 2, "checkpoints/step-00000008-", 1),
        (RunDirectory, "write_metrics", 2, "metrics.csv", 2),
        # The first summary of a run says that it is running, the next two end its epochs.
        (RunDirectory, "write_summary", 3, "summary.json", 2),
        (StepTable, "append", 2, "steps.csv", 1),
        (EventWriter, "flush", 3, "events/events.out.tfevents.", 1),
        (run_module, "plot_curves", 2, "curves.png", 2),
        (RunDirectory, "log", 3, "train.log", 2),
        (run_module, "write_export", 1, "export", 2),
    ],
    ids=["checkpoint", "metrics", "summary", "steps", "events", "curves", "log", "export"],
)
def test_a_full_disk_stops_the_run_with_the_path_and_loses_no_epoch(
    whole, tmp_path, monkeypatch, owner, method, call, path, done, fault
):
    if method != "plot_curves":
        monkeypatch.setattr(run_module, "plot_curves", _drawn)
    real, calls = getattr(owner, method), []

    def limited(*arguments, **keywords):
        calls.append(method)
        if len(calls) != call:
            return real(*arguments, **keywords)
        with _no_room():
            return real(*arguments, **keywords)

    export = method == "write_export"
    recipe = _recipe(tmp_path / "run", export)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, limited)
        patch.setattr(run_module, "SECONDS_BETWEEN_DRAWINGS", 0)
        with pytest.raises(StorageError) as caught:
            run_module.run(recipe)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/run/{path}")
    assert "File too large" in message or method == "write_export"
    assert f"the last good checkpoint is {tmp_path}/run/checkpoints/step-{4 * done:08d}-" in message
    assert len(message.splitlines()) == 1
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert not (tmp_path / "run/export").exists()
    assert not [
        p for p in Path(tmp_path / "run").rglob("*") if "tmp" in p.name or "partial" in p.name
    ]
    said = []
    monkeypatch.setattr(run_module._Run, "say", lambda self, line: said.append(line))
    run_module.run(recipe)
    assert f"resuming after step {4 * done} of 8" in said
    assert_same_run(whole(export), tmp_path / "run")
    # These names are others each time.
    shown = re.sub(r"(tfevents\.|cannot be written: )[^:;]*", r"\1…", message)
    fault("storage", f"quota reached (RLIMIT_FSIZE) in {path.rstrip('-.')}", f"stops: {shown}")
