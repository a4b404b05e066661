"""What the end-to-end tests share: run a command as a user does, and read what it left."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfsc.reporting.compare import differences

ROOT = Path(__file__).parent.parent

# Small enough for seconds, with everything a run has: several epochs, steps left over, EMA.
TINY = (
    "--dataset=digits",
    "--stack_units=1",
    "--train_examples=150",
    "--batch_size=32",
    "--epochs=3",
    "--schedule=[1e-3,0]lin[3e-3,1]cos[1e-4,3]",
    "--ema=0.9",
)


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tfsc.{module}", *arguments]


def environment() -> dict[str, str]:
    """The environment with the checkout importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def call(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(module, *arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def last_arrays(run_dir: Path) -> dict[str, np.ndarray]:
    """Every variable of the newest checkpoint."""
    path = max((run_dir / "checkpoints").glob("*.npz"))
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def metrics(run_dir: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv without their timings."""
    with (run_dir / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if "second" not in name}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one: Path, two: Path) -> None:
    """Equal variables (bitwise), metrics, summary, split and export, timings aside."""
    assert differences(one, two) == []
