"""`python -m tfsc.schedules`: the table, the plot, and errors with their position."""

import math
import subprocess
import sys

import matplotlib.image
import pytest
from commands import ROOT, call_warm, environment

from tfsc.schedules.show import time_constant


def test_a_table_and_a_plot_of_rate_and_momentum(tmp_path):
    result = call_warm(
        "schedules",
        "--show=one_cycle(0.1, start=0.02, peak=0.26, anneal=linear)",
        "--momentum=inverse(0.95, 0.85)",
        "--steps=50",
        "--steps_per_epoch=10",
        "--rows=3",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    head, *rows, plot = result.stdout.splitlines()
    assert head.split() == ["step", "epoch", "learning", "rate", "momentum", "T", "=", "-1/ln", "m"]
    assert [row.split() for row in rows] == [
        ["0", "0.000", "0.02", "0.9500", "19.50"],
        # From 0.1 at step 12 to 2e-6 at step 49, 24/37 of the fall are left; T = 8.196.
        ["25", "2.500", "0.0648656", "0.8851", "8.20"],
        ["50", "5.000", "2e-06", "0.9500", "19.50"],
    ]
    assert plot == "plot: schedule.png"
    picture = matplotlib.image.imread(tmp_path / "schedule.png")
    assert picture.shape[:2] == (660, 960)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--show: must be a schedule"),
        (("--show=cyclic(0.1,3)",), "--show: cyclic needs half_cycle"),
        (("--show=0.1", "--momentum=1"), "--momentum: momentum must be at most 0.999999"),
        (("--show=0.1", "--rows=1"), "--rows=1: "),
    ],
)
def test_a_bad_text_is_an_error_before_tensorflow_is_there(arguments, message, tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.modules['tensorflow'] = None\n"
        "runpy.run_module('tfsc.schedules', run_name='__main__', alter_sys=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"tfsc.schedules: {message}")


def test_what_never_comes_in_the_run_is_a_warning(tmp_path):
    result = call_warm(
        "schedules",
        "--show=multistep(0.1, [0.5,0.75])",
        "--momentum=[0.9,0]const[0.8,40]",
        "--rows=2",
        "--out=",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    first, second = result.stderr.splitlines()
    assert first.endswith(
        "--show: milestones of multistep are epochs: 0.5 means half an epoch; for that part of the "
        "run write 50%"
    )
    assert second.endswith(
        "--momentum: knot [0.8,40] never comes: the run has 25 epochs of 781 steps"
    )
    assert len(result.stdout.splitlines()) == 3


def test_the_time_constant():
    assert (
        time_constant(0.9) == pytest.approx(-1 / math.log(0.9)) == pytest.approx(9.4912, abs=1e-4)
    )
    assert time_constant(0.0) == 0
