"""`--precision=auto` of a run: new, begun here, begun on a machine of another kind."""

import pytest

from tfsc.errors import RunDirectoryError
from tfsc.hardware import bf16
from tfsc.recipe import Recipe
from tfsc.runs.begun_precision import settle
from tfsc.runs.run_directory import RunDirectory, run_path

_AUTO = Recipe(dataset="digits", precision="auto")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """`machine(precision)`: one on which auto is that; the working directory is new."""
    monkeypatch.chdir(tmp_path)

    def make(precision):
        reason = "" if precision == "bf16" else "no instructions"
        monkeypatch.setattr(bf16, "obstacle", lambda devices=1: reason)

    return make


def _begin(recipe):
    with RunDirectory(recipe):
        pass


@pytest.mark.parametrize("run_dir", ["", "here"])
@pytest.mark.parametrize(("begun", "here"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_a_begun_run_goes_on_as_it_was_begun_on_whatever_machine(machine, run_dir, begun, here):
    asked = _AUTO.replace(run_dir=run_dir)
    machine(begun)
    first, line = settle(asked)
    assert first == asked.replace(precision=begun) and line.startswith("--precision=auto: ")
    _begin(first)
    machine(here)
    again, line = settle(asked)
    assert again == first
    assert line == f"--precision=auto: {begun}, with which {run_path(first)} was begun"
    # Another recipe's run is not in the way of the machine's own choice.
    assert settle(asked.replace(seed=1))[0].precision == here


@pytest.mark.parametrize(("begun", "here"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_what_was_asked_for_in_bf16_alone_is_left_out_elsewhere(machine, begun, here):
    asked = _AUTO.replace(run_dir="here", bf16_winograd=True)
    machine(begun)
    first, _ = settle(asked)
    assert (first.precision, first.bf16_winograd) == (begun, begun == "bf16")
    _begin(first)
    machine(here)
    assert settle(asked)[0] == first


def test_of_two_begun_runs_the_machines_own_counts(machine):
    machine("fp32")
    for precision in ("bf16", "fp32"):
        _begin(_AUTO.replace(precision=precision))
    assert settle(_AUTO)[0].precision == "fp32"
    machine("bf16")
    assert settle(_AUTO)[0].precision == "bf16"


def test_a_run_that_auto_cannot_have_begun_is_another_recipes(machine):
    machine("bf16")
    _begin(_AUTO.replace(run_dir="here", precision="tf32"))
    known, _ = settle(_AUTO.replace(run_dir="here"))
    with pytest.raises(RunDirectoryError, match=r"another recipe.*precision: tf32, bf16"):
        _begin(known)


def test_a_record_that_cannot_be_read_is_left_to_whoever_enters_it(machine, tmp_path):
    machine("fp32")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/recipe.flags").write_text("--what=ever\n")
    known, _ = settle(_AUTO.replace(run_dir="here"))
    assert known.precision == "fp32"
    with pytest.raises(RunDirectoryError, match="no setting named what"):
        _begin(known)


def test_a_precision_that_was_asked_for_is_not_changed(machine):
    machine("fp32")
    _begin(_AUTO.replace(run_dir="here", precision="fp32"))
    asked = Recipe(dataset="digits", precision="bf16", run_dir="here")
    assert settle(asked) == (asked, "")
