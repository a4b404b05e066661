"""Train one recipe with several seeds, one process each; print mean ± sd of the final epoch.

    python -m tfsc.repeat --flagfile=flags/digits.flags --seeds=5
    python -m tfsc.repeat --flagfile=flags/seeds/000-type2.flags --tta --out=five -- --wd=0.1

`--flagfile` and what follows `--` go to tfsc.train, with --seed=k and --run_dir=OUT/seed-k. Runs
that are done are left alone, those that were interrupted go on: the same command again does what
is missing. After a run that diverges the next one starts. Ctrl-C and SIGTERM reach the run, which
saves a checkpoint; a second one ends it at once. With --tta tfsc.evaluate scores each export, too.

Writes OUT/repeat.csv, a row a seed, and OUT/repeat.json after each run, and prints at the end n,
mean ± sd (n − 1), smallest and largest of each accuracy of the final epoch, beside them those of
the best epoch, which is picked on the validation set, and the times; wall_seconds is from command
to result, of runs that one process began and ended, commit says which code trained. Seeds of other
calls with the same OUT count as well, also of one that trains some at the same time. Exits with 1
if a run diverged.
"""

import concurrent.futures
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from absl import flags

from tfsc import __version__, files
from tfsc.command_line import command
from tfsc.command_line.parse import parse
from tfsc.errors import Diverged, Interrupted, RecipeError, RunDirectoryError, TfscError
from tfsc.hardware.processor import may_have_gpu
from tfsc.recipe import Recipe, auto_precision, old_spelling
from tfsc.recipe.flags import define_flags
from tfsc.runs.begun_precision import holds, settle
from tfsc.runs.repeats import run_row, table, write_repeats
from tfsc.runs.run_directory import default_run_dir, read_json, read_recipe

ROOT = Path(__file__).resolve().parents[1]  # of the code that the runs run

# This process does not import TensorFlow: it would hold memory that the runs need.

TTA = "export_6_view_tta_accuracy"  # the newest column of tfsc.evaluate's report


def main(train_flags: Sequence[str], command: Sequence[str]) -> None:
    """Repeat as the flags say, print the table, and exit with 1 if a run diverged.

    Args:
        train_flags: for tfsc.train.
        command: as it was typed, for repeat.json.
    """
    values = flags.FLAGS
    seeds = range(values.first_seed, values.first_seed + values.seeds)
    train_flags = without_auto(train_flags, values.out)
    out = Path(values.out or default_out(train_recipe(train_flags)))
    rows = repeat(train_flags, seeds, out, values.tta, command)
    print(f"\n{out}: {table(rows)}", flush=True)
    if any(row["status"] != "done" for row in rows if row["seed"] in seeds):
        sys.exit(1)


def repeat(
    train_flags: Sequence[str], seeds: Sequence[int], out: Path, tta: bool, command: Sequence[str]
) -> list[dict[str, Any]]:
    """Train what is missing, seed by seed, and record it in `out`.

    Returns:
        A row for each run in `out`, of `tfsc.runs.repeats.run_row`, with wall_seconds.

    Raises:
        TfscError: if a directory holds another recipe's run, a run can neither be finished nor
            diverges, or a signal asked this process to stop.
    """
    recipe = train_recipe(train_flags)
    for seed in {*seeds, *begun(out)}:  # before hours of training
        check_run(out / f"seed-{seed}", recipe.replace(seed=seed))
    earlier_wall_seconds(out)  # refuses a damaged record
    about = {
        "command": list(command),
        "tfsc": __version__,
        "recipe": {name: text for name, text in recipe.identity().items() if name != "seed"},
    }
    with Processes() as processes:
        for number, seed in enumerate(seeds, 1):
            run_dir, wall_seconds = out / f"seed-{seed}", {}
            print(f"seed {seed} ({number} of {len(seeds)}): {run_dir}", flush=True)
            for other in begun(out):  # by a call on another machine, meanwhile
                check_run(out / f"seed-{other}", recipe.replace(seed=other))
            row = run_row(run_dir, seed)
            if row["status"] == "done":
                print("done already", flush=True)
            else:
                wall_seconds[seed] = train(processes, train_flags, seed, run_dir)
                row = run_row(run_dir, seed)
            if tta and row["status"] == "done" and TTA not in row:
                evaluate(processes, seed, run_dir)
            rows = record(out, wall_seconds, about)
    return rows


def without_auto(train_flags: Sequence[str], out: str) -> list[str]:
    """The same flags with what `--precision=auto` is, which is said: that of the runs in `out`.

    Args:
        train_flags: for tfsc.train.
        out: directory of all runs; empty: the recipe's own.
    """
    asked = train_recipe(train_flags)
    recipe, line = settle(
        asked,
        place=lambda candidate: Path(out or default_out(candidate)),
        is_begun=lambda place, candidate: any(
            holds(place / f"seed-{seed}", candidate.replace(seed=seed)) for seed in begun(place)
        ),
        on_this_machine=on_this_machine,
    )
    if not line:
        return [*train_flags]
    print(line, flush=True)
    without = ["--nobf16_winograd"] * (asked.bf16_winograd and not recipe.bf16_winograd)
    return [*train_flags, f"--precision={recipe.precision}", *without]


def on_this_machine(recipe: Recipe) -> tuple[Recipe, str]:
    """The function of `auto_precision`, asked in a process of its own where it needs TensorFlow."""
    if not may_have_gpu():
        return auto_precision.on_this_machine(recipe)
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), command.import_tensorflow
    ) as process:
        return process.submit(auto_precision.on_this_machine, recipe).result()


def begun(out: Path) -> list[int]:
    """The seeds that have a run in `out`."""
    names = [path.name for path in out.glob("seed-*") if (path / "recipe.flags").exists()]
    return sorted(int(name[5:]) for name in names if re.fullmatch(r"seed-\d+", name))


def record(
    out: Path, wall_seconds: dict[int, float | None], about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Write repeat.csv and repeat.json of all runs in `out`, and return their rows.

    Args:
        out: where another call may be training other seeds: each waits its turn.
        wall_seconds: by seed, those that this call measured.
        about: what was repeated.
    """
    with files.one_at_a_time(out):
        known = earlier_wall_seconds(out) | wall_seconds
        rows = [run_row(out / f"seed-{seed}", seed) for seed in begun(out)]
        for row in rows:
            if row["status"] == "done" and known.get(row["seed"]) is not None:
                row["wall_seconds"] = known[row["seed"]]
        write_repeats(out, rows, about)
    return rows


def define_tool_flags() -> None:
    flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1, upper_bound=100_000)
    flags.DEFINE_integer("first_seed", 0, "The first one.", lower_bound=0)
    flags.DEFINE_string(
        "out", "", "Directory of all runs; empty: runs/<dataset>-<model>-<digest>-seeds."
    )
    flags.DEFINE_bool(
        "tta", False, "Evaluate each run's export, too: plain, flip-TTA and 6-view TTA."
    )


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line into the tool's own words and those of tfsc.train."""
    own, train_flags, rest = [], [], iter(words)
    for word in rest:
        if word == "--":
            break
        if word in ("--flagfile", "-flagfile"):
            train_flags += [word, *itertools.islice(rest, 1)]
        elif re.match("--?flagfile=", word):
            train_flags.append(word)
        else:
            own.append(word)
    return own, [*train_flags, *rest]


def check_flags(values: flags.FlagValues, train_flags: Sequence[str]) -> None:
    """Rules beyond what each flag's parser knows, those of tfsc.train's flags among them."""
    for flag in train_flags:
        if found := re.match(r"--?(seed|run_dir)\b", flag):
            instead = {"seed": "--first_seed and --seeds", "run_dir": "--out"}[found[1]]
            raise RecipeError(f"{flag}: must not be given, use {instead}")
    recipe = train_recipe(train_flags)
    if values.tta and not recipe.export:
        raise RecipeError("--export=false: must be true with --tta, which evaluates the export")
    recipe.replace(seed=values.first_seed + values.seeds - 1)


def train_recipe(train_flags: Sequence[str]) -> Recipe:
    """What tfsc.train makes of its flags."""
    values = flags.FlagValues()
    define_flags("tfsc.train", flag_values=values)
    parse(
        ["tfsc.train", *train_flags],
        values,
        Recipe.from_flags,
        renamed=old_spelling.answer,
    )
    return Recipe.from_flags(values)


def default_out(recipe: Recipe) -> str:
    """The same recipe finds the same runs, whichever seeds it is asked for."""
    return default_run_dir(recipe.replace(seed=0)).removesuffix("-seed0") + "-seeds"


def check_run(run_dir: Path, recipe: Recipe) -> None:
    """Refuse a directory with a run of another recipe.

    Raises:
        RunDirectoryError: if it is one.
    """
    if not (run_dir / "recipe.flags").exists():
        return
    try:
        before = read_recipe(run_dir)
    except RecipeError as error:
        raise RunDirectoryError(f"{run_dir / 'recipe.flags'}: {error}") from None
    if differences := before.differences(recipe):
        raise RunDirectoryError(
            f"{run_dir}: holds a run of another recipe; name another --out. Its value and yours: "
            + "; ".join(differences)
        )


def earlier_wall_seconds(out: Path) -> dict[int, float]:
    """By seed, those that an earlier call of the tool measured."""
    path = out / "repeat.json"
    try:
        rows = read_json(path).get("runs", [])
        return {row["seed"]: row["wall_seconds"] for row in rows if "wall_seconds" in row}
    except (TypeError, KeyError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error!r}") from None


class Processes:
    """Runs commands one after another; a signal to this process goes to the one that is running.

    Each has a session of its own: a terminal's Ctrl-C would come to it twice, from the terminal and
    from here, and a second one ends a run without a checkpoint. SIGHUP stays ignored where it was,
    as under nohup.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._process: subprocess.Popen | None = None
        self._unsent: int | None = None

    def __enter__(self) -> "Processes":
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._forward) for number in numbers}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        if self._process is None:
            self._unsent = number
        else:
            self._process.send_signal(number)

    def call(self, module: str, *words: str, quiet: bool = False) -> int:
        """Run a command of tfsc to its end; its exit code, negative for a signal that ended it.

        Args:
            module: `tfsc.train` runs that of this checkout, in whatever directory.
            words: its flags.
            quiet: without its standard output.

        Raises:
            Interrupted: if this process was asked to stop, meanwhile or before.
        """
        self._check()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            if self._unsent is not None:  # it came while the process was being made
                process.send_signal(self._unsent)
            code = process.wait()
        finally:
            self._process = None
        self._check()
        return code

    def _check(self) -> None:
        if self.received is not None:
            raise Interrupted(self.received)


def train(
    processes: Processes, train_flags: Sequence[str], seed: int, run_dir: Path
) -> float | None:
    """Train one seed, or the rest of it.

    Returns:
        Seconds from command to result; None if the run had begun before.

    Raises:
        TfscError: if it ended otherwise than done or diverged.
    """
    fresh, started = not run_dir.exists(), time.monotonic()
    words = [*train_flags, f"--seed={seed}", f"--run_dir={run_dir}"]
    code = processes.call("tfsc.train", *words)
    seconds = round(time.monotonic() - started, 1)
    if code not in (0, Diverged.exit_code):
        raise TfscError(f"seed {seed}: tfsc.train {ended(code)}; the same command goes on here")
    return seconds if fresh else None


def evaluate(processes: Processes, seed: int, run_dir: Path) -> None:
    """Write tfsc.evaluate's report on a run's export.

    Raises:
        TfscError: if there is none, or it cannot be evaluated.
    """
    export = run_dir / "export"
    if not export.exists():
        raise TfscError(
            f"{export}: is not there; `python -m tfsc.export --run_dir={run_dir} --out={export}` "
            "makes it"
        )
    if code := processes.call("tfsc.evaluate", f"--export={export}", quiet=True):
        raise TfscError(f"seed {seed}: tfsc.evaluate {ended(code)}")


def ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


if __name__ == "__main__":
    typed = ["python", "-m", "tfsc.repeat", *sys.argv[1:]]
    own, further = split_words(sys.argv[1:])
    sys.argv = [sys.argv[0], *own]
    define_tool_flags()
    command.run(
        lambda: main(further, typed),
        check=lambda values: check_flags(values, further),
    )
