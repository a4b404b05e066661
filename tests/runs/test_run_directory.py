"""Who may use a run directory, and what its files hold."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tfsc.data.examples import Examples
from tfsc.data.split import Split
from tfsc.errors import RecipeError, RunDirectoryError
from tfsc.recipe import Recipe
from tfsc.runs.run_directory import RunDirectory, default_run_dir, earlier_digests, read_recipe


def _recipe(tmp_path, **changes):
    return Recipe(run_dir=str(tmp_path / "runs" / "a"), **changes)


def _refusal(recipe):
    with pytest.raises(RunDirectoryError) as caught, RunDirectory(recipe):
        pytest.fail("the directory was opened")
    return str(caught.value)


# --- whose it is --------------------------------------------------------------------------------


def test_a_new_directory_is_made_and_holds_the_recipe(tmp_path):
    recipe = _recipe(tmp_path, wd=0.25, export=False)
    with RunDirectory(recipe) as directory:
        assert directory.path == tmp_path / "runs" / "a"
        assert directory.summary() == {}
    assert read_recipe(directory.path).differences(recipe) == []
    text = (directory.path / "recipe.flags").read_text()
    assert text.startswith("# Replay: python -m tfsc.train --flagfile=")
    assert text.endswith(recipe.flagfile())


def test_an_empty_directory_is_as_good_as_a_new_one(tmp_path):
    recipe = _recipe(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    with RunDirectory(recipe) as directory:
        assert directory.recipe_path.exists()


def test_a_directory_is_new_though_its_first_start_was_killed(tmp_path):
    # What is left if the power goes while recipe.flags is being written.
    recipe = _recipe(tmp_path)
    path = tmp_path / "runs" / "a"
    path.mkdir(parents=True)
    (path / ".lock").touch()
    (path / ".recipe.flags.tmp").write_text("# Rep")
    with RunDirectory(recipe) as directory:
        assert read_recipe(directory.path).differences(recipe) == []


def test_the_same_recipe_comes_back_to_its_directory(tmp_path):
    recipe = _recipe(tmp_path, schedule="type1")
    with RunDirectory(recipe) as directory:
        directory.write_summary({"status": "interrupted"})
    before = directory.recipe_path.read_text()
    # What does not shape the weights may change, and the schedule may be spelled out.
    again = _recipe(tmp_path, threshold=0.93, keep_checkpoints=5, data_dir="elsewhere")
    with RunDirectory(again) as directory:
        assert directory.summary() == {"status": "interrupted"}
    assert directory.recipe_path.read_text() == before


def test_another_recipe_is_refused_with_each_differing_field_and_both_values(tmp_path):
    with RunDirectory(_recipe(tmp_path, wd=0.25, seed=3)):
        pass
    message = _refusal(_recipe(tmp_path, wd=0.19, seed=4, threshold=0.9))
    assert message == (
        f"--run_dir={tmp_path}/runs/a: holds a run of another recipe; "
        "name another directory. Its value and yours: "
        "seed: 3, 4; wd: 0.25, 0.19"
    )


def test_a_refusal_gives_the_lock_back(tmp_path):
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe):
        pass
    _refusal(_recipe(tmp_path, wd=0.25))
    with RunDirectory(recipe) as directory:
        assert directory.recipe_path.exists()


def test_a_directory_with_other_files_is_left_alone(tmp_path):
    path = tmp_path / "runs" / "a"
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("years of work")
    message = _refusal(_recipe(tmp_path))
    assert message.startswith(f"--run_dir={path}: holds other files and no recipe.flags")
    assert not (path / "recipe.flags").exists()
    assert (path / "thesis.tex").read_text() == "years of work"


def test_a_recipe_that_cannot_be_read_is_named(tmp_path):
    with RunDirectory(_recipe(tmp_path)) as directory:
        pass
    directory.recipe_path.write_text("--epochs=many\n")
    message = _refusal(_recipe(tmp_path))
    assert message.startswith(f"{directory.recipe_path}: recipe line 1: --epochs=many: must be a")


def test_another_schedule_is_refused_with_both_texts(tmp_path, fault):
    with RunDirectory(_recipe(tmp_path, schedule="[1e-3,0]cos[1e-5,25]")):
        pass
    message = _refusal(_recipe(tmp_path, schedule="[1e-3,0]cos[1e-5,50]", epochs=50))
    assert message.endswith("epochs: 25, 50; schedule: [1e-3,0]cos[1e-5,25], [1e-3,0]cos[1e-5,50]")
    fault("storage", "run directory of another recipe", f"refused: {message}")


@pytest.mark.parametrize(
    "place", ["checkpoints", "events", "export", "train.log", ".lock", "split/train_indices.npy"]
)
def test_a_link_in_a_run_directory_is_refused_before_anything_is_written(tmp_path, place, fault):
    outside = tmp_path / "outside"
    outside.mkdir()
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe) as directory:
        (directory.path / "split").mkdir()
    link = directory.path / place
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    message = _refusal(recipe)
    assert f"{link} must not be a symbolic link (to {outside})" in message
    assert list(outside.iterdir()) == []
    if place == "checkpoints":
        fault("security", "run directory whose checkpoints/ is a link", f"refused: {message}")


def test_a_pipe_in_a_run_directory_does_not_hang(tmp_path):
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe) as directory:
        pass
    os.mkfifo(directory.path / "summary.json")
    assert "summary.json must be a file or a directory" in _refusal(recipe)


def test_the_run_directory_itself_may_be_a_link(tmp_path):
    (tmp_path / "big disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "big disk")
    with RunDirectory(_recipe(tmp_path)) as directory:
        assert directory.recipe_path.exists()


def test_what_a_killed_run_left_half_written_goes(tmp_path):
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe) as directory:
        directory.checkpoints.mkdir()
    kept = [
        directory.path / ".export-88.partial-abcd",  # another process may be writing it
        directory.checkpoints / "step-00000001.json",
    ]
    gone = [
        directory.path / ".metrics.csv.tmp",
        directory.path / ".export.partial-abcd",
        directory.checkpoints / ".step-00000002-00000000.npz.tmp",
    ]
    for path in (*kept, *gone):
        if "partial" in path.name:
            path.mkdir()
            path = path / "file"
        path.write_text("half")
    with RunDirectory(recipe):
        pass
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


@pytest.mark.parametrize("blocked", ["runs", "runs/a", "runs/a/.lock/x"])
def test_what_cannot_be_written_is_named_with_the_reason(tmp_path, blocked):
    # A file in the place of a directory or the reverse: it stops root too, unlike permissions.
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    message = _refusal(_recipe(tmp_path))
    assert message.startswith(f"--run_dir={tmp_path}/runs/a: cannot be written: ")


def test_default_directories_differ_by_recipe_and_seed_and_stay_below_runs():
    names = [
        default_run_dir(recipe)
        for recipe in (Recipe(), Recipe(wd=0.2), Recipe(seed=1), Recipe(dataset="emnist/letters"))
    ]
    assert len(set(names)) == 4
    assert names[0] == f"runs/cifar10-resnet_v2-{Recipe().digest[:8]}-seed0"
    assert names[3].startswith("runs/emnist-letters-")
    assert default_run_dir(Recipe(threshold=0.93)) == names[0]


# --- the lock -----------------------------------------------------------------------------------

_HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_directory_in_use_is_refused_until_its_run_ends(tmp_path, fault):
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe):
        message = _refusal(recipe)
        assert message == f"--run_dir={tmp_path}/runs/a: another process is running in it"
        fault("storage", "two processes on one run directory", f"the second is refused: {message}")
    with RunDirectory(recipe):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path, fault):
    recipe = _recipe(tmp_path)
    with RunDirectory(recipe) as directory:
        pass
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, directory.path / ".lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert "another process is running in it" in _refusal(recipe)
    finally:
        holder.kill()
        holder.communicate()
    with RunDirectory(recipe):
        pass
    fault("storage", "lock of a process that kill -9 ended", "taken over: the kernel drops it")


# --- files --------------------------------------------------------------------------------------


def test_metrics_csv_is_a_header_and_a_row_an_epoch(tmp_path):
    rows = [
        {"epoch": 1, "step": 44, "learning_rate": 0.00123, "val_accuracy": 0.5},
        {"epoch": 2, "step": 88, "learning_rate": 1e-05, "val_accuracy": 0.9283},
    ]
    with RunDirectory(_recipe(tmp_path)) as directory:
        directory.write_metrics(rows[:1])
        directory.write_metrics(rows)
    assert (directory.path / "metrics.csv").read_bytes() == (
        b"epoch,step,learning_rate,val_accuracy\n1,44,0.00123,0.5\n2,88,1e-05,0.9283\n"
    )


def test_a_summary_reads_back(tmp_path):
    summary = {"status": "done", "best": {"epoch": 3, "val_accuracy": 0.9283}, "x": None}
    with RunDirectory(_recipe(tmp_path)) as directory:
        directory.write_summary({"status": "running"})
        directory.write_summary(summary)
        assert directory.summary() == summary
    assert json.loads((directory.path / "summary.json").read_text()) == summary


@pytest.mark.parametrize("content", [b"", b'{"status": "do', b"\xff\xfe", b"[]", b"null"])
@pytest.mark.parametrize("name", ["summary.json", "provenance.json"])
def test_a_damaged_json_file_is_named(tmp_path, name, content):
    with RunDirectory(_recipe(tmp_path)) as directory:
        (directory.path / name).write_bytes(content)
        with pytest.raises(RunDirectoryError, match=f"{name} is damaged"):
            if name == "summary.json":
                directory.summary()
            else:
                directory.add_provenance({"started": "today"})
    # What might still be mended by hand is not overwritten.
    assert (directory.path / name).read_bytes() == content


def test_provenance_has_an_entry_a_start(tmp_path):
    for day in ("monday", "tuesday"):
        with RunDirectory(_recipe(tmp_path)) as directory:
            directory.add_provenance({"started": day, "command": ["python"]})
    assert json.loads((directory.path / "provenance.json").read_text()) == {
        "starts": [
            {"started": "monday", "command": ["python"]},
            {"started": "tuesday", "command": ["python"]},
        ]
    }


def test_the_split_is_saved_once(tmp_path):
    def split(train, val):
        nothing = Examples(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int32))
        return Split(nothing, nothing, np.array(train), np.array(val))

    with RunDirectory(_recipe(tmp_path)) as directory:
        directory.write_split(split([0, 2, 5], [1, 7]), "digest")
        directory.write_split(split([0, 2, 5], [1, 7]), "digest")  # as a resumed run does
        with pytest.raises(RunDirectoryError, match=r"train_indices\.npy: differs from the split"):
            directory.write_split(split([9], [8]), "digest")
        with pytest.raises(RunDirectoryError, match=r"other data .digest digest, now changed"):
            directory.write_split(split([0, 2, 5], [1, 7]), "changed")
    folder = directory.path / "split"
    assert np.load(folder / "train_indices.npy").tolist() == [0, 2, 5]
    assert np.load(folder / "val_indices.npy").tolist() == [1, 7]


def test_the_log_has_a_dated_line_an_event(tmp_path):
    for line in ("epoch 1/2", "epoch 2/2"):
        with RunDirectory(_recipe(tmp_path)) as directory:
            directory.log(line)
    lines = (directory.path / "train.log").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "@", line) for line in lines] == [
        "@epoch 1/2",
        "@epoch 2/2",
    ]


def test_no_temporary_file_is_left(tmp_path):
    with RunDirectory(_recipe(tmp_path)) as directory:
        directory.write_metrics([{"epoch": 1}])
        directory.write_summary({"status": "done"})
        directory.add_provenance({})
    assert {path.name for path in directory.path.iterdir()} == {
        ".lock",
        "recipe.flags",
        "metrics.csv",
        "summary.json",
        "provenance.json",
    }


def test_a_folder_without_a_recipe_is_no_run_directory(tmp_path):
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        read_recipe(tmp_path)
    (tmp_path / "recipe.flags").write_bytes(b"\xff\xfe")
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        read_recipe(tmp_path)
    (tmp_path / "recipe.flags").write_text("--warmup=3\n")
    with pytest.raises(RecipeError, match="no setting named warmup"):
        read_recipe(tmp_path)


def test_digests_of_earlier_versions_are_those_that_a_recipe_of_old_began_with(tmp_path):
    (tmp_path / "provenance.json").write_text('{"starts": [{"recipe_digest": "9d387d6e"}]}')
    (tmp_path / "recipe.flags").write_text("# Replay\n--dataset=digits\n--stack_units=1,1,1\n")
    assert earlier_digests(tmp_path) == {"9d387d6e"}
    for damaged in ("[{}]", "[1]", "5"):
        (tmp_path / "provenance.json").write_text(f'{{"starts": {damaged}}}')
        with pytest.raises(RunDirectoryError, match=r"provenance.json is damaged: each start must"):
            earlier_digests(tmp_path)
    (tmp_path / "recipe.flags").write_text(Recipe().flagfile())
    assert earlier_digests(tmp_path) == frozenset()
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        earlier_digests(tmp_path / "none")
