"""What a result does not depend on, and how exactly: threads, replicas, XLA."""

import subprocess

import numpy as np
import pytest
from commands import assert_same_run, command, environment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tfsc.recipe import Recipe
from tfsc.training.run import run

# At this rate rounding stays rounding; at rates that train, every difference grows with the steps.
RECIPE = Recipe(
    dataset="digits",
    model="resnet_v2([1,1], dropout=0.2)",
    train_examples=300,
    batch_size=32,
    epochs=1,
    optimizer="sgd(0.9)",
    wd=1e-3,
    l2=1e-4,
    schedule="1e-4",
    average="ema(0.9)",
    export=False,
)
# What only a process of its own can have.
_ONE_THREAD = dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
)


pytestmark = pytest.mark.slow  # several runs; tests/layers/test_norm.py has replicas in small


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run directories by what was different: both processes work beside this one."""
    folder = tmp_path_factory.mktemp("sameness")
    (folder / "recipe.flags").write_text(RECIPE.flagfile())
    processes = {
        name: subprocess.Popen(
            command("train", "--flagfile=recipe.flags", f"--run_dir={name}", *flags),
            cwd=folder,
            env=environment() | variables,
            stdout=(folder / f"{name}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        for name, flags, variables in (
            ("replicas", ["--replicas=2"], {}),
            ("one thread", [], _ONE_THREAD),
        )
    }
    for name, changes in (("plain", {}), ("xla", {"xla": "on"})):
        run(RECIPE.replace(run_dir=str(folder / name), **changes))
    for name, process in processes.items():
        assert process.wait(300) == 0, (folder / f"{name}.log").read_text()
    return folder


def _losses(run_dir):
    events = EventAccumulator(str(run_dir / "events"), size_guidance={"tensors": 0})
    events.Reload()
    return np.array([make_ndarray(e.tensor_proto).item() for e in events.Tensors("step/loss")])


def _largest_difference(one, two):
    """Of the losses of all steps, relative."""
    first, second = _losses(one), _losses(two)
    assert len(first) == len(second) == 9
    return np.max(np.abs(first - second) / first)


def test_two_replicas_compute_what_one_does(runs, fault):
    """Same order, same shifts, flips and dropout for each sample, statistics of the whole batch."""
    assert _largest_difference(runs / "plain", runs / "replicas") < 1e-5
    with pytest.raises(AssertionError):
        assert_same_run(runs / "plain", runs / "replicas")  # they are two runs
    fault("sameness", "2 replicas (MirroredStrategy, virtual CPUs)", "each loss within 1e-5")


def test_one_thread_computes_what_all_do(runs, fault):
    assert _largest_difference(runs / "plain", runs / "one thread") < 2e-5
    fault("sameness", "1 thread instead of all", "each loss within 2e-5")


def test_xla_computes_what_the_graph_does(runs, fault):
    assert _largest_difference(runs / "plain", runs / "xla") < 2e-5
    fault("sameness", "XLA", "each loss within 2e-5")
