"""The benchmarks of tools/: each runs on a tiny network; what is judged is their arithmetic."""

import contextlib
import csv
import json
import subprocess
import sys
from pathlib import Path

import bench_input
import bench_memory
import bench_start
import bench_train
import bench_wide
import bench_worker
import cost_growth
import measure
import profile_step
import pytest
from eager import eagerly
from native_operations import needs_operations

TOOLS = Path(bench_train.__file__).parent


def _run(monkeypatch, tool, *flags):
    """The tool's exit code, in this process: imports take seconds."""
    monkeypatch.setattr(sys, "argv", [tool.__name__, *map(str, flags)])
    return tool.main()


def _refused(monkeypatch, capsys, tool, *flags):
    with pytest.raises(SystemExit) as end:
        _run(monkeypatch, tool, *flags)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


class TestMeasure:
    def test_rounds_alternate_their_order(self):
        calls = []

        def variant(name):
            return lambda: calls.append(name) or len(calls)

        figures = measure.interleaved({"a": variant("a"), "b": variant("b")}, rounds=3)
        assert calls == ["a", "b", "b", "a", "a", "b"]
        assert figures == {"a": [1, 4, 5], "b": [2, 3, 6]}

    def test_ratios_are_formed_round_by_round(self):
        assert measure.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
        assert measure.summary([3.0, 1.0, 2.0]) == {"n": 3, "median": 2.0, "min": 1.0, "max": 3.0}

    def test_a_table_is_markdown(self):
        table = measure.markdown(["name", "value"], [["x", 1.23456]])
        assert table.splitlines() == ["| name | value |", "| --- | --- |", "| x | 1.23 |"]


class TestWorker:
    def test_it_tells_its_facts_and_the_seconds_of_one_step(self):
        code = (
            f"import sys, time; sys.path.insert(0, {str(TOOLS)!r}); import bench_worker\n"
            "def run(steps): print('noise'); time.sleep(0.02 * steps)\n"
            "bench_worker.serve(run, parameters=7)"
        )
        with bench_worker.Worker([sys.executable, "-c", code]) as worker:
            assert worker.facts == {"parameters": 7}
            assert 0.02 <= worker.seconds(3) < 0.2

    def test_a_process_that_ends_too_early_is_an_error(self):
        with pytest.raises(RuntimeError, match="ended early with exit code 3"):
            bench_worker.Worker([sys.executable, "-c", "raise SystemExit(3)"])


# In the place of a worker of bench_train: keras takes 3 ms a step, all else 1.
_TIMED = f"""
import sys, time; sys.path.insert(0, {str(TOOLS)!r}); import bench_worker
(worker,) = [a.removeprefix("--worker=") for a in sys.argv if a.startswith("--worker=")]
each = 0.003 if worker.startswith("keras") else 0.001
bench_worker.serve(lambda steps: time.sleep(each * steps), parameters=7, worker=worker)
"""


class TestTrain:
    def _measured(self, monkeypatch, tmp_path, *flags):
        """Exit code and figures of both sides, checked against a ratio that nobody reaches."""
        # Both sides once: a worker takes ten seconds to start.
        pair = next(pair for pair in bench_train.TARGETS["keras"] if pair[0] == "tfsc plain fp32")
        monkeypatch.setitem(bench_train.TARGETS, "keras", [pair])
        out = tmp_path / "train.json"
        committed = tmp_path / "committed.json"
        impossible = {"ratios": {"keras fp32 / tfsc plain fp32": {"median": 1e6}}}
        committed.write_text(json.dumps(impossible))
        flags = ("--precisions=fp32", "--rounds=2", *flags, f"--out={out}", "--check")
        code = _run(monkeypatch, bench_train, *flags, f"--committed={committed}")
        return code, json.loads(out.read_text())

    def test_it_times_both_sides_in_turn_and_checks_the_ratio(self, monkeypatch, tmp_path, capsys):
        real = bench_worker.Worker
        commands = []

        def stand_in(command):
            commands.append(command)
            return real([sys.executable, "-S", "-c", _TIMED, *command[2:]])

        monkeypatch.setattr(bench_worker, "Worker", stand_in)
        code, result = self._measured(monkeypatch, tmp_path, "--stack_units=1", "--batch_size=4")
        assert code == 1
        assert "slower: keras fp32 / tfsc plain fp32 is" in capsys.readouterr().out
        assert {command[1] for command in commands} == {bench_train.__file__}
        assert all({"--stack_units=1", "--batch_size=4"} <= set(command) for command in commands)
        assert {worker["worker"] for worker in result["workers"].values()} == {
            "tfsc fp32 plain",
            "keras fp32",
        }
        assert all(len(figures) == 2 for figures in result["seconds"].values())
        (ratio,) = result["ratios"].values()
        assert 1.5 < ratio["median"] < 5

    @pytest.mark.slow  # above, the same with workers that need no TensorFlow
    def test_both_sides_train_the_same_network(self, monkeypatch, tmp_path):
        small = ("--stack_units=1", "--batch_size=4", "--steps=1")
        code, result = self._measured(monkeypatch, tmp_path, *small)
        assert code == 1
        assert set(result["seconds"]) == {"tfsc plain fp32", "keras fp32"}
        assert len({worker["parameters"] for worker in result["workers"].values()}) == 1

    def test_check_allows_the_tolerance_and_names_what_is_missing(self, capsys):
        found = {"a": {"median": 0.91}, "b": {"median": 0.89}, "c": {"median": 2.0}}
        before = {"a": {"median": 1.0}, "b": {"median": 1.0}}
        assert bench_train.check(found, before, 0.1) == 1
        assert capsys.readouterr().out.splitlines() == [
            "slower: b is 0.890, was 1.000 (allowed: 0.900)",
            "not in the committed file: c",
            "check: 1 of 3 ratios got worse by more than 10%",
        ]
        assert bench_train.check({"a": {"median": 0.91}}, before, 0.1) == 0

    def test_the_committed_ratios_are_those_of_the_targets(self):
        for versus, targets in bench_train.TARGETS.items():
            path = bench_train.COMMITTED / f"train-{versus}.json"
            ratios = json.loads(path.read_text())["ratios"]
            assert set(ratios) == {f"{theirs} / {ours}" for ours, theirs, _ in targets}

    @pytest.mark.parametrize(
        ("flag", "said"),
        [
            ("--rounds=0", "must be a positive integer, is '0'"),
            ("--stack_units=6,x", "--stack_units=6,x: must be positive integers"),
            ("--precisions=fp8", "--precisions=fp8: must be of fp32 and bf16"),
            ("--check", "--committed=nowhere.json: must be a file that --out wrote"),
        ],
    )
    def test_bad_flags_are_one_line(self, monkeypatch, capsys, flag, said):
        assert said in _refused(monkeypatch, capsys, bench_train, flag, "--committed=nowhere.json")

    def test_a_rival_that_cannot_run_is_an_error(self, monkeypatch, capsys, tmp_path):
        flags = ("--vs=torch", f"--torch_python={tmp_path / 'python'}", "--precisions=fp32")
        assert _run(monkeypatch, bench_train, *flags) == 1
        assert str(tmp_path / "python") in capsys.readouterr().err


@pytest.fixture
def graphs(request):
    """Whether what the tools time is traced, as they do, or runs operation by operation."""
    with contextlib.nullcontext() if request.param else eagerly():
        yield request.param


# Tracing takes most of the time. Short form: the same without; real runs trace the same steps.
eager_or_graphs = pytest.mark.parametrize(
    "graphs",
    [pytest.param(False, id="eager"), pytest.param(True, id="graphs", marks=pytest.mark.slow)],
    indirect=True,
)


@eager_or_graphs
@pytest.mark.filterwarnings("ignore:Even though.*run_functions_eagerly")  # tf.data traces anyway
def test_input_is_timed_four_ways_and_in_a_step(graphs, monkeypatch, tmp_path, capsys):
    if not graphs:
        in_graph = bench_input._in_graph

        def finished_once(dataset, finish):
            """The batches are taken as ever, but only one is augmented: 20 ms each, untraced."""
            images = finish(next(iter(dataset)))
            return in_graph(dataset, lambda _: images)

        monkeypatch.setattr(bench_input, "_in_graph", finished_once)
        monkeypatch.setattr(bench_input, "BATCH", 4)
    out = tmp_path / "input.json"
    flags = ("--dataset=digits", "--rounds=1", "--seconds=0.02", "--steps=1", "--stack_units=1")
    assert _run(monkeypatch, bench_input, *flags, f"--out={out}") == 0
    result = json.loads(out.read_text())
    speeds = result["images_per_second"]
    assert set(speeds) == {"tfsc", "tfsc plain", "pipeline", "keras", "generator"}
    ratio = result["ratios"]["tfsc / generator"]["median"]
    assert ratio == speeds["tfsc"][0] / speeds["generator"][0]
    assert f"| tfsc / generator | {ratio:.1f} | ≥ 20 |" in capsys.readouterr().out
    assert set(result["seconds"]) == {"input", "resident"}


_DIGITS = ("--dataset=digits", "--model=resnet_v2([1])", "--train_examples=50", "--batch_size=25")


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """`stand_in(code)`: what the tools start as Python runs this, without TensorFlow."""

    def install(code):
        program = tmp_path / "python"
        begin = "import sys, time; from pathlib import Path\n"
        begin += "given = dict(a.partition('=')[::2] for a in sys.argv[1:])\n"
        program.write_text(f"#!{sys.executable} -S\n{begin}{code}")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return install


def _watched(monkeypatch, tmp_path, *flags):
    out = tmp_path / "memory.csv"
    code = _run(monkeypatch, bench_memory, f"--out={out}", "--", *flags, "--epochs=5")
    return code, list(csv.DictReader(out.open())) if out.exists() else []


def test_memory_is_watched_epoch_by_epoch(monkeypatch, tmp_path, capsys, stand_in):
    stand_in(
        "run = Path(given['--run_dir']); run.mkdir()\n"
        "held = []\n"
        "for epoch in range(6):\n"
        "    held.append(bytearray(20 * 2**20 * (epoch < 3)))\n"
        "    new = run / 'new.csv'\n"  # as tfsc does: a file cut short would be one of no epochs
        "    new.write_text('epoch\\n' + 'row\\n' * (epoch + 1))\n"
        "    new.replace(run / 'metrics.csv')\n"
        "    time.sleep(0.25)\n"
    )
    code, rows = _watched(monkeypatch, tmp_path)
    said = capsys.readouterr().out
    assert code == 0
    assert [int(row["epoch"]) for row in rows][-1] >= 5
    resident = [float(row["highest_resident_mib"]) for row in rows]
    assert resident == sorted(resident) and 40 < resident[-1] < 200
    assert "peak resident memory:" in said and "growth after epoch 2" in said


def test_a_run_that_fails_has_no_figures(monkeypatch, tmp_path, capsys, stand_in):
    stand_in("sys.exit(3)")
    assert _watched(monkeypatch, tmp_path) == (1, [])
    assert "the run ended with exit code 3" in capsys.readouterr().out


@pytest.mark.slow  # above, the same with a process that needs no TensorFlow
def test_the_memory_of_a_real_run_is_watched(monkeypatch, tmp_path):
    code, rows = _watched(monkeypatch, tmp_path, *_DIGITS)
    assert code == 0
    assert [int(row["epoch"]) for row in rows][-1] >= 6
    assert all(100 < float(row["highest_resident_mib"]) < 10_000 for row in rows)


def test_memory_that_grows_is_named(capsys):
    samples = [(epoch, 1024.0 + 50 * epoch) for epoch in range(8)]
    bench_memory.report(samples, None)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "peak resident memory: 1.34 GiB (target: ≤ 2.5) met"
    # From the third epoch's 1,124 MiB to 1,324 before the last.
    assert said[1] == "growth after epoch 2, over 5 epochs: 17.79% (target: ≤ 2%) NOT met"


def _started(monkeypatch, tmp_path):
    out = tmp_path / "start.json"
    flags = ("--rounds=1", "--no-warm", f"--out={out}", "--", *_DIGITS)
    assert _run(monkeypatch, bench_start, *flags) == 0
    seconds = json.loads(out.read_text())["seconds"]
    return seconds["--help"]["median"], seconds["first step"]["median"]


def test_the_start_is_timed_from_the_command(monkeypatch, tmp_path, stand_in):
    stand_in(
        "if '--help' not in given:\n"
        "    assert given['--dataset'] == 'digits' and given['--steps'] == '1'\n"
        "    time.sleep(0.5)\n"
        "    run = Path(given['--run_dir']); run.mkdir(); (run / 'events').mkdir()\n"
        "    (run / 'events/1').write_text(repr(time.time()))\n"
        "    time.sleep(1)\n"  # what comes after the first step does not count
    )

    def written(events):
        return float((events / "1").read_text())

    monkeypatch.setattr(bench_start, "_time_of_first_step", written)
    help_seconds, step_seconds = _started(monkeypatch, tmp_path)
    assert help_seconds > 0 and 0.5 < step_seconds < 60


@pytest.mark.slow  # above, the same with a process that needs no TensorFlow
def test_the_start_of_a_real_run_is_timed(monkeypatch, tmp_path):
    help_seconds, step_seconds = _started(monkeypatch, tmp_path)
    assert 0 < help_seconds < step_seconds < 120


def test_a_start_that_fails_is_an_error(monkeypatch, capsys):
    assert _run(monkeypatch, bench_start, "--rounds=1", "--", "--wd=-1") == 1
    assert "ended with exit code 2" in capsys.readouterr().err


@eager_or_graphs
def test_a_wide_network_is_timed_beside_a_matrix_product(graphs, monkeypatch, tmp_path):
    monkeypatch.setattr(bench_wide, "SIDE", 64)
    out = tmp_path / "wide.json"
    assert _run(monkeypatch, bench_wide, "--batch_size=4", "--rounds=1", f"--out={out}") == 0
    result = json.loads(out.read_text())
    # 118 million multiply-adds, each two operations, three times.
    assert result["operations"] == pytest.approx(6 * 118e6, rel=0.01)
    for name, speed in result["images_per_second"].items():
        assert speed == pytest.approx(4 / result["seconds"][name][0])
    assert {*result["images_per_second"]} >= {"direct"}


def test_the_exponent_of_a_power_is_found():
    values = [1.0, 2.0, 8.0]
    assert cost_growth.exponent(values, [3 * value**1.5 for value in values]) == pytest.approx(1.5)


def test_growth_is_a_table_and_a_plot(monkeypatch, tmp_path, capsys):
    times = {8: 0.5, 16: 0.25}
    monkeypatch.setattr(cost_growth, "_seconds", lambda _, __, batch, *___: times[batch])
    _grown(monkeypatch, tmp_path)
    assert "| batch size | -1.00 |" in capsys.readouterr().out


@pytest.mark.slow  # above, the same without a network
def test_growth_of_a_real_network(monkeypatch, tmp_path, capsys):
    _grown(monkeypatch, tmp_path)
    assert "| batch size | " in capsys.readouterr().out.split("exponent")[1]


def _grown(monkeypatch, tmp_path):
    tiny = ("--sizes=", "--batches=8,16", "--depths=", "--units=1", "--images=16")
    assert _run(monkeypatch, cost_growth, *tiny, f"--out={tmp_path}", "--precision=fp32") == 0
    rows = list(csv.DictReader((tmp_path / "growth.csv").open()))
    assert [(row["axis"], row["value"]) for row in rows] == [
        ("batch size", "8"),
        ("batch size", "16"),
    ]
    assert all(float(row["seconds_per_epoch"]) > 0 for row in rows)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "present", "absent"),
    [
        (("--plain",), {"FusedBatchNorm", "ResourceApplyAdam"}, {"TfscWinogradConv"}),
        pytest.param(  # the same program on another network
            ("--stock",), {"Mean"}, {"FusedBatchNorm", "ResourceApplyAdam"}, marks=pytest.mark.slow
        ),
        pytest.param(
            (),
            {"TfscWinogradConv", "TfscNormRelu", "ResourceApplyAdam"},
            set(),
            marks=needs_operations,
        ),
    ],
)
def test_a_profile_sums_up_by_operation(monkeypatch, capsys, flags, present, absent):
    tiny = ("--stack_units=1", "--batch_size=4", "--steps=1", "--rows=60", "--precision=fp32")
    assert _run(monkeypatch, profile_step, *tiny, "--parallel", *flags) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in present)
    assert not any(name in said for name in absent)


@pytest.mark.parametrize(
    ("tool", "flag"),
    [
        (bench_input, "--rounds=0"),
        (bench_wide, "--batch_size=0"),
        (profile_step, "--steps=0"),
        (cost_growth, "--sizes=12,x"),
        (bench_start, "--rounds=0"),
    ],
)
def test_bad_flags_are_one_line(monkeypatch, capsys, tool, flag):
    extra = ["--out=x"] if tool is cost_growth else []
    assert flag.partition("=")[0].strip("-") in _refused(monkeypatch, capsys, tool, flag, *extra)


def test_the_tools_show_help_without_tensorflow():
    code = "import sys, bench_train; bench_train.main()"
    program = f"import sys; sys.path.insert(0, {str(TOOLS)!r}); sys.argv[1:] = ['--help']; {code}"
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True
    )
    assert ended.returncode == 0
    assert "tensorflow" not in ended.stderr
