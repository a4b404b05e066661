"""tfsc.repeat: a real run, and with a tfsc.train made of paper what else may happen."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import environment

from tfsc import repeat
from tfsc.errors import Interrupted, RecipeError, RunDirectoryError, TfscError
from tfsc.recipe import Recipe
from tfsc.runs.run_directory import read_recipe

# As small as a run can be, as most of its seconds are TensorFlow's start.
SMALLEST = (
    "--dataset=digits",
    "--model=resnet_v2([1])",
    "--train_examples=50",
    "--batch_size=25",
    "--epochs=1",
    "--schedule=1e-3",
    "--optimizer=sgd(0.9)",
    "--noexport",
)

# Behaves by seed: 0 is done, 1 diverges, 2 waits for signals and counts them, 3 fails, 4 is killed.
PAPER_TRAIN = """
import json, os, signal, sys, time
from pathlib import Path
words = dict(word[2:].split("=", 1) for word in sys.argv[1:])
run_dir, seed = Path(words.pop("run_dir")), int(words["seed"])
run_dir.mkdir(parents=True, exist_ok=True)
words = {"native": "auto", **words}
(run_dir / "recipe.flags").write_text("".join(f"--{n}={v}\\n" for n, v in words.items()))
with (run_dir / "starts").open("a") as file:
    file.write("start\\n")
def write(**summary):
    (run_dir / "summary.json").write_text(json.dumps(summary))
if seed == 1:
    write(status="diverged", epochs=0, diverged={"step": 5})
    sys.exit(3)
if seed == 2:
    received = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    (run_dir / "ready").touch()
    while not received:
        time.sleep(0.01)
    time.sleep(0.1)
    write(status="interrupted", epochs=0, received=received)
    sys.exit(130)
if seed == 3:
    sys.exit(1)
if seed == 4:
    os.kill(os.getpid(), signal.SIGKILL)
row = {"epoch": 1, "step": 2, "val_accuracy": 0.5}
(run_dir / "export").mkdir()
seconds = {"train": 1.0, "evaluation": 1.0, "total": 2.0}
write(status="done", epochs=1, final=row, best=row, seconds=seconds, images_per_second=9.0)
"""
PAPER_EVALUATE = """
import json, sys
from pathlib import Path
run_dir = Path(sys.argv[1].removeprefix("--export=")).parent
folder = run_dir / "evaluation"
folder.mkdir()
report = {"step": 2, "val_split": "test", "dataset": {"digest": None}}
scores = {name: {"accuracy": 0.5} for name in ("plain", "flip-TTA", "6-view TTA")}
(folder / "evaluation.json").write_text(json.dumps(report | scores))
print("not shown")
"""


@pytest.fixture
def tool():
    return repeat


@pytest.fixture
def paper(tool, tmp_path, monkeypatch):
    """The tool with another tfsc.train and tfsc.evaluate."""
    package = tmp_path / "paper/tfsc"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(PAPER_TRAIN)
    (package / "evaluate.py").write_text(PAPER_EVALUATE)
    monkeypatch.setattr(tool, "ROOT", tmp_path / "paper")
    return tool


def _call(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tfsc.repeat", *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def _starts(run_dir):
    return (run_dir / "starts").read_text().count("start")


def test_a_real_run_and_the_same_again(tool, tmp_path, capfd):
    (tmp_path / "some.flags").write_text("\n".join([*SMALLEST, "--seed=99", "--run_dir=else"]))
    arguments = ("--flagfile=some.flags", "--seeds=1", "--first_seed=4", "--out=out")
    result = _call(*arguments, "--", "--val_split=stratified", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "else").exists()
    recipe = read_recipe(tmp_path / "out/seed-4")
    assert (recipe.seed, recipe.val_split, recipe.train_examples) == (4, "stratified", 50)
    with (tmp_path / "out/repeat.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = rows
    with (tmp_path / "out/seed-4/metrics.csv").open() as file:
        (epoch,) = csv.DictReader(file)
    assert (row["seed"], row["final_val_accuracy"]) == ("4", epoch["val_accuracy"])
    assert float(row["wall_seconds"]) > float(row["total_seconds"]) > 0
    content = json.loads((tmp_path / "out/repeat.json").read_text())
    assert content["command"][2:5] == ["tfsc.repeat", "--flagfile=some.flags", "--seeds=1"]
    assert content["recipe"]["val_split"] == "stratified" and "seed" not in content["recipe"]
    assert "\nout: 1 seeds: 1 done\n" in result.stdout

    words = [f"--flagfile={tmp_path / 'some.flags'}", "--val_split=stratified"]
    (again,) = tool.repeat(words, [4], tmp_path / "out", False, [])
    assert float(row["wall_seconds"]) == again["wall_seconds"]
    assert capfd.readouterr().out.count("done already") == 1


def test_after_a_divergence_the_next_seed_starts(paper, tmp_path):
    for starts in (1, 2):  # a done run is left alone, a diverged one gets another chance
        done, diverged = paper.repeat(["--dataset=digits"], [1, 0], tmp_path / "out", False, [])
        assert (done["status"], diverged["status"]) == ("done", "diverged")
        assert _starts(tmp_path / "out/seed-0") == 1
        assert _starts(tmp_path / "out/seed-1") == starts
        assert "wall_seconds" in done and "wall_seconds" not in diverged


def test_seeds_of_an_earlier_call_stay_with_their_times(paper, tmp_path):
    (first,) = paper.repeat(["--dataset=digits"], [0], tmp_path / "out", False, [])
    rows = paper.repeat(["--dataset=digits"], [5], tmp_path / "out", False, [])
    assert [row["seed"] for row in rows] == [0, 5] and rows[0] == first
    content = json.loads((tmp_path / "out/repeat.json").read_text())
    assert content["runs"] == rows and content["spreads"]["wall_seconds"]["n"] == 2


def test_a_damaged_record_is_found_before_anything_starts(paper, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/repeat.json").write_text('{"runs": [5]}')
    with pytest.raises(RunDirectoryError, match=r"repeat\.json is damaged"):
        paper.repeat(["--dataset=digits"], [0], tmp_path / "out", False, [])
    assert not (tmp_path / "out/seed-0").exists()


def test_two_calls_at_once_lose_nothing(paper, tmp_path):
    """Each writes the rows of both: one of them last, after the other's times are there."""
    out = tmp_path / "out"
    paper.repeat(["--dataset=digits"], [0, 6], out, False, [])
    (out / "repeat.json").unlink()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda seed: paper.record(out, {seed: 1.0 + seed}, {}), (0, 6)))
    runs = json.loads((out / "repeat.json").read_text())["runs"]
    assert [run["wall_seconds"] for run in runs] == [1.0, 7.0]


def test_runs_of_another_recipe_with_other_seeds_are_refused_too(paper, tmp_path):
    paper.repeat(["--dataset=digits"], [0], tmp_path / "out", False, [])
    with pytest.raises(RunDirectoryError, match=r"seed-0: holds a run of another recipe"):
        paper.repeat(["--dataset=digits", "--wd=0.5"], [7], tmp_path / "out", False, [])


def test_a_diverged_run_makes_the_exit_code_1(paper, monkeypatch):
    rows = [{"seed": 1, "status": "diverged", "epochs": 0}]
    monkeypatch.setattr(paper, "repeat", lambda *_: rows)
    values = paper.flags.FlagValues()
    paper.flags.DEFINE_integer("seeds", 1, "", flag_values=values)
    paper.flags.DEFINE_integer("first_seed", 1, "", flag_values=values)
    paper.flags.DEFINE_string("out", "out", "", flag_values=values)
    paper.flags.DEFINE_bool("tta", False, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(paper.flags, "FLAGS", values)
    with pytest.raises(SystemExit) as caught:
        paper.main([], [])
    assert caught.value.code == 1


def test_tta_evaluates_each_export_once(paper, tmp_path, capfd):
    for tta in (False, True, True):  # a second evaluation would not find a free folder
        (row,) = paper.repeat(["--dataset=digits"], [0], tmp_path / "out", tta, [])
        assert ("export_6_view_tta_accuracy" in row) == tta
    assert "not shown" not in capfd.readouterr().out
    (tmp_path / "out/seed-0/evaluation/evaluation.json").unlink()
    (tmp_path / "out/seed-0/export").rmdir()
    with pytest.raises(TfscError, match=r"seed-0/export: is not there; `python -m tfsc\.export "):
        paper.repeat(["--dataset=digits"], [0], tmp_path / "out", True, [])


def test_a_signal_reaches_the_run_once_and_ends_the_repeats(paper, tmp_path):
    run_dir = tmp_path / "out/seed-2"

    def interrupt():
        while not (run_dir / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        paper.repeat(["--dataset=digits"], [0, 2, 1], tmp_path / "out", False, [])
    thread.join()
    assert caught.value.exit_code == 130 and signal.getsignal(signal.SIGINT) == before
    assert json.loads((run_dir / "summary.json").read_text())["received"] == [signal.SIGINT]
    assert not (tmp_path / "out/seed-1").exists()
    (row,) = json.loads((tmp_path / "out/repeat.json").read_text())["runs"]
    assert row["seed"] == 0  # what was done is on record


@pytest.mark.parametrize(("seed", "how"), [(3, "ended with 1"), (4, "was ended by SIGKILL")])
def test_a_run_that_fails_otherwise_ends_the_repeats(paper, tmp_path, seed, how):
    with pytest.raises(TfscError, match=f"^seed {seed}: tfsc.train {how}; the same command"):
        paper.repeat(["--dataset=digits"], [seed, 0], tmp_path / "out", False, [])
    assert not (tmp_path / "out/seed-0").exists()


def test_nothing_starts_if_any_seed_holds_another_recipe(paper, tmp_path):
    (tmp_path / "out/seed-1").mkdir(parents=True)
    other = Recipe(dataset="digits", seed=1, wd=0.5)
    (tmp_path / "out/seed-1/recipe.flags").write_text(other.flagfile())
    with pytest.raises(RunDirectoryError, match=r"another recipe.* wd: 0\.5, 0\.19$"):
        paper.repeat(["--dataset=digits"], [0, 1], tmp_path / "out", False, [])
    assert not (tmp_path / "out/seed-0").exists()


def test_the_default_place_is_that_of_the_recipe_without_its_seed(tool):
    one, two, other = (
        tool.default_out(tool.train_recipe(["--dataset=digits", word]))
        for word in ("--seed=1", "--seed=2", "--wd=0.5")
    )
    assert one == two != other
    assert one.startswith("runs/digits-resnet_v2-") and one.endswith("-seeds")


@pytest.mark.parametrize("named", [True, False])
def test_auto_is_that_of_the_runs_that_are_there(tool, tmp_path, monkeypatch, capsys, named):
    """Machines of two kinds may share one --out: its rows are of one recipe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, "may_have_gpu", lambda: False)
    monkeypatch.setattr(tool.auto_precision.bf16, "obstacle", lambda devices: "no instructions")
    asked, out = ["--dataset=digits", "--precision=auto"], "out" if named else ""
    assert tool.without_auto(asked, out) == [*asked, "--precision=fp32"]
    assert capsys.readouterr().out == "--precision=auto: fp32 (no instructions)\n"
    recipe = tool.train_recipe([*asked, "--precision=bf16", "--seed=7"])
    run_dir = Path(out or tool.default_out(recipe)) / "seed-7"
    run_dir.mkdir(parents=True)
    (run_dir / "recipe.flags").write_text(recipe.flagfile())
    assert tool.without_auto(asked, out) == [*asked, "--precision=bf16"]
    assert f"bf16, with which {run_dir.parent} was begun" in capsys.readouterr().out
    assert tool.without_auto(["--dataset=digits"], out) == ["--dataset=digits"]


def test_auto_leaves_out_what_is_of_bf16_where_it_is_another(tool, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, "may_have_gpu", lambda: False)
    asked = ["--precision=auto", "--bf16_winograd"]
    for obstacle, added in (
        ("no instructions", ["--precision=fp32", "--nobf16_winograd"]),
        ("", ["--precision=bf16"]),
    ):
        monkeypatch.setattr(tool.auto_precision.bf16, "obstacle", lambda devices, why=obstacle: why)
        flags = tool.without_auto(asked, "out")
        assert flags == [*asked, *added]
        assert tool.train_recipe(flags).bf16_winograd is (obstacle == "")


def test_a_run_that_another_call_begins_by_another_recipe_stops_the_repeats(
    paper, tmp_path, monkeypatch
):
    """Two machines may begin in one --out at once, --precision=auto being another on each."""

    def train(processes, train_flags, seed, run_dir):
        (tmp_path / "out/seed-9").mkdir(parents=True)
        text = "--dataset=digits\n--seed=9\n--precision=bf16\n"
        (tmp_path / "out/seed-9/recipe.flags").write_text(text)
        run_dir.mkdir()

    monkeypatch.setattr(paper, "train", train)
    with pytest.raises(
        RunDirectoryError, match=r"seed-9: .*another recipe.* precision: bf16, fp32"
    ):
        paper.repeat(["--dataset=digits"], [0, 1], tmp_path / "out", False, [])
    assert not (tmp_path / "out/seed-1").exists()


@pytest.mark.parametrize(
    ("words", "own", "train"),
    [
        ("--seeds=2 --flagfile=a --tta", "--seeds=2 --tta", "--flagfile=a"),
        ("--flagfile a --seeds 2 -- --wd 0", "--seeds 2", "--flagfile a --wd 0"),
        ("--flagfile", "", "--flagfile"),
        ("-- --flagfile=b --", "", "--flagfile=b --"),
    ],
)
def test_words_for_the_tool_and_words_for_the_runs(tool, words, own, train):
    assert tool.split_words(words.split()) == (own.split(), train.split())


def _check(tool, train_flags, tta=False, first_seed=0, seeds=5):
    values = SimpleNamespace(tta=tta, first_seed=first_seed, seeds=seeds)
    tool.check_flags(values, train_flags)


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (["--seed=3"], {}, r"--seed=3: must not be given, use --first_seed and --seeds"),
        (["--run_dir", "x"], {}, r"--run_dir: must not be given, use --out"),
        (["--batch_size=0"], {}, r"--batch_size=0: must be a whole number from 1 to 65536"),
        (["--flagfile=nowhere"], {}, r"--flagfile=nowhere: No such file or directory"),
        (["--noexport"], {"tta": True}, r"--export=false: must be true with --tta"),
        ([], {"first_seed": 2**31 - 2, "seeds": 3}, r"--seed=2147483648: must be a whole number"),
    ],
)
def test_bad_flags_are_found_before_anything_starts(tool, train, options, message):
    with pytest.raises(RecipeError, match=f"^{message}"):
        _check(tool, train, **options)


def test_the_ends_of_what_is_allowed_are_allowed(tool):
    _check(tool, ["--noexport"])
    _check(tool, ["--dataset=digits"], tta=True, first_seed=2**31 - 3, seeds=3)


def test_a_bad_flag_is_one_line_and_needs_no_tensorflow(tmp_path):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('tfsc.repeat', run_name='__main__', alter_sys=True)\n"
        "finally: print(sys.modules.keys() & {'tensorflow', 'keras'})"
    )
    command = [sys.executable, "-c", code, "--seeds=0"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "set()\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("tfsc.repeat: --seeds=0: ") and list(tmp_path.iterdir()) == []
