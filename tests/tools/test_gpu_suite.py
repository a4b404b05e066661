"""tools/gpu_suite.py: the whole of it on a CPU, and what it makes of bad luck."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import suite_plan
import suite_processes
import suite_runs
import suite_steps
import suite_walk
from suite_pieces import SETTINGS, Config, Run
from suite_plan import Plan
from suite_results import Results
from suite_walk import Budget

from tfsc.command_line import flagfile
from tfsc.recipe import Recipe

TOOL = Path(__file__).parents[2] / "tools" / "gpu_suite.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("gpu_suite", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_suite"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _call(out, *arguments):
    return subprocess.run(
        [sys.executable, TOOL, f"--out={out}", "--setting=small", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )


def _results(out):
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow  # below, the same with workers and a run that need no TensorFlow
def test_the_small_setting_measures_reports_and_trains_on_any_machine(tmp_path):
    result = _call(tmp_path, "--minutes=9", "--call_minutes=9")
    assert result.returncode == 0, result.stdout + result.stderr
    results = _results(tmp_path)
    good = {row["precision"]: row for row in results["steps"] if row["status"] == "ok"}
    assert set(good) == {"fp32", "bf16"}
    for row in good.values():
        assert row["images_per_second"] == pytest.approx(25 / row["step_ms"] * 1000)
        assert row["train_seconds_per_epoch"] == pytest.approx(4 * row["step_ms"] / 1000)
        assert row["compile_seconds"] > row["step_ms"] / 1000
        assert row["executions"] >= 3
        # There is no GPU: null, not 0.
        assert row["joules_per_1000_images"] is row["utilization"] is row["peak_gpu_mib"] is None
    (refused,) = [row for row in results["steps"] if row["status"] == "failed"]
    assert refused["error"].startswith("--precision=fp16: needs a GPU")
    runs = results["runs"]
    for name in ("fp32", "bf16"):
        assert runs[name]["status"] == runs[name]["summary"]["status"] == "done"
        assert runs[name]["config"] == {field: good[name][field] for field in runs[name]["config"]}
        assert [row["epoch"] for row in runs[name]["epochs"]] == ["1", "2"]
        assert runs[name]["trained"] == 1
    assert runs["fp16"]["status"] == "failed"
    assert "exit code 2" in runs["fp16"]["error"] and "needs a GPU" in runs["fp16"]["error"]
    table = (tmp_path / "table.md").read_text()
    assert table in result.stdout
    assert table.count("\n| ") == 10 and "| bf16 | on | 25 | device | 2 |" in table
    assert "No joules, no utilisation: no GPU is used." in table

    # Nothing is measured twice, and a budget that is spent starts nothing.
    again = _call(tmp_path, "--minutes=0.00001")
    assert again.returncode == 0, again.stderr
    later = _results(tmp_path)
    assert later["runs"] == runs
    assert later["steps"] == results["steps"]


# What the suite starts as Python: a worker, or a run, neither of which needs TensorFlow.
_STAND_IN = """
import csv, json, sys, time
from pathlib import Path
if sys.argv[1].endswith("step_timing.py"):
    print(json.dumps({"device": {"cpu": "C", "gpus": []}, "built_for": "CPUs"}), flush=True)
    for line in sys.stdin:
        flags = json.loads(line)["flags"]
        answer = {"images_per_second": 900.0, "step_ms": 64.0, "compile_seconds": 1.0}
        if "--precision=bf16" in flags:
            answer["images_per_second"] = 1000.0
        if "--precision=fp16" in flags:
            answer = {"error": "--precision=fp16: needs a GPU", "refused": True}
        time.sleep(0.1)
        print(json.dumps(answer), flush=True)
else:
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    run = Path(given["--run_dir"])
    if given["--precision"] == "fp16":
        sys.exit("--precision=fp16: needs a GPU")
    run.mkdir()
    final = {"epoch": 2, "val_accuracy": 0.5}
    seconds = {"total": 9.0, "train": 8.0}
    summary = {"status": "done", "final": final, "seconds": seconds, "images_per_second": 5.0}
    summary |= {"joules": None, "gpu_utilization": 0.75}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "metrics.csv").write_text("epoch,step\\n1,4\\n2,8\\n")
    (run / "given.json").write_text(json.dumps(given))
"""


def test_a_suite_measures_trains_by_the_fastest_and_measures_nothing_twice(
    tool, tmp_path, monkeypatch, capsys
):
    program, out = tmp_path / "python", tmp_path / "out"
    program.write_text(f"#!{sys.executable} -S\n{_STAND_IN}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own stay

    def suite(minutes):
        monkeypatch.setattr(
            sys, "argv", ["gpu_suite", f"--out={out}", "--setting=small", f"--minutes={minutes}"]
        )
        assert tool.main() == 0
        return _results(out), capsys.readouterr().out

    results, said = suite(10)
    good = [row for row in results["steps"] if row["status"] == "ok"]
    assert [row["precision"] for row in good] == ["fp32", "bf16"]
    (refused,) = [row for row in results["steps"] if row["status"] == "failed"]
    assert refused["error"] == "--precision=fp16: needs a GPU"
    runs = results["runs"]
    assert {name: run["status"] for name, run in runs.items()} == {
        "fp32": "done",
        "bf16": "done",
        "fp16": "failed",
    }
    assert runs["fp16"]["error"] == "exit code 1: --precision=fp16: needs a GPU"
    given = json.loads((out / "bf16/given.json").read_text())
    assert given["--precision"] == "bf16" and given["--dataset"] == "digits"
    assert given["--data_on"] == "device" and given["--steps_per_execution"] == "2"  # as timed
    assert [row["epoch"] for row in runs["bf16"]["epochs"]] == ["1", "2"]
    table = (out / "table.md").read_text()
    assert table in said
    assert table.count("\n| ") == 10 and "| bf16 | on | 25 | device | 2 |" in table
    assert "| bf16 | 2 | 0.5 | 9 | 8 | 5 | 0.75 | – | bf16 xla=on " in table

    # A budget that is spent starts nothing.
    later, _ = suite(0.00001)
    assert later["runs"] == runs
    assert later["steps"] == results["steps"]


def test_without_budget_everything_is_skipped_on_record(tmp_path):
    result = _call(tmp_path, "--minutes=0.00001")
    assert result.returncode == 1
    results = _results(tmp_path)
    assert {row["status"] for row in results["steps"]} == {"skipped"}
    assert {run["status"] for run in results["runs"].values()} == {"skipped"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "table.md"]


@pytest.mark.parametrize("minutes", ["0", "nan", "inf", "soon"])
def test_minutes_must_be_a_number_above_0(tmp_path, minutes):
    result = _call(tmp_path, f"--minutes={minutes}")
    assert result.returncode == 2
    assert f"--minutes: must be a number above 0, received '{minutes}'" in result.stderr


# Answers as tools/bench/step_timing.py does, except to two of them.
_WORKER = """
import json, os, sys, time
print(json.dumps({"device": {"cpu": "C", "gpus": ["G"]}, "built_for": "CUDA"}), flush=True)
for line in sys.stdin:
    flags = json.loads(line)["flags"]
    if "--precision=bf16" in flags:
        print("XLA: fatal", file=sys.stderr, flush=True)
        os.abort()
    if "--precision=tf32" in flags:
        time.sleep(60)
    answer = {"images_per_second": 1000.0 + len(flags), "step_ms": 64.0, "compile_seconds": 1.0}
    print(json.dumps(answer | {"process": os.getpid()}), flush=True)
"""


@pytest.fixture
def measured(tool, tmp_path, monkeypatch):
    """`measured(configs)`: the results of these, by workers that need no TensorFlow."""
    real = suite_processes.Worker

    def measure(*configs, limit=2.0, worker=_WORKER, **changes):
        command = [sys.executable, "-S", "-c", worker]
        monkeypatch.setattr(suite_steps, "Worker", lambda log: real(log, command))
        setting = replace(SETTINGS["full"], pieces=configs, limit=limit, **changes)
        results, budget = Results(tmp_path, "full", ["--dataset=digits"]), Budget(1000, 1000)
        tool.execute(setting, ["--dataset=digits"], [], results, budget, allow_cpu=False)
        return results

    return measure


def test_a_worker_that_dies_or_hangs_is_recorded_and_the_rest_is_measured(tool, measured):
    names = ("fp16", "bf16", "tf32", "fp16")
    configs = [Config(name, batch_size=size) for size, name in enumerate(names, 1)]
    results = measured(*configs)
    first, died, hung, last = results.content["steps"]
    assert (first["status"], last["status"]) == ("ok", "ok")
    assert died["status"] == hung["status"] == "failed"
    assert died["error"] == "the process was killed by SIGABRT: XLA: fatal"
    assert hung["error"] == "no answer within 2 s"
    assert len({first["process"], last["process"]}) == 2
    assert "killed by SIGABRT" in (results.out / "table.md").read_text()


def test_fp32_and_tf32_are_not_measured_in_one_process(tool, measured):
    configs = [Config(*name) for name in (("fp32", "on"), ("fp32", "off"), ("fp16", "on"))]
    rows = measured(*configs).content["steps"]
    assert rows[0]["process"] == rows[1]["process"] != rows[2]["process"]


@pytest.mark.parametrize("name", ["full", "small"])
def test_every_piece_is_a_recipe_that_tfsc_accepts(name):
    setting = SETTINGS[name]
    assert len(set(setting.pieces)) == len(setting.pieces)
    configs = [piece for piece in setting.pieces if isinstance(piece, Config)]
    runs = [piece for piece in setting.pieces if isinstance(piece, Run)]
    assert setting.without_runs().pieces == tuple(configs)
    assert len({run.name for run in runs}) == len(runs)
    for config in [*configs, *(suite_walk.fastest(run, setting, _Known()) for run in runs)]:
        recipe = _recipe(*setting.flags, *config.flags())
        assert {field: getattr(recipe, field) for field in asdict(config)} == asdict(config)
    for run in runs:
        recipe = _recipe(
            *run.flags, *setting.run_flags, f"--batch_size={setting.default.batch_size}"
        )
        # --val_split=stratified leaves four fifths.
        images = {"stratified": 40_000, "test": 50_000}[recipe.val_split]
        per_epoch = (recipe.train_examples or images) // recipe.batch_size
        assert setting.steps == recipe.epochs * per_epoch


def _recipe(*flags):
    return Recipe.from_flagfile("\n".join(argument.text for argument in flagfile.expand(flags)))


def test_type_1_and_type_2_are_trained_in_each_precision():
    runs = [piece for piece in SETTINGS["full"].pieces if isinstance(piece, Run)]
    trained = {(_recipe(*run.flags).wd, run.precision) for run in runs}
    assert trained == {(wd, p) for wd in (0.19, 0.25) for p in ("fp32", "bf16", "fp16")}


class _Known:
    """Nothing, or what is given."""

    def __init__(self, *rows, done=(), failed=()):
        self.rows, self.done, self.failed, self.share = rows, done, failed, 0.0

    def is_done(self, piece):
        return piece in self.done

    def has_failed(self, piece):
        return piece in self.failed

    def trained(self, run):
        return self.share

    def good(self):
        return self.rows


def _timed(config, **figures):
    return {**asdict(config), "images_per_second": 1.0, "step_ms": 64.0, **figures}


def test_a_run_takes_the_fastest_of_its_precision_and_batch_size():
    setting, run = SETTINGS["full"], Run("r", "bf16", ())
    assert suite_walk.fastest(run, setting, _Known()) == replace(setting.default, precision="bf16")
    slow, fast = Config("bf16"), Config("bf16", data_on="host")
    rows = [
        _timed(slow, images_per_second=20),
        _timed(fast, images_per_second=30),
        _timed(Config("fp16"), images_per_second=40),
        _timed(Config("bf16", batch_size=1024), images_per_second=50),
    ]
    assert suite_walk.fastest(run, setting, _Known(*rows)) == fast


def test_what_a_piece_needs_is_guessed_until_its_like_is_known():
    setting, run = replace(SETTINGS["full"], steps=1000), Run("r", "fp32", ())
    timed = Config("fp32")
    assert suite_walk.needs(timed, setting, _Known()).whole == setting.guess["on"]
    known = _Known(_timed(timed, seconds=20, compile_seconds=1))
    assert suite_walk.needs(Config("tf32"), setting, known).whole == 20
    assert suite_walk.needs(Config("tf32", "off"), setting, known).whole == setting.guess["off"]
    # 75 s + 2 compilations of 1 s + 1.1 · 1000 steps of 64 ms; half of the steps are behind it.
    needs = suite_walk.needs(run, setting, known)
    assert (needs.start, needs.whole, needs.reserve) == pytest.approx((77, 147.4, 30))
    known.share = 0.5
    assert suite_walk.needs(run, setting, known).whole == pytest.approx(112.2)


CONFIG, RUN, LAST = Config("fp32"), Run("r", "fp32", ()), Config("fp32", "off")


def _walk(known, minutes, call_minutes):
    """Pieces in the order in which they are done, and why others are not."""
    setting = replace(SETTINGS["full"], pieces=(CONFIG, RUN, LAST), steps=20_000, guess_step=0.005)
    now, seen, reasons = 0.0, [], {}

    def do(piece, needs):
        nonlocal now
        seen.append(piece)
        now += min(needs.whole, budget.call_left() - needs.reserve)

    budget = Budget(60 * minutes, 60 * call_minutes, clock=lambda: now)
    suite_walk.walk(setting, known, budget, do, reasons.__setitem__)
    return seen, reasons


@pytest.mark.parametrize(
    ("minutes", "call_minutes", "done", "left"),
    [
        # 75 s, then 75 + 75 + 110 = 260 s and 30 s to end it, then 35 s.
        (30, 30, [CONFIG, RUN, LAST], {}),
        (6, 6, [CONFIG, LAST], {RUN: "the budget ends: 4.3 min needed, 4.2 min left"}),
        # The run fits into a call of its own, but not beside the first piece.
        (30, 5, [CONFIG], dict.fromkeys((RUN, LAST), "the call ends: 4.3 min needed for run r")),
        # It fits into no call: it is begun if it gets anywhere.
        (30, 4.5, [CONFIG, RUN], {LAST: f"the call ends: 0.6 min needed for {LAST}"}),
        (30, 4, [CONFIG], dict.fromkeys((RUN, LAST), "the call ends: 2.5 min needed for run r")),
        (30, 1, [LAST], dict.fromkeys((CONFIG, RUN), "a call is too short: ")),
        (1, 30, [LAST], {CONFIG: "the budget ends", RUN: "the budget ends"}),
    ],
)
def test_pieces_are_done_in_order_as_far_as_they_fit(minutes, call_minutes, done, left):
    seen, reasons = _walk(_Known(), minutes, call_minutes)
    assert seen == done
    assert reasons.keys() == left.keys()
    assert all(reasons[piece].startswith(reason) for piece, reason in left.items())


def test_what_is_done_is_not_done_again_and_what_failed_comes_last():
    assert _walk(_Known(done=[RUN]), 30, 30)[0] == [CONFIG, LAST]
    assert _walk(_Known(failed=[CONFIG]), 30, 30)[0] == [RUN, LAST, CONFIG]


def test_the_plan_has_all_calls_and_what_is_brought_before(tmp_path):
    setting = replace(SETTINGS["full"], pieces=(CONFIG, RUN, LAST), steps=18_000, guess_step=0.005)
    plan = Plan(setting, Results(tmp_path, "full", []), 60 * 30, 60 * 4.5, [50.0, 50.0])
    # 10 s to each call, 10 MiB a second; 100 MiB to unpack. Of the first call 270 - 75 s are left
    # for the run, 30 of them to end it and 150 to begin it: 15 of its 99 s of training.
    assert [(line.call, line.what) for line in plan.lines] == [
        ("1–2", "bring 2 pieces of the pack, at most 50.0 MiB each"),
        ("3", "unpack"),
        ("4", str(CONFIG)),
        ("4", "run r, 15% of what is left of it"),
        ("5", "run r"),
        ("5", str(LAST)),
    ]
    unpacked = 30 + 10 + 100 / suite_plan.UNPACK_MIB_S
    assert [line.until for line in plan.lines] == pytest.approx(
        [30, unpacked, unpacked + 85, unpacked + 280, unpacked + 524, unpacked + 559]
    )
    assert plan.lines[0].mib_in == 100 and plan.lines[3].mib_out == setting.run_mib
    assert plan.left == {}


def test_the_plan_goes_by_what_has_been_measured(tmp_path):
    setting = replace(SETTINGS["full"], pieces=(CONFIG, RUN, LAST))
    results = Results(tmp_path, "full", [])
    results.add(CONFIG, status="ok", images_per_second=1.0, step_ms=4.0, compile_seconds=20.0)
    results.content["runs"]["r"] = {"status": "interrupted", "trained": 0.5}
    plan = Plan(setting, results, 60 * 3, 60 * 9)
    # 75 s + 2 compilations of 20 s + half of 15,625 steps; the rest is too short for a guess.
    assert [line.what for line in plan.lines] == ["run r"]
    assert plan.lines[0].seconds == pytest.approx(75 + 40 + 1.1 * 15_625 * 0.004 / 2)
    assert list(plan.left) == [LAST]
    assert "Not done:" in plan.table() and f"- {LAST}: the budget ends: 0.6 min" in plan.table()


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_what_is_planned_is_what_is_executed(tool, tmp_path, monkeypatch, setting):
    """With each piece taking what it is thought to: the same pieces in the same calls."""
    setting, now, done = SETTINGS[setting], 0.0, []
    results = Results(tmp_path, "any", [])
    plan = Plan(setting, results, 60 * 30, 60 * 9)

    class StepTimes(tool.StepTimes):
        def measure(self, config):
            piece_done(config, suite_walk.needs(config, setting, results).whole, status="ok")

    def train(run, setting, place, results, budget):
        needs = suite_walk.needs(run, setting, results)
        seconds, part = needs.whole, 1.0
        if seconds > budget.call_left() - setting.grace:
            seconds = budget.call_left() - setting.grace
            part = (seconds - needs.start) / (needs.whole - needs.start)
        trained = 1 - (1 - results.trained(run)) * (1 - part)
        status = "done" if part == 1 else "interrupted"
        seconds += 0 if part == 1 else setting.grace
        piece_done(run, seconds, status=status, trained=trained)

    def piece_done(piece, seconds, **figures):
        nonlocal now
        now += seconds
        done.append((str(piece), round(now)))
        # No figures: estimates stay guesses.
        known[piece] = figures

    known = {}
    monkeypatch.setattr(results, "of", lambda piece: known.get(piece, {}))
    monkeypatch.setattr(results, "skip", lambda piece, reason: None)
    monkeypatch.setattr(tool, "StepTimes", StepTimes)
    monkeypatch.setattr(tool, "train", train)

    def clock():
        return now

    while True:
        budget = Budget(60 * 30 - now, 60 * 9, clock)
        before = len(done)
        tool.execute(setting, [], [], results, budget, allow_cpu=True)
        if len(done) == before:
            break
        now += suite_plan.BETWEEN_CALLS
    planned = [(line.what.partition(",")[0], round(line.until)) for line in plan.lines]
    assert done == planned and len(done) > 4


def test_a_plan_is_shown_and_nothing_is_written(tmp_path):
    (tmp_path / "MANIFEST.json").write_text(
        json.dumps({"pieces": [{"name": "piece-000", "bytes": 50 * 2**20}]})
    )
    out = tmp_path / "out"
    result = _call(out, "--plan", f"--pack={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert "| 1 | bring 1 pieces of the pack, at most 50.0 MiB each | 0.2 | 0.2 | 50.0 | – |" in (
        result.stdout
    )
    assert "| 3 | run fp16 |" in result.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pack=absent"], "--pack: must be given with --plan alone"),
        (["--plan", "--pack=absent"], "--pack=absent: must be a directory that tools/offline/"),
        (
            ["--plan", "--pack=.", "--upload_mib=40"],
            "--pack=.: piece-000 has 50.0 MiB, a call brings 40 (--upload_mib)",
        ),
    ],
)
def test_a_pack_that_cannot_be_brought_is_refused(tmp_path, monkeypatch, flags, words):
    (tmp_path / "MANIFEST.json").write_text(
        json.dumps({"pieces": [{"name": "piece-000", "bytes": 50 * 2**20}]})
    )
    monkeypatch.chdir(tmp_path)
    result = _call("out", *flags)
    assert result.returncode and words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_machine_without_a_gpu_is_refused_unless_allowed(tool, measured):
    worker = _WORKER.replace('["G"]}, "built_for": "CUDA"', '[]}, "built_for": "no CUDA"')
    with pytest.raises(
        suite_steps.WrongMachine, match=r"no GPU \(it is built for no CUDA\); --allow_cpu"
    ):
        measured(Config("fp16"), worker=worker)
    results = measured(Config("fp16"), worker=worker, needs_gpu=False)
    assert results.good()


def test_results_of_two_gpus_do_not_share_a_table(tool, measured):
    measured(Config("fp16"))
    other = _WORKER.replace('["G"]', '["H"]')
    with pytest.raises(suite_steps.WrongMachine, match=r"has results of \['G'\], this is \['H'\]"):
        measured(Config("fp16"), Config("fp32"), worker=other)


# Trains a step a call until it is stopped; the second call ends by itself.
_LONG_RUN = """
import json, signal, sys, time
from pathlib import Path
run = Path(dict(word.partition("=")[::2] for word in sys.argv)["--run_dir"])
first = not run.exists()
run.mkdir(exist_ok=True)
(run / f"command-{first:d}.json").write_text(json.dumps(sys.argv))
def end(status, step):
    (run / "metrics.csv").write_text(f"epoch,step\\n1,{step}\\n")
    (run / "summary.json").write_text(json.dumps({"status": status}))
    sys.exit(143 if first else 0)
signal.signal(signal.SIGTERM, lambda *_: end("interrupted", 25))
time.sleep(60) if first else end("done", 100)
"""


def test_a_run_goes_on_in_the_next_call_as_it_began(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable} -S\n{_LONG_RUN}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    setting = replace(SETTINGS["full"], steps=100, grace=1.0)
    run, results = Run("r", "bf16", ("--wd=1",)), Results(tmp_path, "full", [])

    def train(seconds):
        suite_runs.train(run, setting, ["--dataset=digits"], results, Budget(seconds, seconds))
        return Results(tmp_path, "full", []).of(run)

    stopped = train(2)
    assert (stopped["status"], stopped["trained"], stopped["exit_code"]) == (
        "interrupted",
        0.25,
        143,
    )
    assert "the next goes on" in results.table() and not results.is_done(run)
    # What is found to be faster meanwhile is not what the run began with.
    results.add(Config("bf16", "off"), status="ok", images_per_second=9.0)
    done = train(60)
    assert (done["status"], done["trained"], done["exit_code"]) == ("done", 1.0, 0)
    assert results.is_done(run)
    first, second = ((tmp_path / f"r/command-{n}.json").read_text() for n in (1, 0))
    assert first == second and "--xla=on" in first and "--wd=1" in first


# A run of which the budget ends: it obeys SIGTERM, or does not.
_RUN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143) if sys.argv[1] == "obeys" else None)
print("started", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize(("how", "code"), [("obeys", 143), ("ignores", -9)])
def test_a_run_ends_with_the_budget(tool, tmp_path, how, code):
    started = time.monotonic()
    command = [sys.executable, "-S", "-c", _RUN, how]
    assert suite_processes.run_until(command, tmp_path / "log", 1, 0.3) == (code, True)
    assert time.monotonic() - started < 5
    assert (tmp_path / "log").read_text() == "started\n"
    assert suite_processes.run_until([sys.executable, "-S", "-c", ""], tmp_path / "log", 9, 9) == (
        0,
        False,
    )
