"""steps.csv: what pandas reads of it, and what remains after a kill."""

import resource

import numpy as np
import pandas as pd
import pytest

from tfsc.reporting.step_table import COLUMNS, StepTable


def _row(step, loss=None):
    return (step, 1.0 / step if loss is None else loss, 1e-3, 0.9, 64, 12.5)


def test_pandas_reads_every_step(tmp_path):
    table = StepTable(tmp_path / "steps.csv")
    table.append(_row(step) for step in (1, 2))
    table.append([])
    table.append([_row(3, np.float32(1) / np.float32(3)), _row(4, np.inf), _row(5, np.nan)])
    found = pd.read_csv(tmp_path / "steps.csv")
    assert tuple(found.columns) == COLUMNS
    assert found["step"].tolist() == [1, 2, 3, 4, 5]
    assert found["loss"].astype(np.float32)[2] == np.float32(1) / np.float32(3)
    assert np.isposinf(found["loss"][3]) and np.isnan(found["loss"][4])
    assert found["learning_rate"].tolist() == [0.001] * 5  # float32, in few digits
    assert found["batch_size"].dtype == np.int64


def test_steps_that_a_killed_process_wrote_ahead_of_its_checkpoint_are_there_once(tmp_path):
    path = tmp_path / "steps.csv"
    StepTable(path).append(_row(step) for step in range(1, 8))
    table = StepTable(path, after_step=4)
    assert table.losses_from(3) == [(3, float(np.float32(1 / 3))), (4, 0.25)]
    table.append(_row(step) for step in (5, 6))
    whole = StepTable(tmp_path / "whole.csv")
    whole.append(_row(step) for step in range(1, 7))
    assert path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:-9],
        lambda content: content[:-1] + b",1\n",
        lambda content: content.replace(b"\n3,", b"\n\0,"),
        lambda content: content.replace(b"\n3,", b"\n1,"),
        lambda content: content.replace(b"\n3,", b"\n3,x"),
        lambda content: content + b"\0" * 100,
    ],
    ids=["no end", "half a row", "too long", "zeros", "a step again", "no number", "zeros behind"],
)
def test_damaged_rows_go_and_those_before_them_stay(tmp_path, damage):
    path = tmp_path / "steps.csv"
    StepTable(path).append(_row(step) for step in (1, 2, 3))
    path.write_bytes(damage(path.read_bytes()))
    table = StepTable(path, after_step=3)
    kept = [step for step, _ in table.losses_from(0)]
    assert kept in ([1, 2], [1, 2, 3])
    table.append([_row(4)])
    assert pd.read_csv(path)["step"].tolist() == [*kept, 4]


@pytest.mark.parametrize("content", [b"", b"step,lo", b"step,other\n1,2\n", b"\xff\n"])
def test_a_file_without_its_header_begins_anew(tmp_path, content):
    path = tmp_path / "steps.csv"
    path.write_bytes(content)
    table = StepTable(path, after_step=7)
    assert table.losses_from(0) == []
    table.append([_row(8)])
    assert pd.read_csv(path)["step"].tolist() == [8]


def test_a_run_that_starts_again_from_its_beginning_has_each_step_once(tmp_path):
    for _ in range(2):
        StepTable(tmp_path / "steps.csv").append([_row(1), _row(2)])
    assert pd.read_csv(tmp_path / "steps.csv")["step"].tolist() == [1, 2]


def test_a_file_that_cannot_grow_is_named(tmp_path):
    table = StepTable(tmp_path / "steps.csv")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            table.append(_row(step) for step in range(1, 9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(table.path)
    assert caught.value.strerror == "File too large"
