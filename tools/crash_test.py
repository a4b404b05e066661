"""Kill a training run with SIGKILL again and again; show that it ends as if nothing had happened.

    python tools/crash_test.py --kills=25
    python tools/crash_test.py --kills=5 --out=crash -- --flagfile=flags/digits.flags

What follows `--` goes to tfsc.train and replaces the built-in recipe (digits, a tiny network, EMA,
shift and flip, a checkpoint an epoch, export). The same command runs once uninterrupted and once
killed at moments drawn from --seed: anywhere, in training, inside a checkpoint write, inside a
table write, inside the export. Then the two runs are compared bit for bit.

Writes whole/, victim/, whole.log, victim.log, kills.csv and report.md into --out. Exits with 0 if
the two runs are equal and every kill happened and lost no checkpoint, else with 1. A SIGKILL
leaves the kernel alive: this shows nothing of power cuts.
"""

import collections
import csv
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tfsc.command_line import command  # noqa: E402
from tfsc.errors import RecipeError, TfscError  # noqa: E402
from tfsc.reporting.compare import differences, metrics_without_timings  # noqa: E402

TRAIN_FLAGS: list[str] = []  # those after `--`

ANYWHERE, TRAINING, CHECKPOINT, TABLE, EXPORT = (
    "anywhere",
    "training",
    "checkpoint write",
    "table write",
    "export",
)

# What to wait for, by kind: file names, the temporary one first. Each moment aims at one of them;
# the renamed file counts as well, for a write may be over between two looks.
TARGETS = {
    CHECKPOINT: {
        "arrays": (r"\.step-.*\.npz.*tmp",),
        "arrays without record": (r"step-.*\.npz",),
        "record": (r"\.step-.*\.json.*tmp", r"step-.*\.json"),
        "removal of old ones": (r"step-.*\.json",),
    },
    TABLE: {
        name: (rf"\.{re.escape(name)}.*tmp", re.escape(name))
        for name in ("metrics.csv", "curves.png", "summary.json")
    },
    # Paths in the unfinished export, which is gone with the rename.
    EXPORT: {
        "tracing": (".",),
        "SavedModel": ("saved_model/variables",),
        "network.keras": ("network.keras",),
        "record": ("export.json",),
        "rename": (),
    },
}

# Half of the kills come at the first sight of such a file, the others up to so many seconds later;
# arrays of some megabytes take longer to reach the disk than the rest.
LONGEST_DELAY = 0.002
LONGEST_DELAYS = {"arrays": 0.01, "SavedModel": 0.02, "network.keras": 0.02}
SHORTEST_PAUSE = 0.00005  # between two looks for a write of a millisecond

# A kill comes at the latest when its process has finished so many epochs: however fast the machine
# gets, the run cannot end before its kills.
MOST_EPOCHS = 2
LAST_EPOCHS = 2  # kept for the kills inside the export
TIMEOUT = 1800  # seconds without an end: something hangs


def main() -> None:
    """Run the test as the flags say, and exit with its verdict."""
    kills, seed = flags.FLAGS.kills, flags.FLAGS.seed
    out = output_directory(flags.FLAGS.out)
    print(f"writing to {out}", flush=True)
    recipe = TRAIN_FLAGS or default_recipe(kills)
    # An end by SIGTERM, too, must end the process under test.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))

    timings = run_whole(Command(recipe, out / "whole", out / "whole.log"))
    print(
        f"uninterrupted: {timings.epochs} epochs in {timings.total:.1f} s, the first after "
        f"{timings.first_epoch:.1f} s, the others {timings.epoch:.2f} s each, the export "
        f"{timings.export:.2f} s",
        flush=True,
    )
    moments = draw_moments(kills, timings.export > 0, np.random.default_rng(seed))
    needed = epochs_for(moments)
    if timings.epochs < needed:
        raise RecipeError(
            f"--kills={kills}: needs a run of at least {needed} epochs, this one has "
            f"{timings.epochs}"
        )

    victim = Victim(Command(recipe, out / "victim", out / "victim.log"), timings, out / "whole")
    for moment in moments:
        kill = victim.kill_at(moment)
        if kill is None:
            break
        print(f"kill {kill.number}/{kills}  {', '.join(kill.cells()[1:6])}", flush=True)
    victim.finish()

    found = differences(out / "whole", out / "victim") if not victim.ended else []
    equal, line = verdict(victim.kills, kills, [*victim.faults, *found])
    write_table(out / "kills.csv", victim.kills)
    report = f"{markdown(victim.kills)}\n\n{line}\n"
    (out / "report.md").write_text(report, encoding="utf-8")
    print(f"\n{report}", flush=True)
    if not equal:
        sys.exit(1)


def define_flags() -> None:
    flags.DEFINE_integer("kills", 25, "How often to kill the run.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_integer("seed", 0, "Seed of the moments.", lower_bound=0)
    flags.DEFINE_string("out", "", "New or empty directory for all output; empty: a temporary one.")


def check_flags(values: flags.FlagValues) -> None:
    """Rules about the flags beyond what each one's parser knows."""
    out = Path(values.out)
    if values.out and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RecipeError(f"--out={out}: must be a new or an empty directory")
    for flag in TRAIN_FLAGS:
        if re.match(r"--?run_dir\b", flag):
            raise RecipeError(f"{flag}: must not be given, the runs are in --out")


def output_directory(name: str) -> Path:
    if not name:
        return Path(tempfile.mkdtemp(prefix="tfsc-crash-test-"))
    path = Path(name).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def default_recipe(kills: int) -> list[str]:
    """A run of a few steps an epoch with all that a run can have, long enough for its kills."""
    epochs = MOST_EPOCHS * kills + LAST_EPOCHS
    return [
        "--dataset=digits",
        "--model=resnet_v2([1,1])",
        "--train_examples=150",
        "--batch_size=32",
        f"--epochs={epochs}",
        f"--schedule=[1e-4,0]lin[1e-3,1]cos[1e-5,{epochs}]",
        "--average=ema(0.9)",
        "--augment=shift(0.07) flip",
    ]


@dataclass(frozen=True)
class Command:
    """A command line of tfsc.train with the place of its run and of all it prints."""

    recipe: list[str]
    run_dir: Path
    log: Path

    def start(self) -> "Process":
        return Process(self)


class Process:
    """One process of a run, in a process group of its own; a context that leaves none behind."""

    def __init__(self, command: Command):
        self.run_dir, self.log = command.run_dir, command.log
        self.train_log = self.run_dir / "train.log"
        self._train_log_before, self._log_before = _size(self.train_log), _size(self.log)
        line = [sys.executable, "-P", "-m", "tfsc.train", *command.recipe]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.log.open("ab") as output:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                [*line, f"--run_dir={self.run_dir}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> bool:
        """SIGKILL to the whole group; false if the process had ended by itself."""
        if not self.running():
            return False
        os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait() == -signal.SIGKILL

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = math.inf, pause: float = 0.005
    ) -> bool:
        """Look again and again until the condition or the time has come; false if it ends first.

        Args:
            condition: what to wait for.
            seconds: how long at most.
            pause: between two looks, in seconds.

        Raises:
            TfscError: if nothing of it happens.
        """
        begin = time.monotonic()
        while time.monotonic() < begin + seconds and not condition():
            if not self.running():
                return False
            if time.monotonic() > begin + TIMEOUT:
                raise TfscError(f"a run hangs; {self.last_words()}")
            time.sleep(pause)
        return self.running()

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        self.wait_until(lambda: False)
        return self._process.wait()

    def logged(self) -> list[str]:
        """Lines it has added to train.log, without their dates."""
        return [line[20:] for line in _text_from(self.train_log, self._train_log_before)]

    def epochs(self) -> int:
        """Epochs it has finished, up to the line in train.log."""
        return sum(line.startswith("epoch ") for line in self.logged())

    def printed(self) -> list[str]:
        return _text_from(self.log, self._log_before)

    def failed_by_itself(self) -> bool:
        return any(line.startswith("Traceback") for line in self.printed())

    def last_words(self) -> str:
        return f"{self.log} ends: " + " / ".join(self.printed()[-5:])

    def resumed_after(self, last_step: int) -> int | None:
        """The step from which it went on; None if it was killed before it said so."""
        lines = self.logged()
        for line in lines:
            if found := re.match(r"resuming after step (\d+) of ", line):
                return int(found[1])
        if any("done already" in line for line in self.printed()):
            return last_step
        return 0 if lines else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _text_from(path: Path, offset: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace").splitlines()


@dataclass(frozen=True)
class Timings:
    """What the uninterrupted run took, in seconds, and its length."""

    first_line: float
    first_epoch: float
    epoch: float
    export: float
    total: float
    epochs: int


def run_whole(command: Command) -> Timings:
    """Run to the end without a kill and measure it.

    Raises:
        TfscError: if it fails.
    """
    lines, exports = [], []

    def look() -> bool:
        now = process.seconds
        lines.extend([now] * (len(process.logged()) - len(lines)))
        if partial_exports(command.run_dir):
            exports.append(now)
        return False

    with command.start() as process:
        process.wait_until(look, pause=0.002)
        code, total = process.wait(), process.seconds
        if code or process.failed_by_itself():
            raise TfscError(
                f"the uninterrupted run ended with exit code {code}; {process.last_words()}"
            )
        epochs = process.epochs()
    # A line at the start, one an epoch, "done".
    first, last = lines[1], lines[epochs]
    return Timings(
        first_line=lines[0],
        first_epoch=first,
        epoch=(last - first) / max(epochs - 1, 1),
        export=exports[-1] - exports[0] if exports else 0.0,
        total=total,
        epochs=epochs,
    )


def partial_exports(run_dir: Path) -> set[Path]:
    """Directories of exports that are being written, or were when their process died."""
    return {path for path in run_dir.glob(".export*") if path.is_dir()}


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Args:
        kind: one of the kinds above.
        target: what it aims at within the kind.
        after_epochs: epochs its process finishes before the moment is looked for.
        fraction: how much of the longest delay, 0–1.
        last: whether no kill comes after it.
    """

    kind: str
    target: str
    after_epochs: int
    fraction: float
    last: bool = False


def draw_moments(kills: int, export: bool, rng: np.random.Generator) -> list[Moment]:
    """Moments of all kinds in random order, those inside the export last."""
    exports = max(kills // 5, int(kills > 1)) if export else 0
    kinds = [(CHECKPOINT, TRAINING, TABLE, ANYWHERE)[k % 4] for k in range(kills - exports)]
    kinds = [*rng.permutation(kinds).tolist(), *[EXPORT] * exports]
    seen = collections.Counter()
    moments = []
    for number, kind in enumerate(kinds, start=1):
        # One target after the other, from a random one on, so that few kills meet many.
        targets = [name for name in TARGETS.get(kind, ("",)) if name != "rename"]
        if kind not in seen:
            seen[kind] = int(rng.integers(len(targets)))
        target = targets[seen[kind] % len(targets)]
        seen[kind] += 1
        if number == kills and exports > 1:
            target = "rename"  # after it the run is done: there is no other kill
        after_epochs, fraction = int(rng.integers(2)), float(rng.random())
        moments.append(Moment(kind, target, after_epochs, fraction, last=number == kills))
    return moments


def epochs_for(moments: list[Moment]) -> int:
    """How many epochs a run must have so that it cannot end before its kills."""
    return MOST_EPOCHS * sum(moment.kind != EXPORT for moment in moments) + LAST_EPOCHS


@dataclass
class Kill:
    """One kill: what was seen, and where the next process went on."""

    number: int
    kind: str
    target: str
    seconds: float
    last_line: str
    left_behind: str
    checkpoint_step: int
    resumed_step: int | None = None
    finished_steps_lost: int | None = None

    def cells(self) -> list[str]:
        """A row of the report."""
        return [
            str(self.number),
            f"{self.kind}: {self.target}" if self.target else self.kind,
            f"{self.seconds:.2f} s",
            self.last_line or "nothing",
            self.left_behind or "nothing",
            f"step {self.checkpoint_step}" if self.checkpoint_step else "none",
            _or_unknown(self.resumed_step),
            _or_unknown(self.finished_steps_lost),
        ]


HEADINGS = (
    "#",
    "moment",
    "after",
    "last log line",
    "left unfinished",
    "newest checkpoint",
    "went on after step",
    "finished steps lost",
)


def _or_unknown(number: int | None) -> str:
    return "?" if number is None else str(number)


class Victim:
    """The run that is killed: its kills so far, and whatever went wrong with it."""

    def __init__(self, command: Command, timings: Timings, whole: Path):
        self.command, self.timings = command, timings
        self.run_dir = command.run_dir
        self.rows = metrics_without_timings(whole)
        self.kills: list[Kill] = []
        self.faults: list[str] = []
        self.ended = False  # before its time: there is nothing to kill or to compare

    def kill_at(self, moment: Moment) -> Kill | None:
        """Start the run and kill it at that moment; None if it ended before, which is a fault."""
        with self.command.start() as process:
            reached = self._wait_for(moment, process)
            seconds = process.seconds
            killed = process.kill() and reached
        number = len(self.kills) + 1
        if not killed:
            self._book_end(process, f"before kill {number} ({moment.kind}) ")
            return None
        self._book_start(process)
        kill = Kill(
            number=number,
            kind=moment.kind,
            target=moment.target,
            seconds=round(seconds, 3),
            last_line=_shortened(_text_from(process.train_log, 0)),
            left_behind=", ".join(unfinished(self.run_dir)),
            checkpoint_step=newest_checkpoint(self.run_dir),
        )
        self.kills.append(kill)
        self.faults += [f"kill {number} left {what}" for what in damage(self.run_dir, self.rows)]
        return kill

    def finish(self) -> None:
        """Let the run come to its end."""
        if self.ended:
            return
        with self.command.start() as process:
            code = process.wait()
        self._book_start(process)
        if code or process.failed_by_itself():
            self._book_end(process, "after the kills ")

    def _wait_for(self, moment: Moment, process: Process) -> bool:
        """Wait for the moment; false if the process ends before."""
        times, fraction = self.timings, moment.fraction

        def far_enough() -> bool:
            return process.epochs() >= MOST_EPOCHS

        if moment.kind == ANYWHERE:
            return process.wait_until(
                far_enough, fraction * (times.first_epoch + MOST_EPOCHS * times.epoch)
            )
        if moment.kind == TRAINING:
            if not process.wait_until(lambda: bool(process.logged())):
                return False
            span = times.first_epoch - times.first_line + times.epoch
            if moment.after_epochs:
                process.wait_until(lambda: process.epochs() > 0)
                span = 2 * times.epoch
            return process.wait_until(far_enough, fraction * span)
        if moment.kind == EXPORT:
            return self._wait_in_export(moment, process)
        process.wait_until(lambda: process.epochs() >= moment.after_epochs and process.logged())
        folder = self.run_dir / "checkpoints" if moment.kind == CHECKPOINT else self.run_dir
        patterns = [re.compile(pattern) for pattern in TARGETS[moment.kind][moment.target]]
        before = _matching(folder, patterns)
        if not process.wait_until(
            lambda: bool(_matching(folder, patterns) - before), pause=SHORTEST_PAUSE
        ):
            return False
        return self._delay(moment, process)

    def _wait_in_export(self, moment: Moment, process: Process) -> bool:
        before = partial_exports(self.run_dir)

        def current() -> set[Path]:
            return partial_exports(self.run_dir) - before

        def has(name: str) -> bool:
            return any((path / name).exists() for path in current())

        def over() -> bool:
            # Another kill inside the export needs a run that is not done.
            return not current() or (not moment.last and has("export.json"))

        if not process.wait_until(lambda: bool(current())):
            return False
        if moment.target == "tracing":
            return process.wait_until(over, moment.fraction * self.timings.export)
        names = TARGETS[EXPORT][moment.target]
        if not process.wait_until(
            lambda: not current() or any(map(has, names)), pause=SHORTEST_PAUSE
        ):
            return False
        return self._delay(moment, process, over)

    def _delay(
        self, moment: Moment, process: Process, over: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait from the first sight of a file to the kill."""
        longest = LONGEST_DELAYS.get(moment.target, LONGEST_DELAY)
        seconds = max(0, 2 * moment.fraction - 1) * longest
        return process.wait_until(over, seconds, pause=SHORTEST_PAUSE)

    def _book_start(self, process: Process) -> None:
        """Note for the kills before where this process went on."""
        last_step = int(self.rows[-1]["step"])
        step = process.resumed_after(last_step)
        if step is None:
            return
        for kill in self.kills:
            if kill.resumed_step is None:
                kill.resumed_step = step
                epoch = re.match(r"epoch (\d+)/", kill.last_line)
                finished = int(self.rows[int(epoch[1]) - 1]["step"]) if epoch else 0
                kill.finished_steps_lost = max(finished - step, 0)
                if step < kill.checkpoint_step:
                    self.faults.append(
                        f"after kill {kill.number} the run went on after step {step}, though there "
                        f"was a checkpoint of step {kill.checkpoint_step}"
                    )

    def _book_end(self, process: Process, when: str) -> None:
        """Note that a process ended by itself."""
        self.ended = True
        how = "failed" if process.failed_by_itself() else "ended"
        self.faults.append(f"{when}the process {how} by itself; {process.last_words()}")


def _matching(folder: Path, patterns: list[re.Pattern]) -> set[tuple[str, int, int]]:
    """Files of such names; one that is written anew is another one."""
    found = set()
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if any(pattern.fullmatch(entry.name) for pattern in patterns):
            try:
                status = entry.stat()
            except FileNotFoundError:  # renamed or removed meanwhile; the next look sees that
                continue
            found.add((entry.name, status.st_ino, status.st_mtime_ns))
    return found


def unfinished(run_dir: Path) -> list[str]:
    """What a killed process had begun: temporary files, arrays without record, parts of exports."""
    temporary = [
        f"{path.relative_to(run_dir)} ({path.stat().st_size} bytes)"
        for path in sorted(run_dir.rglob(".*tmp"))
        if path.is_file() and not path.relative_to(run_dir).parts[0].startswith(".export")
    ]
    recorded = {record["arrays"] for record in _records(run_dir)}
    arrays = [
        f"checkpoints/{path.name} without record"
        for path in sorted((run_dir / "checkpoints").glob("step-*.npz"))
        if path.name not in recorded
    ]
    exports = [
        f"{path.name} ({sum(file.is_file() for file in path.rglob('*'))} files)"
        for path in sorted(partial_exports(run_dir))
    ]
    return [*temporary, *arrays, *exports]


def _records(run_dir: Path) -> list[dict[str, Any]]:
    """Records of checkpoints that can be read, oldest first."""
    paths = sorted((run_dir / "checkpoints").glob("step-*.json"))
    return [record for record in map(_json, paths) if isinstance(record, dict)]


def _json(path: Path) -> dict[str, Any] | str:
    """A JSON file's content, or what is wrong with it."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        return str(error)


def newest_checkpoint(run_dir: Path) -> int:
    """Step of the newest committed checkpoint; 0 if there is none."""
    return max((record["step"] for record in _records(run_dir)), default=0)


def damage(run_dir: Path, rows: list[dict[str, str]]) -> list[str]:
    """Files under their final names that are not whole, which no kill may leave.

    Args:
        run_dir: the run that was killed.
        rows: of the uninterrupted run's metrics.csv.
    """
    found = [
        f"a damaged {path.relative_to(run_dir)}: {content}"
        for path in sorted(run_dir.glob("**/*.json"))
        if not path.relative_to(run_dir).parts[0].startswith(".")
        and isinstance(content := _json(path), str)
    ]
    now = metrics_without_timings(run_dir)
    if now != rows[: len(now)]:
        found.append("a metrics.csv that is no beginning of the uninterrupted run's")
    found += [
        f"a record of checkpoints/{record['arrays']} and not the file"
        for record in _records(run_dir)
        if not (run_dir / "checkpoints" / record["arrays"]).is_file()
    ]
    if (run_dir / "export").exists() and not (run_dir / "export/export.json").is_file():
        found.append("half an export under its final name")
    return found


def _shortened(log: list[str]) -> str:
    """The last line of train.log up to the numbers; the line of a start has none to keep."""
    line = log[-1][20:] if log else ""
    return "start" if " training examples, " in line else re.split("  |: ", line)[0]


def verdict(kills: list[Kill], planned: int, found: list[str]) -> tuple[bool, str]:
    """Whether the test is passed, and a line that says so.

    Args:
        kills: those that happened.
        planned: how many there had to be.
        found: what went wrong and in what the two runs differ.
    """
    kinds = collections.Counter(kill.kind for kill in kills)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds, key=_order))
    if len(kills) < planned:
        found = [f"only {len(kills)} of {planned} kills happened", *found]
    if found:
        return False, f"FAILED after {len(kills)} kills ({counts or 'none'}): {'; '.join(found)}"
    return True, (
        f"PASSED: after {planned} kills of one run ({counts}) its weights, metrics.csv, "
        "summary.json, split and export equal those of the uninterrupted run, bit for bit, "
        "timings aside; no checkpoint was lost."
    )


def _order(kind: str) -> int:
    return (ANYWHERE, TRAINING, CHECKPOINT, TABLE, EXPORT).index(kind)


def markdown(kills: list[Kill]) -> str:
    """The kills as a Markdown table."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(kill.cells() for kill in kills)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_table(path: Path, kills: list[Kill]) -> None:
    """Write kills.csv."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Kill)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(kill) for kill in kills)


if __name__ == "__main__":
    if "--" in sys.argv:
        place = sys.argv.index("--")
        TRAIN_FLAGS = sys.argv[place + 1 :]
        del sys.argv[place:]
    define_flags()
    command.run(main, check=check_flags)
