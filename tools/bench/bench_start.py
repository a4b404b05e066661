"""Time how long a command takes to answer: --help, and the first optimizer step.

    python tools/bench/bench_start.py --out=docs/performance/start.json -- --data_dir=<tfds>

Starts `python -m tfsc.train` in processes of their own, in turn: with --help; and with the flags
after `--` for one step, whose time TensorBoard's events hold. A run before fills the decode cache.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import interleaved, markdown, record, seconds, split_flags, summary, write_json

HELP_SECONDS, STEP_SECONDS = 1.0, 15.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    warm = argparse.BooleanOptionalAction
    parser.add_argument("--warm", action=warm, default=True, help="fill the decode cache first")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    own, recipe = split_flags(sys.argv[1:])
    arguments = parser.parse_args(own)
    if arguments.rounds < 1:
        parser.error(f"--rounds={arguments.rounds}: must be at least 1")

    train = [sys.executable, "-m", "tfsc.train"]

    def ask_for_help() -> float:
        return seconds(lambda: subprocess.run([*train, "--help"], capture_output=True))

    def first_step() -> float:
        with tempfile.TemporaryDirectory(prefix="tfsc-start-") as scratch:
            run_dir = Path(scratch) / "run"
            one_step = ["--steps=1", "--noexport", f"--run_dir={run_dir}"]
            started = time.time()
            subprocess.run([*train, *recipe, *one_step], check=True, stdout=subprocess.DEVNULL)
            return _time_of_first_step(run_dir / "events") - started

    try:
        if arguments.warm:
            first_step()
        figures = interleaved({"--help": ask_for_help, "first step": first_step}, arguments.rounds)
    except subprocess.CalledProcessError as error:
        print(f"bench_start: tfsc.train ended with exit code {error.returncode}", file=sys.stderr)
        return 1
    rows = []
    for (name, values), target in zip(figures.items(), (HELP_SECONDS, STEP_SECONDS), strict=True):
        median = statistics.median(values)
        met = "yes" if median <= target else "no"
        rows.append([name, median, f"{min(values):.2f}–{max(values):.2f}", f"≤ {target:g}", met])
    print(markdown(["from the command to", "seconds (median)", "range", "target", "met"], rows))
    if arguments.out:
        figures = {name: summary(values) | {"all": values} for name, values in figures.items()}
        write_json(arguments.out, record(seconds=figures))
        print(f"\nwritten to {arguments.out}")
    return 0


def _time_of_first_step(events: Path) -> float:
    """Wall-clock time at which the events say that step 1 was done."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in sorted(events.iterdir()):
        for event in EventFileLoader(str(path)).Load():
            if event.step == 1 and event.HasField("summary"):
                return event.wall_time
    raise SystemExit(f"bench_start: {events} holds no step 1")


if __name__ == "__main__":
    sys.exit(main())
