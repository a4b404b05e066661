"""Repeats of a run: statistics by hand, rows of small run directories, the table."""

import csv
import json

import pytest

from tfsc.errors import RunDirectoryError
from tfsc.runs.repeats import run_row, spread, spreads, table, write_repeats


def _summary(status="done", **changes):
    epoch = {"epoch": 3, "step": 12, "train_loss": 0.1, "train_accuracy": 0.99}
    final = epoch | {"val_accuracy": 0.90, "ema_val_accuracy": 0.93}
    best = epoch | {"epoch": 2, "step": 8, "val_accuracy": 0.91, "ema_val_accuracy": 0.92}
    return {
        "status": status,
        "epochs": 3,
        "final": final,
        "best": best,
        "seconds": {"train": 10.0, "evaluation": 2.0, "total": 15.0},
        "images_per_second": 500.0,
    } | changes


def _run(path, summary=None, recipe="--val_split=test\n", data="0123"):
    (path / "split").mkdir(parents=True)
    (path / "recipe.flags").write_text(recipe)
    (path / "split/data.json").write_text(json.dumps({"digest": data}))
    (path / "summary.json").write_text(json.dumps(summary or _summary()))
    return path


def _report(run_dir, step=12, val_split="test", digest="0123"):
    (run_dir / "evaluation").mkdir()
    report = {
        "export": "export",
        "step": step,
        "dataset": {"name": "digits", "version": "1", "digest": digest},
        "val_split": val_split,
        "examples": 360,
        "plain": {"accuracy": 0.9, "nll": 0.3},
        "flip-TTA": {"accuracy": 0.91, "nll": 0.3},
        "6-view TTA": {"accuracy": 0.92, "nll": 0.3},
    }
    (run_dir / "evaluation/evaluation.json").write_text(json.dumps(report))


def _row(seed, accuracy, **more):
    return {"seed": seed, "status": "done", "epochs": 3, "final_val_accuracy": accuracy, **more}


# --- statistics ---------------------------------------------------------------------------------


def test_a_spread_by_hand():
    found = spread([2, 4, 9])
    assert (found.n, found.mean, found.min, found.max) == (3, 5, 2, 9)
    assert found.sd == pytest.approx(13**0.5)  # (9 + 1 + 16)/2


def test_one_number_has_no_spread():
    assert spread([0.94]).sd is None
    assert spread([0.94, 0.94]).sd == 0


def test_no_numbers_are_refused():
    with pytest.raises(ValueError, match="at least one number"):
        spread([])


def test_spreads_are_of_measures_over_the_runs_that_have_them():
    rows = [
        _row(0, 0.9, final_step=12, images_per_second=None),
        _row(1, 0.8, final_step=12, images_per_second=500.0),
        {"seed": 2, "status": "diverged", "epochs": 1, "diverged_step": 7},
    ]
    found = spreads(rows)
    assert list(found) == ["final_val_accuracy", "images_per_second"]
    assert (found["final_val_accuracy"].n, found["images_per_second"].n) == (2, 1)
    assert found["final_val_accuracy"].mean == pytest.approx(0.85)


# --- rows ---------------------------------------------------------------------------------------


def test_a_row_has_every_accuracy_of_the_final_and_of_the_best_epoch(tmp_path):
    row = run_row(_run(tmp_path / "run"), 7)
    assert row == {
        "seed": 7,
        "status": "done",
        "epochs": 3,
        "final_step": 12,
        "final_val_accuracy": 0.90,
        "final_ema_val_accuracy": 0.93,
        "final_train_accuracy": 0.99,
        "best_epoch": 2,
        "best_val_accuracy": 0.91,
        "best_ema_val_accuracy": 0.92,
        "best_train_accuracy": 0.99,
        "train_seconds": 10.0,
        "evaluation_seconds": 2.0,
        "total_seconds": 15.0,
        "images_per_second": 500.0,
    }


def test_a_row_says_which_commits_trained(tmp_path):
    run = _run(tmp_path / "run")
    ids = [("a" * 40, False), ("b" * 40, True), ("a" * 40, False)]
    starts = [{"commit": {"id": name, "changed": changed}} for name, changed in ids]
    (run / "provenance.json").write_text(json.dumps({"starts": [*starts, {"commit": None}]}))
    assert run_row(run, 0)["commit"] == "aaaaaaa bbbbbbb+"
    (run / "provenance.json").write_text('{"starts": [{"commit": {"id": 5}}]}')
    with pytest.raises(RunDirectoryError, match=r"provenance\.json is damaged"):
        run_row(run, 0)


def test_the_report_on_the_export_adds_its_columns(tmp_path):
    _report(_run(tmp_path / "run"))
    row = run_row(tmp_path / "run", 0)
    assert {name: value for name, value in row.items() if name.startswith("export_")} == {
        "export_plain_accuracy": 0.9,
        "export_flip_tta_accuracy": 0.91,
        "export_6_view_tta_accuracy": 0.92,
    }


@pytest.mark.parametrize("other", [{"step": 8}, {"val_split": "merged"}, {"digest": "4567"}])
def test_a_report_on_other_weights_or_data_is_left_out(tmp_path, other):
    _report(_run(tmp_path / "run"), **other)
    assert "export_plain_accuracy" not in run_row(tmp_path / "run", 0)


@pytest.mark.parametrize("status", ["diverged", "interrupted", "running"])
def test_a_run_that_is_not_done_has_no_result(tmp_path, status):
    _run(tmp_path / "run", _summary(status, diverged={"step": 9}))
    row = run_row(tmp_path / "run", 1)
    assert row == {"seed": 1, "status": status, "epochs": 3, "diverged_step": 9}


def test_no_run_at_all_is_missing(tmp_path):
    assert run_row(tmp_path, 1) == {"seed": 1, "status": "missing", "epochs": 0}


@pytest.mark.parametrize("damage", [{"final": 3}, {"seconds": None}, {"best": {}}])
def test_a_damaged_summary_is_named(tmp_path, damage):
    _run(tmp_path / "run", _summary(**damage))
    with pytest.raises(RunDirectoryError, match=r"summary\.json is damaged"):
        run_row(tmp_path / "run", 0)


# --- table and files ----------------------------------------------------------------------------


def test_the_table_by_hand():
    rows = [
        _row(0, 0.93, best_val_accuracy=0.94, train_seconds=100.0),
        _row(1, 0.95, best_val_accuracy=0.95, train_seconds=104.0),
        {"seed": 2, "status": "diverged", "epochs": 1, "diverged_step": 7},
    ]
    assert table(rows).splitlines() == [
        "3 seeds: 2 done; seed 2 diverged at step 7",
        "                 n        mean ± sd     min     max",
        "final epoch",
        "  val_accuracy   2  0.9400 ± 0.0141  0.9300  0.9500",
        "best epoch by val_accuracy: picked on the validation set",
        "  val_accuracy   2  0.9450 ± 0.0071  0.9400  0.9500",
        "time",
        "  train_seconds  2      102.0 ± 2.8   100.0   104.0",
    ]


def test_the_sd_of_one_run_is_a_dash():
    assert table([_row(0, 0.93)]).splitlines()[-1].split()[1:] == (
        ["1", "0.9300", "±", "–", "0.9300", "0.9300"]
    )


def test_without_a_result_there_is_only_the_count():
    rows = [{"seed": 4, "status": "diverged", "epochs": 0, "diverged_step": 1}]
    assert table(rows) == "1 seeds: 0 done; seed 4 diverged at step 1"


def test_files_hold_the_rows_and_the_spreads(tmp_path):
    rows = [_row(0, 0.93), {"seed": 1, "status": "diverged", "epochs": 1, "diverged_step": 7}]
    write_repeats(tmp_path / "out", rows, {"tfsc": "0"})
    content = json.loads((tmp_path / "out/repeat.json").read_text())
    assert content["tfsc"] == "0" and content["runs"] == rows
    assert content["spreads"]["final_val_accuracy"] == {
        "n": 1,
        "mean": 0.93,
        "sd": None,
        "min": 0.93,
        "max": 0.93,
    }
    with (tmp_path / "out/repeat.csv").open() as file:
        first, second = csv.DictReader(file)
    assert first == {
        "seed": "0",
        "status": "done",
        "epochs": "3",
        "final_val_accuracy": "0.93",
        "diverged_step": "",
    }
    assert (second["final_val_accuracy"], second["diverged_step"]) == ("", "7")
