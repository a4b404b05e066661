"""`differences` on run directories made by hand."""

import io
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from tfsc import files
from tfsc.errors import RunDirectoryError
from tfsc.reporting.compare import differences, metrics_without_timings

_METRICS = (
    "epoch,step,val_loss,train_seconds,images_per_second\n1,4,0.5,1.5,300\n2,8,0.25,1.25,310\n"
)


def _arrays():
    return {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "odd": np.array([np.nan, -0.0, np.inf], np.float32),
        "steps": np.array(8),
    }


def _save(run_dir, arrays, step=8):
    """A checkpoint as the store writes it."""
    folder = run_dir / "checkpoints"
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"step-{step:08d}-00000000.npz", **arrays)
    record = {"step": step, "arrays": f"step-{step:08d}-00000000.npz"}
    (folder / f"step-{step:08d}.json").write_text(files.sealed(record))


def _export(run_dir, kernel=1.5, step=8, names=("cat", "dog")):
    export = run_dir / "export"
    export.mkdir(exist_ok=True)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["layers/dense/vars/0"] = np.array([[kernel, 2.0]], np.float32)
    with zipfile.ZipFile(export / "network.keras", "w") as archive:
        archive.writestr("model.weights.h5", content.getvalue())
    (export / "export.json").write_text(json.dumps({"step": step, "class_names": names}))


@pytest.fixture
def two(tmp_path):
    """Two equal runs with a split, an older checkpoint and an export."""
    one = tmp_path / "one"
    (one / "split").mkdir(parents=True)
    (one / "recipe.flags").write_text("--epochs=2\n")
    (one / "metrics.csv").write_text(_METRICS)
    (one / "steps.csv").write_text("step,loss\n1,2.5\n2,1.5\n")
    summary = {
        "status": "done",
        "final": {"val_loss": 0.25},
        "images_per_second": 310,
        "seconds": {"total": 9},
        "peak_memory_mib": 500,
    }
    (one / "summary.json").write_text(json.dumps(summary))
    np.save(one / "split" / "train_indices.npy", np.arange(4))
    _save(one, {name: np.zeros_like(value) for name, value in _arrays().items()}, step=4)
    _save(one, _arrays())
    _export(one)
    return one, shutil.copytree(one, tmp_path / "two")


def test_a_copy_is_the_same_run_nan_included(two):
    assert differences(*two) == []


def test_timings_make_no_difference(two):
    text = _METRICS.replace("1.25,310", "7.5,99")
    (two[1] / "metrics.csv").write_text(text)
    summary = json.loads((two[1] / "summary.json").read_text())
    summary |= {"images_per_second": None, "seconds": {"total": 1}, "peak_memory_mib": 1}
    (two[1] / "summary.json").write_text(json.dumps(summary))
    assert differences(*two) == []
    assert metrics_without_timings(two[1])[1] == {"epoch": "2", "step": "8", "val_loss": "0.25"}


@pytest.mark.parametrize(
    ("steps", "difference"),
    [
        ("step,loss\n1,2.5\n2,1.25\n", "2,1.5, 2,1.25"),
        ("step,loss\n1,2.5\n", "3 lines, 2"),
        ("step,loss\n1,2.5\n3,1.5\n", "2,1.5, no step 2"),
    ],
)
def test_steps_count(two, steps, difference):
    (two[1] / "steps.csv").write_text(steps)
    assert differences(*two) == [f"steps.csv: {difference}"]


def test_of_other_executions_only_the_steps_that_both_recorded_count(two):
    (two[1] / "recipe.flags").write_text("--epochs=2\n--steps_per_execution=2\n")
    (two[1] / "steps.csv").write_text("step,loss\n2,1.5\n")
    assert differences(*two) == []
    (two[1] / "steps.csv").write_text("step,loss\n2,1.25\n")
    assert differences(*two) == ["steps.csv: 2,1.5, 2,1.25"]


def test_one_bit_of_one_variable_is_a_difference(two):
    arrays = _arrays()
    arrays["kernel"][1, 2] = np.nextafter(np.float32(5), np.float32(6))
    _save(two[1], arrays)
    assert differences(*two) == [
        "newest checkpoint: 1 of 3 variables differ, the first kernel: by up to 4.77e-07"
    ]


@pytest.mark.parametrize(
    ("name", "value", "how"),
    [
        ("odd", np.array([np.nan, 0.0, np.inf], np.float32), "by up to 0"),
        ("odd", np.array([1.0, -0.0, np.inf], np.float32), "not finite in one of them"),
        ("steps", np.array(8, np.int32), "int64[], int32[]"),
        ("kernel", np.zeros((3, 2), np.float32), "float32[2, 3], float32[3, 2]"),
    ],
    ids=["sign of zero", "nan", "dtype", "shape"],
)
def test_a_difference_of_variables_is_described(two, name, value, how):
    _save(two[1], _arrays() | {name: value})
    assert differences(*two) == [
        f"newest checkpoint: 1 of 3 variables differ, the first {name}: {how}"
    ]


def test_a_missing_variable_and_another_step_are_differences(two):
    arrays = _arrays()
    del arrays["odd"]
    _save(two[1], arrays, step=12)
    assert differences(*two) == [
        "newest checkpoint: step 8, 12",
        "newest checkpoint: the second lacks 1 variables, odd the first",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("8,0.25", "8,0.250", "1 of 2 rows differ, row 2: val_loss: 0.25, 0.250"),
        ("2,8,0.25,1.25,310\n", "", "2 rows, 1"),
        ("val_loss", "loss", "2 of 2 rows differ, row 1: val_loss: 0.5, None"),
        (
            "epoch,step,val_loss",
            "epoch,val_loss,step",
            "2 of 2 rows differ, row 1: step: 4, 0.5",
        ),
    ],
    ids=["text of a number", "rows", "column", "order"],
)
def test_another_metric_is_a_difference(two, old, new, line):
    (two[1] / "metrics.csv").write_text(_METRICS.replace(old, new))
    assert differences(*two) == [f"metrics.csv: {line}"]


def test_another_summary_is_a_difference(two):
    summary = json.loads((two[1] / "summary.json").read_text())
    (two[1] / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    assert differences(*two) == ["summary.json: status: done, running"]


def test_another_split_is_a_difference(two):
    np.save(two[1] / "split" / "train_indices.npy", np.arange(4)[::-1])
    assert differences(*two) == [
        "split: 1 of 1 arrays differ, the first train_indices.npy: by up to 3"
    ]


def test_an_export_that_only_one_run_has_is_a_difference(two):
    shutil.rmtree(two[0] / "export")
    assert differences(*two) == ["export: only the second has one"]
    shutil.rmtree(two[1] / "export")
    assert differences(*two) == []


def test_another_export_is_a_difference(two):
    _export(two[1], kernel=1.25, step=4, names=("cat", "cow"))
    assert differences(*two) == [
        "export.json: step: 8, 4",
        "export.json: class_names: ['cat', 'dog'], ['cat', 'cow']",
        "network.keras: 1 of 1 weights differ, the first layers/dense/vars/0: by up to 0.25",
    ]


def test_a_directory_that_is_no_run_is_an_error(two, tmp_path):
    with pytest.raises(RunDirectoryError, match=r"/no is no run directory: it has no recipe.flags"):
        differences(two[0], tmp_path / "no")


def test_a_run_without_a_checkpoint_is_an_error(two):
    shutil.rmtree(two[1] / "checkpoints")
    with pytest.raises(RunDirectoryError, match=r"/two has no checkpoint"):
        differences(*two)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/step-00000008.json",
        "checkpoints/step-00000008-00000000.npz",
        "summary.json",
        "split/train_indices.npy",
        "export/network.keras",
        "export/export.json",
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(two, name):
    (two[1] / name).write_bytes(b"nonsense")
    what = name.split("-0000000")[0] if "npz" not in name else "step-00000008.json"
    with pytest.raises(RunDirectoryError, match=f"two/.*{what}.* is damaged"):
        differences(*two)
