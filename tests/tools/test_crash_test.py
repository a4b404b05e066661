"""tools/crash_test.py: kills of a real process, and what the tool makes of a bad end."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "crash_test.py"

# The smallest run there is: a test of minutes would be run by nobody.
SMALLEST = (
    "--dataset=digits",
    "--model=resnet_v2([1], dropout=0.3)",
    "--train_examples=50",
    "--batch_size=25",
    "--epochs=6",
    "--optimizer=lookahead(sgd(inverse(0.95,0.85)), every=3)",
    "--precision=bf16",
    "--average=ema(0.9)",
    "--schedule=one_cycle(1e-3)",
    "--batch_schedule=[25,0]const[50,3]",
    "--micro_batch=25",
)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("crash_test", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["crash_test"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _call(*arguments, cwd):
    return subprocess.run(
        [sys.executable, TOOL, *arguments], cwd=cwd, capture_output=True, text=True, timeout=400
    )


def _kill(tool, number=1, kind="training"):
    return tool.Kill(number, kind, "", 1.5, "epoch 1/9", "", 4, 4, 0)


@pytest.mark.slow  # five processes; test_train.py stops one by a signal, test_run.py in this one
def test_a_run_killed_three_times_ends_as_if_nothing_had_happened(tmp_path, fault):
    result = _call("--kills=3", "--out=out", "--", *SMALLEST, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    with (tmp_path / "out/kills.csv").open() as file:
        kills = list(csv.DictReader(file))
    assert sorted(kill["kind"] for kill in kills) == ["checkpoint write", "export", "training"]
    assert all(int(kill["resumed_step"]) >= int(kill["checkpoint_step"]) for kill in kills)
    assert all(kill["finished_steps_lost"] == "0" for kill in kills)
    report = (tmp_path / "out/report.md").read_text()
    assert report in result.stdout and report.count("\n| ") == 4
    assert report.splitlines()[-1].startswith(
        "PASSED: after 3 kills of one run (1 training, 1 checkpoint write, 1 export) its weights"
    )
    fault(
        "kill -9",
        "by tools/crash_test.py in training, checkpoint, export (sgd with 1cycle and Lookahead, "
        "growing batch in parts, bf16, EMA, dropout, shift)",
        "weights, metrics.csv, summary.json and export equal those of the uninterrupted run",
    )


def test_any_difference_fails_the_test_and_is_named(tool):
    passed, line = tool.verdict([_kill(tool)], 1, ["metrics.csv: 3 rows, 2"])
    assert not passed and line == "FAILED after 1 kills (1 training): metrics.csv: 3 rows, 2"


def test_kills_that_did_not_happen_fail_the_test(tool):
    passed, line = tool.verdict([_kill(tool)], 3, [])
    assert not passed and "only 1 of 3 kills happened" in line
    assert tool.verdict([_kill(tool, number) for number in (1, 2, 3)], 3, [])[0]


def test_a_run_that_went_on_before_its_newest_checkpoint_is_a_fault(tool, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole/metrics.csv").write_text("epoch,step\n1,4\n2,8\n")
    command = tool.Command([], tmp_path / "run", tmp_path / "log")
    victim = tool.Victim(command, None, tmp_path / "whole")
    victim.kills = [tool.Kill(1, "training", "", 1.5, "epoch 2/9", "", 8)]

    class Start:
        def resumed_after(self, last_step):
            return 4

    victim._book_start(Start())
    assert victim.kills[0].resumed_step == victim.kills[0].finished_steps_lost == 4
    assert victim.faults == [
        "after kill 1 the run went on after step 4, though there was a checkpoint of step 8"
    ]


def test_the_moments_are_of_all_kinds_with_those_in_the_export_last(tool):
    moments = tool.draw_moments(25, True, np.random.default_rng(0))
    kinds = [moment.kind for moment in moments]
    assert kinds[20:] == ["export"] * 5 and moments[-1].last
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(kinds, 5)
    for kind, targets in tool.TARGETS.items():
        assert {moment.target for moment in moments if moment.kind == kind} == targets.keys()
    assert moments == tool.draw_moments(25, True, np.random.default_rng(0))
    assert moments != tool.draw_moments(25, True, np.random.default_rng(1))
    without = tool.draw_moments(25, False, np.random.default_rng(0))
    assert len(without) == 25 and "export" not in {moment.kind for moment in without}


def test_what_a_kill_left_unfinished_is_listed(tool, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".export.partial-abc/saved_model").mkdir(parents=True)
    (tmp_path / ".export.partial-abc/saved_model/saved_model.pb").write_bytes(b"x")
    (tmp_path / ".summary.json.tmp").write_bytes(b"{}")
    for step in (4, 8):
        (tmp_path / f"checkpoints/step-0000000{step}-00000000.npz").write_bytes(b"x")
    record = {"step": 4, "arrays": "step-00000004-00000000.npz"}
    (tmp_path / "checkpoints/step-00000004.json").write_text(json.dumps(record))
    assert tool.unfinished(tmp_path) == [
        ".summary.json.tmp (2 bytes)",
        "checkpoints/step-00000008-00000000.npz without record",
        ".export.partial-abc (1 files)",
    ]
    assert tool.newest_checkpoint(tmp_path) == 4
    assert tool.damage(tmp_path, []) == []


def test_a_half_written_file_under_its_final_name_is_a_fault(tool, tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "summary.json").write_text('{"status": ')
    (tmp_path / "metrics.csv").write_text("epoch,val_loss\n1,0.5\n2,0.\n")
    rows = [{"epoch": "1", "val_loss": "0.5"}, {"epoch": "2", "val_loss": "0.25"}]
    summary, metrics, export = tool.damage(tmp_path, rows)
    assert summary.startswith("a damaged summary.json: ")
    assert metrics == "a metrics.csv that is no beginning of the uninterrupted run's"
    assert export == "half an export under its final name"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kills=0"], "--kills=0: 0 is not an integer in the range [1, 1000]"),
        (["--kills=many"], "--kills=many: "),
        (["--kill=3"], "Unknown command line flag 'kill'"),
        (["--out=."], "--out=.: must be a new or an empty directory"),
        (["stray"], "unexpected words: stray"),
        (["--", "--run_dir=run"], "--run_dir=run: must not be given, the runs are in --out"),
    ],
    ids=["none", "no number", "unknown", "out", "stray", "run_dir"],
)
def test_bad_flags_are_one_line(tmp_path, arguments, message):
    (tmp_path / "something").touch()
    result = _call(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_recipe_that_fails_by_itself_ends_the_test_with_its_words(tmp_path):
    result = _call("--kills=1", "--out=out", "--", "--batch_size=0", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "the uninterrupted run ended with exit code 2" in line and "--batch_size=0" in line
