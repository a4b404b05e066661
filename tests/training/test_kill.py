"""kill -9 at chosen instants of one run: it ends in the bits of a run that was left alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tfsc.reporting.compare import differences

RECIPE = {
    "dataset": "digits",
    "model": "resnet_v2([1], pooling=avg, dropout=0.3)",
    "train_examples": "100",
    "batch_size": "25",
    "epochs": "4",
    "schedule": "[1e-3,0]lin[1e-4,4]",
    "average": "ema(0.9)",
    "keep_checkpoints": "1",
}


def _points(run_dir):
    """Steps by tag that TensorBoard reads, and the values that are no timings."""
    events = EventAccumulator(str(run_dir / "events"), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [
            (e.step, None if "second" in tag else make_ndarray(e.tensor_proto).item())
            for e in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


@pytest.mark.slow  # in short: test_run.py stops runs in this process, test_train.py by a signal
def test_kill_9_at_each_instant_of_one_run_changes_no_bit(tmp_path, fault):
    """AdamW in fp32; tests/tools/test_crash_test.py kills SGD in bf16."""
    settings = [f"{name}={value}" for name, value in RECIPE.items()]
    program = Path(__file__).with_name("kill_chain.py")
    result = subprocess.run(
        [sys.executable, program, tmp_path, *settings],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    happened = json.loads(result.stdout.splitlines()[-1])
    *killed, last = happened
    assert last == "never" and happened[last]["status"] == 0
    assert len(killed) == 8
    assert all(happened[instant]["status"] == -9 for instant in killed)
    assert differences(tmp_path / "whole", tmp_path / "killed") == []
    assert _points(tmp_path / "whole") == _points(tmp_path / "killed")
    # Nothing half written is left, and only the checkpoints that are to be kept.
    left = [path.name for path in (tmp_path / "killed").rglob(".*") if path.name != ".lock"]
    assert left == []
    assert len(list((tmp_path / "killed/checkpoints").iterdir())) in (2, 4)
    named = "adamw, fp32, EMA, dropout, shift and flip"
    for instant, following in zip(killed, [*killed[1:], last], strict=True):
        went_on = happened[following]["went on"]
        fault("kill -9", f"{instant} ({named})", f"{went_on}; in the end no bit differs")
