"""Files that are whole or absent, and never somewhere else."""

import os
from pathlib import Path

import pytest

from tfsc import files


def test_a_file_that_fails_half_way_leaves_the_one_before(tmp_path):
    path = tmp_path / "table.csv"
    files.write_text(path, "first")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as file:
        file.write(b"sec")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    (tmp_path / ".table.csv.tmp").write_text("half of a lon")
    files.write_text(tmp_path / "table.csv", "all")
    assert (tmp_path / "table.csv").read_text() == "all"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_links_are_replaced_and_never_written_through(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("years of work")
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("table.csv", ".table.csv.tmp", "log"):
        (inside / name).symlink_to(outside)
    files.write_text(inside / "table.csv", "new")
    with pytest.raises(OSError) as caught:
        files.append(inside / "log", "line")
    assert caught.value.filename == str(inside / "log")
    assert outside.read_text() == "years of work"
    assert (inside / "table.csv").read_text() == "new"
    assert not (inside / "table.csv").is_symlink()


def test_a_full_disk_is_an_error_with_the_path():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(OSError) as caught,
        files.naming("some/file"),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x")
        file.flush()
    assert (caught.value.filename, caught.value.strerror) == (
        "some/file",
        "No space left on device",
    )


def test_a_sealed_record_reads_back_and_any_change_is_found():
    content = {"step": 3, "loss": 0.1, "names": ["ä", "b"], "none": None}
    text = files.sealed(content)
    assert files.unsealed(text) == content
    for damaged in (text.replace("3", "4"), text.replace("0.1", "0.2"), "[]", "{}", text[:-3]):
        with pytest.raises(ValueError):
            files.unsealed(damaged)


def test_a_tree_is_synced_whole(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink())
    )
    files.sync_tree(tmp_path)
    names = [tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/file"]
    assert sorted(synced) == sorted(names)
