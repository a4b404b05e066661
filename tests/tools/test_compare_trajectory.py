"""tools/compare_trajectory.py on small tables."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "compare_trajectory.py"


def _compare(tmp_path, train, reference):
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    rows = [f"{k},{value},0.5" for k, value in enumerate(train, 1)]
    (run_dir / "metrics.csv").write_text("\n".join(["epoch,train_accuracy,val_accuracy", *rows]))
    rows = [f"{k},{value},0.6" for k, value in enumerate(reference, 1)]
    (tmp_path / "reference.csv").write_text("\n".join(["epoch,train_acc,val_acc", *rows]))
    return subprocess.run(
        [sys.executable, TOOL, run_dir, tmp_path / "reference.csv"], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("train", "worst", "code"), [([0.5, 0.72], "2.00", 0), ([0.5, 0.74], "4.00", 1)]
)
def test_it_shows_the_differences_and_judges_the_largest(tmp_path, train, worst, code):
    result = _compare(tmp_path, train, [0.49, 0.70, 0.8])
    assert result.returncode == code, result.stderr
    assert "| 1 | 0.5000 | 0.4900 | +1.00 | 0.5000 | 0.6000 |" in result.stdout
    assert f"largest difference in training accuracy: {worst} points" in result.stdout


def test_a_missing_run_is_a_usage_error(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOL, tmp_path / "no", tmp_path / "no.csv"], capture_output=True, text=True
    )
    assert result.returncode == 2 and "No such file" in result.stderr
