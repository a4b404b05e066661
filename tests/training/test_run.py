"""`run` in this process, where a test can stop it at a chosen instant."""

import json

import pytest
from commands import assert_same_run

from tfsc.errors import Interrupted, RunDirectoryError
from tfsc.recipe import Recipe
from tfsc.training import run as run_module
from tfsc.training.callbacks import StopOnSignal


def _recipe(run_dir, **changes):
    settings = {
        "dataset": "digits",
        "stack_units": (1,),
        "train_examples": 100,
        "batch_size": 25,
        "epochs": 2,
        "schedule": "[1e-3,0]lin[1e-4,2]",
        "export": False,
        "run_dir": str(run_dir),
    }
    return Recipe(**{**settings, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    path = tmp_path_factory.mktemp("run") / "whole"
    run_module.run(_recipe(path))
    return path


def _stop_at(monkeypatch, hook, call):
    """Raise as a signal does, at the given call (from 1) of one of the signal callback's hooks."""
    calls = []

    def counted(self, batch, logs=None):
        calls.append(batch)
        if len(calls) == call:
            raise Interrupted(15)

    monkeypatch.setattr(StopOnSignal, hook, counted)


@pytest.mark.parametrize(
    ("hook", "call", "step"),
    [
        ("on_train_batch_end", 1, 1),  # the very first step
        ("on_train_batch_end", 6, 6),  # inside the second epoch
        ("on_train_batch_end", 4, 4),  # the last step of an epoch, before its evaluation
        ("on_test_batch_end", 1, 4),  # inside an evaluation
    ],
)
def test_stopped_anywhere_it_resumes_to_the_same_bits(
    whole, tmp_path, monkeypatch, hook, call, step
):
    recipe = _recipe(tmp_path / "run")
    with monkeypatch.context() as patch:
        _stop_at(patch, hook, call)
        with pytest.raises(Interrupted):
            run_module.run(recipe)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    assert (tmp_path / f"run/checkpoints/step-{step:08d}.npz").exists()
    assert run_module.run(recipe)["status"] == "done"
    assert_same_run(whole, tmp_path / "run")


def test_steps_per_execution_does_not_change_the_run(whole, tmp_path):
    run_module.run(_recipe(tmp_path / "run", steps_per_execution=3))  # 4 is no multiple of 3
    assert_same_run(whole, tmp_path / "run")


def test_another_seed_is_another_run(whole, tmp_path):
    run_module.run(_recipe(tmp_path / "run", seed=1))
    with pytest.raises(AssertionError):
        assert_same_run(whole, tmp_path / "run")


def test_a_run_killed_before_its_end_exports_when_started_again(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path / "run", export=True, epochs=1)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_export", killed)
        with pytest.raises(KeyboardInterrupt):
            run_module.run(recipe)
    run_module.run(recipe)
    assert (tmp_path / "run/export/saved_model/saved_model.pb").exists()


def test_damaged_checkpoints_are_not_trained_over(whole, tmp_path, monkeypatch):
    recipe = _recipe(tmp_path / "run")
    with monkeypatch.context() as patch:
        _stop_at(patch, "on_train_batch_end", 5)
        with pytest.raises(Interrupted):
            run_module.run(recipe)
    for path in (tmp_path / "run/checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunDirectoryError, match="nothing was deleted"):
        run_module.run(recipe)
