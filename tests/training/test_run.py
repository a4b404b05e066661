"""`run` in this process, where a test can stop it at a chosen instant."""

import dataclasses
import functools
import io
import itertools
import json
import re
import shutil
import sys
import types
import unittest.mock
import warnings

import pandas as pd
import pytest
import tensorflow as tf
from commands import assert_same_run, last_arrays, metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfsc.errors import DataError, Diverged, Interrupted, RecipeError, RunDirectoryError, TfscError
from tfsc.hardware import bf16
from tfsc.recipe import Recipe
from tfsc.reporting.plots import plot_curves
from tfsc.reporting.windows import Windows
from tfsc.training import run as run_module
from tfsc.training.callbacks import StopOnSignal
from tfsc.training.clock import Clock
from tfsc.training.learner import Learner
from tfsc.training.network import check_size


def _recipe(run_dir, **changes):
    # A network of three convolutions: a step of it is traced in a second.
    settings = {
        "dataset": "digits",
        "model": "airbench([4], activation=relu)",
        "input": "center whiten(50)",
        "train_examples": 100,
        "batch_size": 25,
        "epochs": 2,
        "schedule": "[1e-3,0]lin[1e-4,2]",
        "export": False,
        "run_dir": str(run_dir),
    }
    return Recipe(**{**settings, **changes})


def _plain(run_dir, **changes):
    """Without augmentation, whose graph takes a quarter of such a run's time."""
    return _recipe(run_dir, **{"augment": "none"} | changes)


def _resnet(run_dir, **changes):
    return _recipe(run_dir, **{"model": "resnet_v2", "input": "center"} | changes)


def _written(path, history, rates, title, epochs):
    """In place of `plot_curves`, which takes as long as one of these runs."""
    path.write_bytes(b"a picture")


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    monkeypatch.setattr(run_module, "plot_curves", _written)


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


# Where a run is stopped, one after the other: hook, which call of it in that start, step.
_STOPS = (
    ("on_train_batch_end", 1, 1),  # the very first step
    ("on_train_batch_end", 3, 4),  # the last step of an epoch, before its evaluation
    ("on_test_batch_end", 1, 4),  # inside an evaluation
    ("on_train_batch_end", 2, 6),  # inside the second epoch
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Run directories after each of `_STOPS`; the run is the same one, resumed after each."""
    folder = tmp_path_factory.mktemp("stopped")
    recipe, copies = _recipe(folder / "run"), []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_module, "plot_curves", _written)
        for number, (hook, call, _) in enumerate(_STOPS):
            with monkeypatch.context() as patch, pytest.raises(Interrupted):
                _stop_at(patch, hook, call)
                run_module.run(recipe)
            copies.append(shutil.copytree(folder / "run", folder / f"after-{number}"))
    return copies


def test_stopped_anywhere_it_resumes_to_the_same_bits(whole, stopped, tmp_path):
    for folder, (_, _, step) in zip(stopped, _STOPS, strict=True):
        assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
        assert (folder / f"checkpoints/step-{step:08d}.json").exists()
    shutil.copytree(stopped[-1], tmp_path / "run")
    summary = run_module.run(_recipe(tmp_path / "run"))
    assert summary["status"] == "done"
    assert summary["joules"] is summary["gpu_utilization"] is None  # there is no GPU
    assert_same_run(whole, tmp_path / "run")
    log = (tmp_path / "run/train.log").read_text()
    resumed = [int(step) for step in re.findall(r"resuming after step (\d+)", log)]
    assert resumed == [step for _, _, step in _STOPS]


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A run of four epochs, stopped in its third, and after how many epochs it was drawn, by start.

    Of its many epochs TensorBoard gets two windows; it is evaluated after every other one.
    """
    path, drawn = tmp_path_factory.mktemp("long") / "run", ([], [])
    recipe = _plain(path, epochs=4, validate_every=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_module, "Windows", functools.partial(Windows, most=2))

        def drawing(into):
            monkeypatch.setattr(
                run_module, "plot_curves", lambda _, rows, *__: into.append(len(rows))
            )

        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            drawing(drawn[0])
            patch.setattr(run_module, "SECONDS_BETWEEN_DRAWINGS", 0)
            _stop_at(patch, "on_train_batch_end", 10)
            run_module.run(recipe)
        drawing(drawn[1])
        monkeypatch.setattr(run_module, "SECONDS_BETWEEN_DRAWINGS", 1e6)  # no machine is too slow
        run_module.run(recipe)
    return path, drawn


def test_of_many_epochs_tensorboard_gets_windows_with_their_extremes(long_run):
    path, _ = long_run
    table = pd.read_csv(path / "metrics.csv")
    events = EventAccumulator(str(path / "events"), size_guidance={"tensors": 0})
    events.Reload()

    def shown(tag):
        return [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors(f"epoch/{tag}")]

    losses = table["train_loss"]
    assert losses.nunique() == 4
    for tag, values in (
        ("train_loss", (losses[:2].mean(), losses[2:].mean())),
        ("train_loss_min", (losses[:2].min(), losses[2:].min())),
        ("train_loss_max", (losses[:2].max(), losses[2:].max())),
        ("val_loss", table["val_loss"][[1, 3]]),  # not evaluated after the others
    ):
        expected = list(zip((8, 16), values, strict=True))
        assert shown(tag) == [(step, pytest.approx(value)) for step, value in expected]


def test_curves_are_drawn_in_the_end_and_now_and_then(long_run):
    """A drawing takes longer than an epoch of these, and shows no more than the last one does."""
    _, (first, second) = long_run
    assert first == [1, 2]  # not once more when stopped
    assert second == [2, 4]  # anew, as a kill may have come before the picture; then the last


def test_the_record_is_complete_after_a_kill_between_checkpoint_and_tables(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    for name in ("metrics.csv", "curves.png", "summary.json"):
        (tmp_path / "run" / name).unlink()
    run_module.run(_recipe(tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")
    assert (tmp_path / "run/curves.png").exists()
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "done"


def _joules_from_nvml(monkeypatch):
    """Let a run believe in a GPU whose counter moves on by 1 J whenever it is read."""
    counter = itertools.count(0, 1000)
    nvml = types.SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "H100",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counter),
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=50),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(run_module, "has_gpu", lambda: True)
    return counter


def test_a_resumed_run_is_running_from_its_start_and_adds_its_joules(tmp_path, monkeypatch):
    recipe = _plain(tmp_path / "run", epochs=1)
    counter = _joules_from_nvml(monkeypatch)
    with monkeypatch.context() as patch:
        _stop_at(patch, "on_train_batch_end", 1)
        with pytest.raises(Interrupted):
            run_module.run(recipe)
    (record,) = (tmp_path / "run/checkpoints").glob("*.json")
    before = json.loads(record.read_text())["progress"]["gpus"]["joules"]
    start = next(counter) / 1000
    seen = []

    def look(self, batch, logs=None):
        seen.append(json.loads((tmp_path / "run/summary.json").read_text())["status"])

    monkeypatch.setattr(StopOnSignal, "on_train_batch_end", look)
    summary = run_module.run(recipe)
    assert seen[0] == "running"
    assert summary["gpu_utilization"] == 0.5
    # The second process's first reading is its zero; its last one is that of the exit.
    assert 0 < before < summary["joules"] <= before + next(counter) / 1000 - start - 2


def test_a_run_does_not_go_on_with_other_data(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/summary.json").unlink()
    real = run_module.load

    def changed(*arguments):
        return dataclasses.replace(real(*arguments), digest="0123456789abcdef")

    monkeypatch.setattr(run_module, "load", changed)
    with pytest.raises(RunDirectoryError, match=r"began with other data .* now 0123456789abcdef"):
        run_module.run(_recipe(tmp_path / "run"))


def test_the_best_of_the_saved_epochs_is_kept(tmp_path):
    run_module.run(_plain(tmp_path / "run", epochs=5, checkpoint_every=2, keep_checkpoints=1))
    rows = metrics(tmp_path / "run")
    saved = [rows[1], rows[3], rows[4]]
    best = max(saved, key=lambda row: float(row["val_accuracy"]))
    kept = {int(path.stem[5:]) for path in (tmp_path / "run/checkpoints").glob("*.json")}
    assert kept == {int(best["step"]), int(rows[4]["step"])}


def test_steps_end_the_run_inside_an_epoch(tmp_path):
    run_module.run(_plain(tmp_path / "run", steps=6))
    assert [row["step"] for row in metrics(tmp_path / "run")] == ["4", "6"]
    assert last_arrays(tmp_path / "run")["steps/0000/steps"] == 6
    assert not (tmp_path / "run/export").exists()


def test_where_the_data_lies_and_steps_per_execution_do_not_change_the_run(
    whole, tmp_path, monkeypatch, fault
):
    """Begun on the device, stopped inside the second epoch, resumed with prefetching."""
    recipe = _recipe(tmp_path / "run", data_on="device", steps_per_execution=3)
    with monkeypatch.context() as patch:
        _stop_at(patch, "on_train_batch_end", 3)  # 4 is no multiple of 3
        with pytest.raises(Interrupted):
            run_module.run(recipe)
    assert (tmp_path / "run/checkpoints/step-00000007.json").exists()
    run_module.run(recipe.replace(data_on="prefetch"))
    assert_same_run(whole, tmp_path / "run")
    fault("sameness", "steps_per_execution=3 instead of 1", "no bit differs")
    fault(
        "sameness",
        "data_on=device, stopped, resumed with data_on=prefetch, instead of host",
        "no bit differs",
    )


def test_images_too_small_for_the_network_are_refused_before_a_run_starts(tmp_path, fault):
    with pytest.raises(DataError, match="needs images of at least 64×64") as caught:
        run_module.run(_resnet(tmp_path / "run", model=f"resnet_v2([{'1,' * 6}1])"))
    assert not (tmp_path / "run").exists()
    check_size(_resnet(tmp_path / "run", model=f"resnet_v2([{'1,' * 5}1])"), (32, 32, 3))
    fault("data", "images too small for the network", f"refused: {caught.value}")


def test_groups_that_the_network_does_not_have_are_refused_before_a_run_starts(tmp_path):
    with pytest.raises(RecipeError) as caught:
        run_module.run(_plain(tmp_path / "run", no_decay="bias", lr_factors="bn:2,stem_cnov:3"))
    message = str(caught.value)
    assert message.startswith("--lr_factors=bn:2,stem_cnov:3: must name groups of the network's")
    assert "such as whitening/bias, " in message
    assert message.endswith("no variable belongs to stem_cnov")
    assert not (tmp_path / "run").exists()


def test_a_run_stopped_where_variables_are_frozen_resumes_exactly(tmp_path, monkeypatch):
    """They freeze inside an epoch; their gradients are left out from the next one on.

    Slow weights and one norm of all gradients would show what is left of them.
    """
    changes = {"freeze_after": "bn_bias:0.5,whitening:1", "wd": 0.1}
    changes |= {"optimizer": "lookahead(adamw, every=3)", "clip": "global_norm(0.1)"}
    with monkeypatch.context() as patch:
        compile_again = unittest.mock.create_autospec(Clock.compile_again)
        patch.setattr(Clock, "compile_again", compile_again)
        run_module.run(_recipe(tmp_path / "whole", **changes))
    assert compile_again.call_count == 2  # in both epochs; its seconds count for no speed
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        _stop_at(patch, "on_train_batch_end", 7)
        run_module.run(_recipe(tmp_path / "parts", **changes))
    run_module.run(_recipe(tmp_path / "parts", **changes))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_by_auto_records_what_it_became_and_goes_on_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bf16, "obstacle", lambda devices=1: "this processor has no such thing")
    run_module.run(_plain(tmp_path / "run", precision="auto", epochs=1))
    lines = (tmp_path / "run/train.log").read_text()
    assert "--precision=auto: fp32 (this processor has no such thing)" in lines
    assert "warning" not in lines
    assert "--precision=fp32\n" in (tmp_path / "run/recipe.flags").read_text()
    (start,) = json.loads((tmp_path / "run/provenance.json").read_text())["starts"]
    assert start["precision"] == "fp32"
    monkeypatch.setattr(bf16, "obstacle", lambda devices=1: "")
    capsys.readouterr()
    assert run_module.run(_plain(tmp_path / "run", precision="auto", epochs=1))["status"] == "done"
    assert "done already" in capsys.readouterr().out


def test_bf16_where_nothing_multiplies_in_it_is_warned_of_once(tmp_path, monkeypatch, caplog):
    """It took nine times as long as fp32, and nothing said so."""
    reason = "this processor has no such thing"
    monkeypatch.setattr(bf16, "obstacle", lambda devices=1: reason)

    def stop(self):
        raise Interrupted(15)

    monkeypatch.setattr(run_module._Run, "train", stop)
    with pytest.raises(Interrupted):
        run_module.run(_plain(tmp_path / "run", precision="bf16"))
    warning = bf16.warning("bf16")
    assert reason in warning and "--precision=fp32" in warning
    assert (tmp_path / "run/train.log").read_text().count(f"warning: {warning}") == 1
    assert [record.getMessage() for record in caplog.records].count(warning) == 1


def test_another_seed_is_another_run(whole, tmp_path):
    run_module.run(_recipe(tmp_path / "run", seed=1))
    with pytest.raises(AssertionError):
        assert_same_run(whole, tmp_path / "run")


def test_a_validation_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    recipe = _plain(tmp_path / "run", export=True, epochs=1)
    spoiled = {"loss": float("nan"), "accuracy": 0.1}
    monkeypatch.setattr(Learner, "evaluate", lambda *_, **__: spoiled)
    with pytest.raises(Diverged, match="the validation loss is nan at step 4"):
        run_module.run(recipe)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "diverged"
    assert not (tmp_path / "run/export").exists()


def test_a_run_that_is_done_or_anothers_is_found_so_before_anything_is_built(
    whole, monkeypatch, capsys
):
    monkeypatch.setattr(run_module, "build_learner", None)
    monkeypatch.setattr(run_module, "load", None)
    assert run_module.run(_recipe(whole))["final"]["epoch"] == 2
    assert "done already, validation accuracy 0." in capsys.readouterr().out
    with pytest.raises(RunDirectoryError, match=r"wd: 0\.19, 0\.3"):
        run_module.run(_recipe(whole, wd=0.3))


def test_a_divergence_is_on_record_also_where_its_curves_cannot_be_drawn(tmp_path, monkeypatch):
    logs = iter([{"loss": 1.0, "accuracy": 0.1}, {"loss": float("nan"), "accuracy": 0.1}])
    monkeypatch.setattr(Learner, "evaluate", lambda *_, **__: next(logs))
    full_disk = unittest.mock.create_autospec(plot_curves, side_effect=OSError)
    monkeypatch.setattr(run_module, "plot_curves", full_disk)
    monkeypatch.setattr(run_module, "SECONDS_BETWEEN_DRAWINGS", 1e6)  # only in the end
    with pytest.raises(Diverged, match="the validation loss is nan at step 8"):
        run_module.run(_plain(tmp_path / "run"))
    assert full_disk.call_count == 1
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "diverged"


def test_evaluations_may_be_left_out_but_the_last(whole, tmp_path, monkeypatch):
    """Weights do not depend on them; what has not been measured is empty, not a number."""
    monkeypatch.setattr(run_module, "plot_curves", plot_curves)
    recipe = _recipe(tmp_path / "run", average="ema(0.9)", validate_every=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Matplotlib's, on a line without points
        summary = run_module.run(recipe)
    table = pd.read_csv(tmp_path / "run/metrics.csv")
    measured = ["val_loss", "val_accuracy", "ema_val_loss", "ema_val_accuracy"]
    assert table[measured].notna().values.tolist() == [[False] * 4, [True] * 4]
    assert summary["first"]["val_accuracy"] is None
    assert summary["best"]["epoch"] == 2
    columns = ["train_loss", "val_loss", "val_accuracy"]
    whole_table = pd.read_csv(whole / "metrics.csv")
    pd.testing.assert_frame_equal(table[columns][1:], whole_table[columns][1:])
    assert (tmp_path / "run/curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("group", ["network", "optimizer", "ema"])
def test_weights_that_the_last_step_spoils_are_neither_saved_nor_exported(
    tmp_path, monkeypatch, group, fault
):
    # The loss of the step before an overflow is finite, and a validation loss may be too.
    recipe = _plain(tmp_path / "run", export=True, average="ema(0.9)")
    real = run_module._Run.train_epoch

    def spoil(self):
        real(self)
        if len(self.history) == 1:
            name = max(name for name in self.state if name.startswith(group) and "seed" not in name)
            self.state[name].assign(self.state[name].numpy() * float("nan"))

    monkeypatch.setattr(run_module._Run, "train_epoch", spoil)
    with pytest.raises(Diverged, match=rf"1 variables are not finite \({group}/.* at step 8"):
        run_module.run(recipe)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["diverged"]["step"] == 8
    assert summary["diverged"]["last_good_checkpoint"].startswith("step-00000004-")
    assert [path.name for path in (tmp_path / "run/checkpoints").glob("*.json")] == [
        "step-00000004.json"
    ]
    assert not (tmp_path / "run/export").exists()
    if group == "network":
        fault(
            "numbers",
            "weights that overflow in a step whose loss was finite",
            f"status diverged, not saved, not exported, last good checkpoint "
            f"{summary['diverged']['last_good_checkpoint']}",
        )


def test_an_interrupted_run_does_not_save_spoilt_weights(tmp_path, monkeypatch):
    recipe = _plain(tmp_path / "run")
    real = StopOnSignal.on_train_batch_end

    def spoil(self, batch, logs=None):
        if batch == 1:
            for weight in self.model.network.trainable_weights:
                weight.assign(weight.numpy() * float("inf"))
            self.received = 15
        real(self, batch, logs)

    monkeypatch.setattr(StopOnSignal, "on_train_batch_end", spoil)
    with pytest.raises(Diverged, match="variables are not finite"):
        run_module.run(recipe)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "diverged"


def test_a_run_outlives_its_terminal(whole, tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stdout", Gone())
    run_module.run(_recipe(tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")
    log = (tmp_path / "run/train.log").read_text()
    assert log.count("standard output is gone (Broken pipe); going on without") == 1
    assert "done: validation accuracy" in log


def test_what_a_schedule_says_in_vain_is_told_once(tmp_path, monkeypatch, caplog):
    def stopped(self):
        raise Interrupted(15)

    monkeypatch.setattr(run_module._Run, "train_epoch", stopped)
    recipe = _plain(
        tmp_path / "run",
        schedule="multistep(1e-3, [0.5, 30])",
        optimizer="sgd([0.9,0]const[0.8,50%]const[0.7,100%])",
        batch_schedule="[25,0]const[50,1]const[100,40]",
    )
    expected = [
        "--schedule: milestone 30e of multistep never comes: the run has 2 epochs of 4 steps",
        "--batch_schedule: knot [100,40] never comes: the run has 2 epochs of 4 steps",
        "--optimizer: momentum of sgd: knot [0.7,100%] never comes: the run has 2 epochs of 4 "
        "steps",
    ]
    for _ in range(2):
        with pytest.raises(Interrupted):
            run_module.run(recipe)
    log = (tmp_path / "run/train.log").read_text()
    assert re.findall("warning: (.*)", log) == expected
    assert [record.getMessage() for record in caplog.records] == expected


def test_memory_that_runs_out_is_an_error_that_says_what_to_change(tmp_path, monkeypatch):
    def full(self):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore")

    monkeypatch.setattr(run_module._Run, "train_epoch", full)
    with pytest.raises(TfscError, match=r"--batch_size=25: out of memory: OOM when .*; take a"):
        run_module.run(_plain(tmp_path / "run"))


def test_a_run_killed_before_its_end_exports_when_started_again(tmp_path, monkeypatch):
    recipe = _plain(tmp_path / "run", export=True, epochs=1)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_export", killed)
        with pytest.raises(KeyboardInterrupt):
            run_module.run(recipe)
    run_module.run(recipe)
    assert (tmp_path / "run/export/saved_model/saved_model.pb").exists()


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(whole, stopped, tmp_path):
    recipe = _recipe(tmp_path / "run")
    shutil.copytree(stopped[-1], tmp_path / "run")
    (damaged,) = (tmp_path / "run/checkpoints").glob("step-00000006-*.npz")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    run_module.run(recipe)
    assert_same_run(whole, tmp_path / "run")
    log = (tmp_path / "run/train.log").read_text()
    assert log.count("warning: ") == 1
    assert f"checkpoint {damaged} is damaged: its digest differs; going on from" in log
    assert log.count("resuming after step 4 of 8") == 3  # twice before


def test_damaged_checkpoints_are_not_trained_over(stopped, tmp_path):
    recipe = _recipe(tmp_path / "run")
    shutil.copytree(stopped[-1], tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunDirectoryError, match="Nothing was deleted"):
        run_module.run(recipe)
