"""A run directory on a file system that is full, or read-only: real ones, of a few megabytes.

They are mounted in a name space of the test's own, which Linux lets any user have where
administrators have not forbidden it; elsewhere these tests are skipped, and say so.
"""

import json
import shlex
import subprocess

import pytest
from commands import command, environment

# Checkpoints of 0.2 MB, curves of 0.1 MB, an export of some MB.
RECIPE = (
    "--dataset=digits",
    "--model=resnet_v2([1], pooling=avg)",
    "--train_examples=100",
    "--batch_size=25",
    "--epochs=2",
    "--schedule=1e-3",
    "--average=ema(0.9)",
)


def _in_name_space(script, cwd):
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module", autouse=True)
def name_spaces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    try:
        result = _in_name_space("mount -t tmpfs -o size=1m tmpfs .", folder)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if result.returncode:
        pytest.skip(f"needs user name spaces: {result.stderr.strip()}")


def _train(*flags):
    return shlex.join(command("train", *RECIPE, *flags))


@pytest.mark.slow  # tests/training/test_storage_faults.py fills disks in this process
def test_a_full_file_system_stops_the_run_and_room_lets_it_go_on(tmp_path, fault):
    (tmp_path / "disk").mkdir()
    (tmp_path / "small").mkdir()
    export = shlex.join(command("export", "--run_dir=disk/run", "--out=small/export"))
    # Room for the first epoch's checkpoint, not for the second one's; none for an export.
    script = f"""
        mount -t tmpfs -o size=500k tmpfs disk
        {_train("--run_dir=disk/run")} >out1 2>err1; echo $? >code1
        cp disk/run/summary.json before.json
        mount -o remount,size=50m disk
        {_train("--run_dir=disk/run")} >out2 2>err2; echo $? >code2
        mount -t tmpfs -o size=250k tmpfs small
        {export} >out3 2>err3; echo $? >code3
        ls -A small >left
    """
    result = _in_name_space(script, tmp_path)
    assert result.returncode == 0, result.stderr
    errors = [(tmp_path / f"err{n}").read_text() for n in (1, 2, 3)]
    assert [(tmp_path / f"code{n}").read_text().strip() for n in (1, 2, 3)] == ["1", "0", "1"], (
        errors
    )
    assert "No space left on device; stopped after step 8" in errors[0]
    assert "disk/run/" in errors[0] and "the same command goes on from there" in errors[0]
    assert len(errors[0].splitlines()) == 1
    assert json.loads((tmp_path / "before.json").read_text())["status"] in (
        "running",
        "interrupted",
    )
    assert "resuming after step 4 of 8" in (tmp_path / "out2").read_text()
    fault("storage", "file system full (tmpfs)", f"stops: {errors[0]}")

    assert errors[2].startswith("tfsc.export: small/export: cannot be written: ")
    assert "No space left on device" in errors[2]
    assert len(errors[2].splitlines()) == 1
    assert (tmp_path / "left").read_text() == ""
    # Between these two, TensorFlow's path of the file that did not fit.
    start, end = "small/export: cannot be written: ", "No space left on device"
    fault("storage", "file system full under tfsc.export", f"refused: {start}… {end}; nothing left")


def test_a_read_only_run_directory_is_refused(tmp_path, fault):
    (tmp_path / "disk").mkdir()
    script = f"""
        mount -t tmpfs -o size=5m tmpfs disk
        mkdir disk/old && echo "--dataset=digits" >disk/old/recipe.flags
        mount -o remount,ro disk
        {_train("--run_dir=disk/old")} >out 2>err; echo $? >code
    """
    result = _in_name_space(script, tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "code").read_text().strip() == "1"
    error = (tmp_path / "err").read_text()
    assert error.startswith("tfsc.train: --run_dir=disk/old: cannot be written: ")
    assert "Read-only file system" in error
    assert len(error.splitlines()) == 1
    fault("storage", "read-only run directory", f"refused: {error}")
