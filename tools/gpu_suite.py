"""What a GPU makes of tfsc: step times, joules, and a full run, in one call under nine minutes.

    python tools/gpu_suite.py --out=gpu --data_dir=<tfds>
    python tools/gpu_suite.py --out=small --setting=small    # seconds, on a CPU as well

Times training steps per precision × XLA × batch size, and ways to feed them, the most telling
first; then trains Type I by the fastest it found, with what is left of --budget_s. Step times
yield to that run: what would not leave it enough is skipped. When the budget ends, the run gets
SIGTERM, saves a checkpoint and says so.

Writes into --out: results.json, anew after each measurement; table.md; run/, the run's directory;
worker.log and run.log. The same command again measures what is missing and resumes the run. Exits
with 1 if nothing could be measured.
"""

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "bench")]

import measure  # noqa: E402

# This process does not import TensorFlow: it would reserve the memory of the GPU.


@dataclass(frozen=True)
class Config:
    """One way to compute a step."""

    precision: str
    xla: str = "on"
    batch_size: int = 64
    data_on: str = "device"
    steps_per_execution: int = 20

    def flags(self) -> list[str]:
        return [f"--{name}={value}" for name, value in dataclasses.asdict(self).items()]

    def __str__(self) -> str:
        return (
            f"{self.precision} xla={self.xla} batch={self.batch_size} data_on={self.data_on} "
            f"steps_per_execution={self.steps_per_execution}"
        )


@dataclass(frozen=True)
class Setting:
    """How much to measure.

    Attributes:
        configs: in order of importance. TensorFlow's choice of kernels outlives a change of
            TF32, so fp32 and the others need processes of their own: the fewer changes, the
            fewer starts.
        default: how the run computes if none of its batch size could be measured.
        dataset: unless --dataset says otherwise.
        flags: of every recipe.
        run_flags: of the run alone.
        steps: of the run.
        run_seconds: what the run needs beside compilation and steps: start, 25 evaluations, ...
        seconds: to time each configuration.
        guess: seconds that a configuration takes before one is known, with and without XLA.
        limit: seconds after which a configuration is given up.
        grace: seconds between SIGTERM and the end of the budget, for the run's last checkpoint.
        needs_gpu: whether a machine without one is an error.
    """

    configs: tuple[Config, ...]
    default: Config
    dataset: str
    flags: tuple[str, ...]
    run_flags: tuple[str, ...]
    steps: int
    run_seconds: float
    seconds: float
    guess: dict[str, float]
    limit: float
    grace: float
    needs_gpu: bool


def _full_configs() -> Iterator[Config]:
    yield from (Config("fp32"), Config("fp32", "off"))
    yield from (Config("bf16"), Config("bf16", "off"), Config("tf32"))
    yield from (Config("bf16", data_on=place) for place in ("host", "prefetch"))
    yield from (Config("bf16", data_on=p, steps_per_execution=1) for p in ("host", "device"))
    yield from (Config("bf16", batch_size=1024), Config("bf16", batch_size=256))
    yield from (Config("fp16"), Config("tf32", "off"), Config("fp16", "off"))
    for precision in ("tf32", "fp16"):
        yield from (Config(precision, batch_size=size) for size in (1024, 256))
    for precision in ("bf16", "tf32", "fp16"):
        yield from (Config(precision, "off", size) for size in (1024, 256))
    yield from (Config("fp32", xla, size) for xla in ("on", "off") for size in (1024, 256))


SETTINGS = {
    "full": Setting(
        configs=tuple(_full_configs()),
        default=Config("bf16"),
        dataset="cifar10",
        flags=("--wd=0.19",),
        run_flags=("--export=false",),
        steps=25 * 781,
        run_seconds=75,
        seconds=3,
        guess={"on": 75, "off": 35},
        limit=150,
        grace=30,
        needs_gpu=True,
    ),
    "small": Setting(
        configs=(
            Config("fp32", "off", 25, "host", 1),
            Config("bf16", "on", 25, "device", 2),
            Config("fp16", "off", 25, "prefetch", 2),
        ),
        default=Config("fp32", "off", 25, "host", 1),
        dataset="digits",
        flags=("--model=resnet_v2([1])", "--train_examples=100", "--schedule=1e-3"),
        run_flags=("--export=false", "--epochs=2"),
        steps=8,
        run_seconds=10,
        seconds=0.1,
        guess={"on": 10, "off": 10},
        limit=60,
        grace=5,
        needs_gpu=False,
    ),
}


def main() -> int:
    started = time.monotonic()
    arguments = _arguments()
    setting = SETTINGS[arguments.setting]
    flags = [f"--dataset={arguments.dataset or setting.dataset}", *setting.flags]
    if arguments.data_dir:
        flags.append(f"--data_dir={arguments.data_dir}")
    # An end from outside must end the processes below, too.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    budget = Budget(arguments.budget_s, started)
    results = Results(arguments.out, arguments.setting, flags)
    to_run = not arguments.skip_run and (results.content["run"] or {}).get("status") != "done"
    try:
        StepTimes(setting, flags, results, budget, to_run, arguments.allow_cpu).measure()
        if to_run:
            measure_run(setting, flags, results, budget)
    except WrongMachine as error:
        results.update(error=str(error))
        print(f"gpu_suite: {error}", file=sys.stderr)
    results.update(seconds=round(budget.spent(), 1))
    print(f"\n{results.table()}", flush=True)
    return 0 if results.measured_anything() else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for all output")
    parser.add_argument("--budget_s", type=float, default=540, help="seconds in all (default 540)")
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="how much (full)")
    parser.add_argument("--dataset", default="", help="default cifar10; small: digits")
    parser.add_argument("--data_dir", default="", help="TFDS directory; default TFDS_DATA_DIR, ...")
    parser.add_argument("--skip_run", action="store_true", help="step times only")
    parser.add_argument(
        "--allow_cpu", action="store_true", help="measure a machine without GPU (full: hours)"
    )
    arguments = parser.parse_args()
    if arguments.budget_s <= 0:
        parser.error(f"--budget_s={arguments.budget_s:g}: must be above 0")
    return arguments


class WrongMachine(Exception):
    """There is no GPU where one is meant to be measured, or another one than before."""


class Budget:
    """Seconds since a start, and what is left."""

    def __init__(self, seconds: float, started: float):
        self.seconds, self._started = seconds, started

    def spent(self) -> float:
        return time.monotonic() - self._started

    def left(self) -> float:
        return self.seconds - self.spent()


class Results:
    """What is known, on disk after each change.

    Args:
        out: directory of results.json and table.md; what an earlier call measured is kept.
        setting: its name.
        flags: of every recipe.
    """

    def __init__(self, out: Path, setting: str, flags: list[str]):
        self.out = out
        self.content: dict[str, Any] = {
            "setting": setting,
            "flags": flags,
            "steps": [],
            "run": None,
        }
        out.mkdir(parents=True, exist_ok=True)
        path = out / "results.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if (before.get("setting"), before.get("flags")) == (setting, flags):
            self.content = before
            self.content.pop("error", None)
        self.update(command=["python", *sys.argv])

    def update(self, **content: Any) -> None:
        self.content |= {"written": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **content}
        measure.write_json(self.out / "results.json", self.content)
        (self.out / "table.md").write_text(self.table() + "\n", encoding="utf-8")

    def find(self, config: Config) -> dict[str, Any] | None:
        mine = dataclasses.asdict(config)
        return next((row for row in self.content["steps"] if mine.items() <= row.items()), None)

    def add(self, config: Config, **figures: Any) -> None:
        """Record a configuration, in place of what was known of it."""
        rows = [row for row in self.content["steps"] if row is not self.find(config)]
        self.update(steps=[*rows, {**dataclasses.asdict(config), **figures}])

    def good(self) -> list[dict[str, Any]]:
        return [row for row in self.content["steps"] if row["status"] == "ok"]

    def measured_anything(self) -> bool:
        return bool(self.good() or (self.content["run"] or {}).get("epochs"))

    def table(self) -> str:
        """What was measured, as Markdown."""
        machine = self.content.get("machine", {})
        device = machine.get("device", {})
        lines = [f"{', '.join(device.get('gpus') or [device.get('cpu', 'nothing measured')])}"]
        if packages := machine.get("packages"):
            lines[0] += "; " + ", ".join(f"{name} {number}" for name, number in packages.items())
        if machine.get("not_measured"):
            lines.append(f"No joules, no utilisation: {machine['not_measured']}.")
        rows = [
            [
                *(row[field.name] for field in dataclasses.fields(Config)),
                *(_cell(row.get(name)) for name in _COLUMNS),
                row.get("error", "").replace("|", "/")[:160],
            ]
            for row in self.content["steps"]
        ]
        header = [field.name for field in dataclasses.fields(Config)]
        lines.append(measure.markdown([*header, *_COLUMNS.values(), ""], rows))
        if run := self.content["run"]:
            lines.append(_run_text(run))
        if error := self.content.get("error"):
            lines.append(error)
        return "\n\n".join(lines)


_COLUMNS = {
    "images_per_second": "images/s",
    "step_ms": "ms a step",
    "train_seconds_per_epoch": "s an epoch",
    "compile_seconds": "compilation s",
    "utilization": "utilisation",
    "joules_per_1000_images": "J per 1,000 images",
    "peak_gpu_mib": "peak GPU MiB",
}


def _cell(value: float | None) -> str:
    """Three digits, but no exponent."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _run_text(run: dict[str, Any]) -> str:
    lines = [f"`{' '.join(['python', *run['command'][1:]])}`: {run['outcome']}"]
    summary = run.get("summary") or {}
    if final := summary.get("final"):
        joules = summary["joules"]
        lines.append(
            f"after epoch {final['epoch']}: validation accuracy {final['val_accuracy']:.4f}, "
            f"{summary['seconds']['total']:.0f} s in all, {summary['seconds']['train']:.0f} s "
            f"training, {summary['images_per_second'] or 0:.0f} images/s, "
            f"{'joules not measured' if joules is None else f'{joules:.0f} J'}, threshold "
            f"{summary['threshold']}: {'' if summary['reached_threshold'] else 'not '}reached"
        )
    return "; ".join(lines)


class StepTimes:
    """Times configurations by workers, one at a time.

    Args:
        setting: what to measure.
        flags: of every recipe.
        results: where to.
        budget: of the whole suite.
        keep_for_run: whether a run is to follow.
        allow_cpu: whether a machine without a GPU will do.
    """

    def __init__(
        self,
        setting: Setting,
        flags: list[str],
        results: Results,
        budget: Budget,
        keep_for_run: bool,
        allow_cpu: bool,
    ):
        self.setting, self.flags, self.results, self.budget = setting, flags, results, budget
        self.keep_for_run = keep_for_run
        self.needs_gpu = setting.needs_gpu and not allow_cpu
        self._worker: Worker | None = None
        self._tf32 = False  # what the worker has computed with
        self._has_gpu = False

    def measure(self) -> None:
        """Time each configuration that is not known yet, as far as the budget goes.

        Raises:
            WrongMachine: if that is found out.
        """
        try:
            for config in self.setting.configs:
                known = self.results.find(config)
                if known is None or known["status"] != "ok":
                    self._measure(config)
        finally:
            self._close()

    def _measure(self, config: Config) -> None:
        left = self.budget.left()
        if self.keep_for_run:
            left -= needed_for_run(self.setting, self.results, self.budget)
        if left < self._expected_seconds(config):
            self.results.add(config, status="skipped", error="skipped: the budget ends")
            return
        started = time.monotonic()
        try:
            answer = self._ask(config, min(left, self.setting.limit))
        except WorkerFailed as error:
            answer = {"error": str(error)}
        if "error" in answer and not answer.get("refused"):
            self._close()  # what an error leaves in the GPU's memory is unknown
        seconds = round(time.monotonic() - started, 1)
        status = "failed" if "error" in answer else "ok"
        self.results.add(config, status=status, seconds=seconds, **answer)
        outcome = answer.get("error") or f"{answer['images_per_second']:.0f} images/s"
        print(f"{self.budget.spent():5.0f} s  {config}: {outcome}", flush=True)

    def _expected_seconds(self, config: Config) -> float:
        """The longest that its like has taken."""
        known = [row["seconds"] for row in self.results.good() if row["xla"] == config.xla]
        return max(known, default=self.setting.guess[config.xla])

    def _ask(self, config: Config, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        tf32 = config.precision != "fp32"
        if self._has_gpu and tf32 != self._tf32:
            self._close()
        if self._worker is None:
            self._worker = Worker(self.results.out / "worker.log")
            machine = self._worker.receive(end - time.monotonic())
            self._check(machine)
            self.results.update(machine=machine)
            self._has_gpu = bool(machine["device"]["gpus"])
        self._tf32 = tf32
        self._worker.send(
            {"flags": [*self.flags, *config.flags()], "seconds": self.setting.seconds}
        )
        return self._worker.receive(end - time.monotonic())

    def _check(self, machine: dict[str, Any]) -> None:
        gpus = machine["device"]["gpus"]
        if self.needs_gpu and not gpus:
            raise WrongMachine(
                f"TensorFlow sees no GPU (it is built for {machine['built_for']}); --allow_cpu "
                f"measures the CPU. worker.log ends: {self._worker.last_words()}"
            )
        before = self.results.content.get("machine", machine)["device"]["gpus"]
        if before != gpus and self.results.good():
            raise WrongMachine(f"{self.results.out} has results of {before}, this is {gpus}")

    def _close(self) -> None:
        if self._worker:
            self._worker.close()
        self._worker = None


def needed_for_run(setting: Setting, results: Results, budget: Budget) -> float:
    """Seconds to keep for the run: by the fastest configuration so far, at most half of all."""
    config = fastest(setting, results)
    row = results.find(config) or {}
    compile_seconds = row.get("compile_seconds", setting.guess[config.xla] / 2)
    step = row.get("step_ms", 5.0) / 1000
    # Training and evaluation are compiled; a run's steps take a little longer than timed ones.
    seconds = setting.run_seconds + 2 * compile_seconds + 1.1 * step * setting.steps
    return min(seconds, budget.seconds / 2)


def fastest(setting: Setting, results: Results) -> Config:
    """How to compute the run: its batch size is the recipe's, what else is fastest.

    fp16 is left out: a step that its loss scale rejects would be missing in the recipe's schedule.
    """
    names = [field.name for field in dataclasses.fields(Config)]
    fit = [
        row
        for row in results.good()
        if row["batch_size"] == setting.default.batch_size and row["precision"] != "fp16"
    ]
    if not fit:
        return setting.default
    best = max(fit, key=lambda row: row["images_per_second"])
    return Config(**{name: best[name] for name in names})


class WorkerFailed(Exception):
    """A worker died or did not answer in time."""


class Worker:
    """A process that times configurations, one after the other (tools/bench/step_timing.py).

    One process for many, as importing TensorFlow takes longer than timing steps. Not this process,
    as XLA can abort or hang where no exception comes, and as the run needs all of the GPU's memory.

    Args:
        log: what the process and its libraries print.
        command: to start another program.
    """

    def __init__(self, log: Path, command: list[str] | None = None):
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command or [sys.executable, str(ROOT / "tools/bench/step_timing.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=_environment(),
                start_new_session=True,
            )

    def send(self, request: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            WorkerFailed: if it does not come in time, or never.
        """
        output = self._process.stdout
        if not select.select([output], [], [], max(seconds, 0))[0]:
            raise WorkerFailed(f"no answer within {seconds:.0f} s")
        line = output.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        return json.loads(line)

    def last_words(self) -> str:
        """The last lines of its log, as one."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip()[:300] for line in lines[-3:]) or "(nothing)"

    def close(self) -> None:
        """End it, and wait until its memory is free."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _death(self) -> WorkerFailed:
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return WorkerFailed(f"the process was {how}: {self.last_words()}")


def measure_run(setting: Setting, flags: list[str], results: Results, budget: Budget) -> None:
    """Train by the fastest configuration, or resume that run, until the budget ends."""
    run_dir = results.out / "run"
    config = fastest(setting, results)
    if run_dir.exists() and results.content["run"]:
        config = Config(**results.content["run"]["config"])  # that of the run to be resumed
    command = [sys.executable, "-m", "tfsc.train", *flags, *setting.run_flags, *config.flags()]
    command.append(f"--run_dir={run_dir.absolute()}")
    run = {"config": dataclasses.asdict(config), "command": command}
    seconds = budget.left() - setting.grace
    if seconds < setting.grace:
        results.update(run={**run, "status": "skipped", "outcome": "skipped: the budget ended"})
        return
    print(f"{budget.spent():5.0f} s  run: {config}", flush=True)
    results.update(run={**run, "status": "running", "outcome": "running"})
    started = time.monotonic()
    code, stopped = run_until(command, results.out / "run.log", seconds, setting.grace)
    summary_path = run_dir / "summary.json"
    summary = json.loads(summary_path.read_text()) if summary_path.exists() else None
    status = (summary or {}).get("status", "failed")
    outcome = f"{status}, exit code {code}"
    if stopped:
        outcome += f": stopped after {seconds:.0f} s, when the budget ended"
    elif code:
        outcome += ": " + (results.out / "run.log").read_text(errors="replace")[-500:].strip()
    results.update(
        run={
            **run,
            "status": status,
            "outcome": outcome,
            "seconds": round(time.monotonic() - started, 1),
            "summary": summary,
            "epochs": _rows(run_dir / "metrics.csv"),
        }
    )


def run_until(command: list[str], log: Path, seconds: float, grace: float) -> tuple[int, bool]:
    """Run a command; SIGTERM after `seconds`, SIGKILL if it has not ended `grace` seconds later.

    Returns:
        Its exit code, and whether it was stopped.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment()
        )
    try:
        return process.wait(seconds), False
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            return process.wait(grace), True
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(), True
    finally:
        if process.poll() is None:  # this process is being ended
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """With this checkout importable, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError) as error:  # --out cannot be written, or its results.json read
        sys.exit(f"gpu_suite: {error}")
