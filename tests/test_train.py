"""`python -m tfsc.train` from the command line on real digits, and what it leaves behind."""

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import matplotlib.image
import pytest
from commands import (
    TINY,
    assert_same_run,
    call,
    call_warm,
    metrics,
    start_warm,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished tiny run."""
    folder = tmp_path_factory.mktemp("train")
    result = call("train", *TINY, "--run_dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "done: validation accuracy" in result.stdout
    return folder / "run"


def test_the_record_is_complete(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "recipe.flags",
        "provenance.json",
        "metrics.csv",
        "steps.csv",
        "summary.json",
        "train.log",
        "curves.png",
        "split",
        "events",
        "checkpoints",
        "export",
    }
    rows = metrics(finished)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "12")]
    assert {"ema_val_accuracy", "ema_val_loss", "learning_rate"} <= rows[0].keys()
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["status"] == "done"
    assert summary["final"]["val_accuracy"] == float(rows[-1]["val_accuracy"])
    assert summary["images_per_second"] > 0
    assert summary["peak_memory_mib"] > 100
    log = (finished / "train.log").read_text().splitlines()
    assert sum("epoch " in line and "val " in line for line in log) == 3
    assert matplotlib.image.imread(finished / "curves.png").shape[2] in (3, 4)
    provenance = json.loads((finished / "provenance.json").read_text())
    assert provenance["starts"][0]["dataset"]["name"] == "digits"


def test_tensorboard_has_every_step_and_epoch(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "events"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    assert [e.step for e in events.Tensors("step/learning_rate")] == list(range(1, 13))
    assert [e.step for e in events.Tensors("step/loss")] == list(range(1, 13))
    noise = [e.tensor_proto.float_val[0] for e in events.Tensors("step/noise_scale")]
    # 150 examples in batches of 32, β₁ = 0.9, at the rate of each step.
    rates = [e.tensor_proto.float_val[0] for e in events.Tensors("step/learning_rate")]
    assert noise == pytest.approx([rate * (150 / 32 - 1) / 0.1 for rate in rates], rel=1e-5)
    assert {"epoch/noise_scale", "epoch/momentum", "epoch/batch_size"} <= set(tags)
    assert {"epoch/val_accuracy", "epoch/train_loss", "epoch/ema_val_accuracy"} <= set(tags)


def test_the_same_command_again_finds_the_run_done_without_tensorflow(finished, monkeypatch):
    before = (finished / "summary.json").read_text()
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    # It was begun in fp32: auto is that, on whatever machine.
    result = call("train", *TINY, "--precision=auto", "--run_dir=run", cwd=finished.parent)
    assert result.returncode == 0
    assert "done already" in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "tfsc.runs.finished" in imported and not imported & {"tensorflow", "keras"}
    assert (finished / "summary.json").read_text() == before


def _listening_ports(pid: int) -> set[str]:
    """Local addresses on which a process accepts connections (Linux)."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(link.readlink()))
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def test_a_listening_port_would_be_seen():
    with socket.create_server(("127.0.0.1", 0)):
        assert len(_listening_ports(os.getpid())) == 1


def test_a_replay_of_recipe_flags_that_is_stopped_and_resumed_has_the_same_bits(finished, fault):
    folder = finished.parent
    arguments = ("--flagfile=run/recipe.flags", "--run_dir=stopped")
    outputs = [folder / "stopped.out", folder / "stopped.err"]
    process = start_warm("train", *arguments, cwd=folder, outputs=outputs)
    deadline = time.monotonic() + 120
    while not (folder / "stopped/metrics.csv").exists():
        assert process.is_alive(), outputs[1].read_text()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert _listening_ports(process.pid) == set()
    os.kill(process.pid, signal.SIGTERM)
    process.join(120)
    assert process.exitcode == 143, outputs[1].read_text()
    summary = json.loads((folder / "stopped/summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert "Traceback" not in outputs[1].read_text()
    result = call_warm("train", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "resuming after step" in result.stdout
    assert_same_run(finished, folder / "stopped")
    fault("sameness", "a replay of recipe.flags, stopped by SIGTERM, resumed", "no bit differs")
    fault("security", "a run that trains, looked at for open ports", "it listens on none")


def test_another_recipe_is_refused_and_names_the_difference(finished):
    result = call("train", *TINY, "--wd=0.3", "--run_dir=run", cwd=finished.parent)
    assert result.returncode == 1
    assert "another recipe" in result.stderr and "wd: 0.19, 0.3" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_loss_that_is_not_finite_stops_the_run(finished, fault):
    result = call_warm(
        "train",
        *TINY,
        "--optimizer=sgd(0.9)",
        "--schedule=1e30",
        "--run_dir=diverged",
        cwd=finished.parent,
    )
    assert result.returncode == 3
    assert "the training loss is" in result.stderr and "learning rate 1e+30" in result.stderr
    run_dir = finished.parent / "diverged"
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["diverged"]["learning_rate"] == pytest.approx(1e30)
    assert summary["diverged"]["step"] >= 1
    assert not (run_dir / "export").exists()
    # Which step, and inf or nan, is rounding's choice.
    shown = re.sub(r"is (nan|inf) at step \d+", "is … at step …", result.stderr)
    fault("numbers", "learning rate 1e30", f"exit code 3, status diverged; {shown}")


def test_errors_in_data_come_before_a_run_directory_is_made(tmp_path):
    result = call_warm("train", *TINY, "--train_examples=5000", "--run_dir=run", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "tfsc.train: --train_examples=5000: must be at most the 1437 training examples"
    ]
    assert not (tmp_path / "run").exists()
