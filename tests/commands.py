"""What the end-to-end tests share: run a command as a user does, and read what it left."""

import csv
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import unittest.mock
from pathlib import Path

import numpy as np

from tfsc.command_line.command import import_tensorflow
from tfsc.reporting.compare import differences

ROOT = Path(__file__).parent.parent

# Small enough for seconds, with everything a run has: several epochs, steps left over, EMA.
TINY = (
    "--dataset=digits",
    "--model=resnet_v2([1])",
    "--train_examples=150",
    "--batch_size=32",
    "--epochs=3",
    "--schedule=[1e-3,0]lin[3e-3,1]cos[1e-4,3]",
    "--average=ema(0.9)",
)


_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["tensorflow", "keras", "pandas", "sklearn.model_selection"])


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


def call_warm(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """The same in a fork of a process that has imported TensorFlow, which takes seconds.

    What a command imports, and what is said meanwhile, is not seen here; nor are environment
    variables that imports read, and what Python does at its exit.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = start_warm(module, *arguments, cwd=cwd, outputs=outputs)
        process.join(300)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(module, 300)
        texts = [path.read_text(encoding="utf-8") for path in outputs]
        return subprocess.CompletedProcess(command(module, *arguments), process.exitcode, *texts)


def start_warm(
    module: str, *arguments: str, cwd: Path, outputs: list[Path]
) -> multiprocessing.process.BaseProcess:
    """The process of `call_warm`, started; what it says goes to the two files."""
    for path in outputs:
        path.touch()
    process = _WARM.Process(
        target=_run_here, args=(f"tfsc.{module}", arguments, cwd, environment(), outputs)
    )
    # As a command imports TensorFlow: it reads this once.
    with unittest.mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="1"):
        process.start()
    return process


def _run_here(module, arguments, cwd, variables, outputs) -> None:
    """Be `python -m module`, in a process that has nothing else to do."""
    import_tensorflow()  # once imported, it looks for devices, and says so, when absl begins
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    sys.path.insert(0, str(ROOT))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


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
