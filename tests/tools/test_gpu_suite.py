"""tools/gpu_suite.py: the whole of it on a CPU, and what it makes of bad luck."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
        timeout=300,
    )


def _results(out):
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow  # below, the same with workers and a run that need no TensorFlow
def test_the_small_setting_measures_reports_and_trains_on_any_machine(tmp_path):
    result = _call(tmp_path, "--budget_s=200")
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
    run = results["run"]
    assert run["status"] == run["summary"]["status"] == "done"
    assert run["config"]["precision"] == max(good, key=lambda name: good[name]["images_per_second"])
    assert [row["epoch"] for row in run["epochs"]] == ["1", "2"]
    table = (tmp_path / "table.md").read_text()
    assert table in result.stdout
    assert table.count("\n| ") == 5 and "| bf16 | on | 25 | device | 2 |" in table
    assert "validation accuracy" in table and "joules not measured" in table

    # Nothing is measured twice, and a budget that is spent starts nothing.
    again = _call(tmp_path, "--budget_s=0.001")
    assert again.returncode == 0, again.stderr
    later = _results(tmp_path)
    assert later["run"] == run
    assert [row for row in later["steps"] if row["status"] == "ok"] == list(good.values())
    assert later["steps"][-1]["error"] == "skipped: the budget ends"


# What the suite starts as Python: a worker, or a run, neither of which needs TensorFlow.
_STAND_IN = """
import csv, json, sys
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
        print(json.dumps(answer), flush=True)
else:
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    run = Path(given["--run_dir"])
    run.mkdir()
    final = {"epoch": 2, "val_accuracy": 0.5}
    seconds = {"total": 9.0, "train": 8.0}
    summary = {"status": "done", "final": final, "seconds": seconds, "images_per_second": 5.0}
    summary |= {"joules": None, "threshold": 0.92, "reached_threshold": None}
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

    def suite(budget):
        monkeypatch.setattr(
            sys, "argv", ["gpu_suite", f"--out={out}", "--setting=small", f"--budget_s={budget}"]
        )
        assert tool.main() == 0
        return _results(out), capsys.readouterr().out

    results, said = suite(1000)
    good = [row for row in results["steps"] if row["status"] == "ok"]
    assert [row["precision"] for row in good] == ["fp32", "bf16"]
    (refused,) = [row for row in results["steps"] if row["status"] == "failed"]
    assert refused["error"] == "--precision=fp16: needs a GPU"
    run = results["run"]
    assert run["status"] == "done" and run["config"]["precision"] == "bf16"
    given = json.loads((out / "run/given.json").read_text())
    assert given["--precision"] == "bf16" and given["--dataset"] == "digits"
    assert [row["epoch"] for row in run["epochs"]] == ["1", "2"]
    table = (out / "table.md").read_text()
    assert table in said
    assert table.count("\n| ") == 5 and "| bf16 | on | 25 | device | 2 |" in table
    assert "validation accuracy 0.5000" in table and "joules not measured" in table

    # A budget that is spent starts nothing.
    later, _ = suite(0.001)
    assert later["run"] == run
    assert [row for row in later["steps"] if row["status"] == "ok"] == good
    assert later["steps"][-1]["error"] == "skipped: the budget ends"


def test_without_budget_everything_is_skipped_on_record(tmp_path):
    result = _call(tmp_path, "--budget_s=0.001")
    assert result.returncode == 1
    results = _results(tmp_path)
    assert {row["status"] for row in results["steps"]} == {"skipped"}
    assert results["run"]["status"] == "skipped"
    assert not (tmp_path / "run").exists()


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
    real = tool.Worker

    def measure(*configs, seconds=1000.0, limit=2.0, worker=_WORKER, **changes):
        command = [sys.executable, "-S", "-c", worker]
        monkeypatch.setattr(tool, "Worker", lambda log: real(log, command))
        setting = tool.dataclasses.replace(
            tool.SETTINGS["full"], configs=configs, limit=limit, **changes
        )
        results = tool.Results(tmp_path, "full", ["--dataset=digits"])
        budget = tool.Budget(seconds, time.monotonic())
        tool.StepTimes(setting, ["--dataset=digits"], results, budget, True, False).measure()
        return setting, results

    return measure


def test_a_worker_that_dies_or_hangs_is_recorded_and_the_rest_is_measured(tool, measured):
    names = ("fp16", "bf16", "tf32", "fp16")
    configs = [tool.Config(name, batch_size=size) for size, name in enumerate(names, 1)]
    _, results = measured(*configs)
    first, died, hung, last = results.content["steps"]
    assert (first["status"], last["status"]) == ("ok", "ok")
    assert died["status"] == hung["status"] == "failed"
    assert died["error"] == "the process was killed by SIGABRT: XLA: fatal"
    assert hung["error"] == "no answer within 2 s"
    assert len({first["process"], last["process"]}) == 2
    assert "killed by SIGABRT" in (results.out / "table.md").read_text()


def test_fp32_and_tf32_are_not_measured_in_one_process(tool, measured):
    configs = [tool.Config(*name) for name in (("fp32", "on"), ("fp32", "off"), ("fp16", "on"))]
    rows = measured(*configs)[1].content["steps"]
    assert rows[0]["process"] == rows[1]["process"] != rows[2]["process"]


def test_what_the_run_needs_is_kept_for_it(tool, measured):
    configs = [tool.Config("fp32", "off"), tool.Config("fp16", "off")]
    # 75 s + 2 compilations of 1 s + 1.1 · 1000 steps of 64 ms = 147.4 s; 35 s for what is next.
    setting, results = measured(*configs, steps=1000, seconds=300)
    assert tool.needed_for_run(setting, results, tool.Budget(300, 0)) == pytest.approx(147.4)
    assert [row["status"] for row in results.content["steps"]] == ["ok", "ok"]
    (results.out / "results.json").unlink()
    _, results = measured(*configs, steps=1000, seconds=160)  # half of it is for the run
    assert [row["status"] for row in results.content["steps"]] == ["ok", "ok"]
    (results.out / "results.json").unlink()
    _, results = measured(*configs, seconds=60)
    assert [row["status"] for row in results.content["steps"]] == ["skipped", "skipped"]


@pytest.mark.parametrize("name", ["full", "small"])
def test_every_configuration_is_a_recipe_that_tfsc_accepts(tool, name):
    setting = tool.SETTINGS[name]
    assert setting.default in setting.configs
    assert len(set(setting.configs)) == len(setting.configs)
    for config in setting.configs:
        recipe = Recipe.from_flagfile("\n".join([*setting.flags, *config.flags()]))
        assert {field: getattr(recipe, field) for field in tool.dataclasses.asdict(config)} == (
            tool.dataclasses.asdict(config)
        )
    run = Recipe.from_flagfile("\n".join([*setting.flags, *setting.run_flags]))
    per_epoch = (run.train_examples or 50_000) // setting.default.batch_size
    assert setting.steps == run.epochs * per_epoch


def test_the_run_takes_the_fastest_of_its_batch_size_but_no_loss_scale(tool, tmp_path):
    results = tool.Results(tmp_path, "full", [])
    setting = tool.SETTINGS["full"]
    assert tool.fastest(setting, results) == setting.default
    for config, speed in (
        (tool.Config("fp32"), 10),
        (tool.Config("tf32", data_on="host"), 20),
        (tool.Config("fp16"), 30),
        (tool.Config("bf16", batch_size=1024), 40),
    ):
        results.add(config, status="ok", images_per_second=speed)
    assert tool.fastest(setting, results) == tool.Config("tf32", data_on="host")


def test_a_machine_without_a_gpu_is_refused_unless_allowed(tool, measured):
    worker = _WORKER.replace('["G"]}, "built_for": "CUDA"', '[]}, "built_for": "no CUDA"')
    with pytest.raises(tool.WrongMachine, match=r"no GPU \(it is built for no CUDA\); --allow_cpu"):
        measured(tool.Config("fp16"), worker=worker)
    results = measured(tool.Config("fp16"), worker=worker, needs_gpu=False)[1]
    assert results.good()


def test_results_of_two_gpus_do_not_share_a_table(tool, measured):
    measured(tool.Config("fp16"))
    other = _WORKER.replace('["G"]', '["H"]')
    with pytest.raises(tool.WrongMachine, match=r"has results of \['G'\], this is \['H'\]"):
        measured(tool.Config("fp16"), tool.Config("fp32"), worker=other)


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
    assert tool.run_until(command, tmp_path / "log", 1, 0.3) == (code, True)
    assert time.monotonic() - started < 5
    assert (tmp_path / "log").read_text() == "started\n"
    assert tool.run_until([sys.executable, "-S", "-c", ""], tmp_path / "log", 9, 9) == (0, False)
