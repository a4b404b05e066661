"""`tfsc.evaluate` and `tfsc.export` from the command line, on a run of their own."""

import csv
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from commands import TINY, call_warm, metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    result = call_warm("train", *TINY, "--val_split=stratified", "--run_dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def report(run) -> dict:
    result = call_warm("evaluate", "--export=run/export", cwd=run.parent)
    assert result.returncode == 0, result.stderr
    assert "flip-TTA" in result.stdout and "6-view TTA" in result.stdout
    return json.loads((run / "evaluation" / "evaluation.json").read_text())


def test_the_export_scores_as_the_run_did(run, report):
    final = metrics(run)[-1]
    assert report["plain"]["accuracy"] == pytest.approx(float(final["val_accuracy"]), abs=5e-5)
    assert report["plain"]["nll"] == pytest.approx(float(final["val_loss"]), abs=5e-5)
    assert report["val_split"] == "stratified" and report["examples"] == 360
    assert {"plain", "flip-TTA", "6-view TTA"} < report.keys()


def test_the_report_has_tables_and_a_picture(run, report):
    folder = run / "evaluation"
    confusion = np.array(
        [row[1:] for row in csv.reader((folder / "confusion.csv").open())][1:], dtype=int
    )
    assert confusion.shape == (10, 10) and confusion.sum() == 360
    assert np.trace(confusion) / 360 == pytest.approx(report["plain"]["accuracy"])
    rows = list(csv.DictReader((folder / "per_class.csv").open()))
    assert [row["class"] for row in rows] == [str(digit) for digit in range(10)]
    assert sum(int(row["examples"]) for row in rows) == 360
    assert matplotlib.image.imread(folder / "confusion.png").ndim == 3


def test_the_keras_file_scores_the_same(run, report):
    result = call_warm(
        "evaluate", "--export=run/export/network.keras", "--out=keras-report", cwd=run.parent
    )
    assert result.returncode == 0, result.stderr
    again = json.loads((run.parent / "keras-report" / "evaluation.json").read_text())
    assert again["plain"] == pytest.approx(report["plain"], abs=1e-6)


def test_any_checkpoint_can_be_exported(run):
    arguments = ("--run_dir=run", "--checkpoint=8", "--weights=ema")
    result = call_warm("export", *arguments, cwd=run.parent)
    assert result.returncode == 0, result.stderr
    result = call_warm("evaluate", "--export=run/export-8-ema", "--out=ema-report", cwd=run.parent)
    assert result.returncode == 0, result.stderr
    scores = json.loads((run.parent / "ema-report" / "evaluation.json").read_text())
    row = metrics(run)[1]
    assert row["step"] == "8" and scores["step"] == 8
    assert scores["plain"]["accuracy"] == pytest.approx(float(row["ema_val_accuracy"]), abs=5e-5)


def test_a_report_that_cannot_be_written_is_a_one_line_error(run):
    (run.parent / "taken").write_text("a file")
    result = call_warm("evaluate", "--export=run/export", "--out=taken", cwd=run.parent)
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["tfsc.evaluate: taken: File exists"]


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("evaluate", ["--export=nowhere"], "there is no such file"),
        ("evaluate", ["--export=broken"], "is no SavedModel of tfsc, or is damaged"),
        ("export", ["--run_dir=nowhere"], "is no run directory"),
        ("export", ["--run_dir=run", "--checkpoint=5"], "has steps 12, 8"),
    ],
)
def test_bad_models_are_one_line_errors(run, module, arguments, message):
    broken = run.parent / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "saved_model.pb").write_bytes(b"\x08\x01garbage")
    result = call_warm(module, *arguments, cwd=run.parent)
    assert result.returncode == 1, result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
