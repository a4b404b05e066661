"""What a GPU makes of tfsc: step times, joules, and full runs, in calls of nine minutes.

    python tools/gpu_suite.py --out=gpu --data_dir=<tfds>
    python tools/gpu_suite.py --out=gpu --plan --minutes=30 --pack=build/pack
    python tools/gpu_suite.py --out=small --setting=small    # a minute, on a CPU as well

Times training steps per precision × XLA × batch size, and ways to feed them, and trains the
published recipes Type I and Type II in full, in fp32, bf16 and fp16, each by the fastest that was
found: pieces of one list, the most telling first. A piece that does not fit into what is left of
--minutes is skipped; a run that the end of a call interrupts gets SIGTERM and saves a checkpoint.

Writes into --out: results.json and table.md, anew after each piece; a directory and a log for each
run; worker.log. The same command again does what is missing and resumes the runs. --plan writes
nothing and shows what would be done when, by estimates where nothing has been measured. Exits with
1 if nothing could be measured.
"""

import argparse
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "bench"), str(ROOT / "tools" / "gpu")]

import suite_plan  # noqa: E402
from suite_pieces import SETTINGS, Config, Run, Setting  # noqa: E402
from suite_results import Results  # noqa: E402
from suite_runs import train  # noqa: E402
from suite_steps import StepTimes, WrongMachine  # noqa: E402
from suite_walk import Budget, Needs, walk  # noqa: E402

from tfsc.command_line import flagfile  # noqa: E402
from tfsc.errors import RecipeError  # noqa: E402

# This process does not import TensorFlow: it would reserve the memory of the GPU.


def main() -> int:
    arguments = _arguments()
    setting = SETTINGS[arguments.setting]
    if arguments.skip_runs:
        setting = setting.without_runs()
    place = [f"--dataset={arguments.dataset or setting.dataset}"]
    if arguments.data_dir:
        place.append(f"--data_dir={arguments.data_dir}")
    flags = [argument.text for argument in flagfile.expand([*setting.flags, *place])]
    results = Results(arguments.out, arguments.setting, flags)
    seconds, call_seconds = 60 * arguments.minutes, 60 * arguments.call_minutes
    if arguments.plan:
        pack = arguments.pack and suite_plan.read_pack(arguments.pack, arguments.upload_mib)
        print(suite_plan.Plan(setting, results, seconds, call_seconds, pack).table())
        return 0
    # An end from outside must end the processes below, too.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    arguments.out.mkdir(parents=True, exist_ok=True)
    budget = Budget(seconds, call_seconds)
    try:
        execute(setting, flags, place, results, budget, arguments.allow_cpu)
    except WrongMachine as error:
        results.update(error=str(error))
        print(f"gpu_suite: {error}", file=sys.stderr)
    results.update(seconds=round(budget.spent(), 1))
    print(f"\n{results.table()}", flush=True)
    return 0 if results.measured_anything() else 1


def execute(
    setting: Setting,
    flags: list[str],
    place: list[str],
    results: Results,
    budget: Budget,
    allow_cpu: bool,
) -> None:
    """Do what is missing, as far as the budget goes.

    Args:
        setting: the pieces.
        flags: of the recipe that is timed.
        place: flags that say where the data are.
        results: what is known, and where the rest goes.
        budget: the time.
        allow_cpu: whether a machine without a GPU will do.

    Raises:
        WrongMachine: if that is found out.
    """
    with StepTimes(setting, flags, results, budget, allow_cpu) as step_times:

        def do(piece: Config | Run, needs: Needs) -> None:
            if isinstance(piece, Config):
                step_times.measure(piece)
            else:
                step_times.close()
                train(piece, setting, place, results, budget)

        walk(setting, results, budget, do, results.skip)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="directory for all output")
    add("--minutes", type=_minutes, default="30", help="that the machine is at hand (default 30)")
    add("--call_minutes", type=_minutes, default="9", help="of this call, or each (default 9)")
    add("--setting", choices=SETTINGS, default="full", help="how much (full)")
    add("--dataset", default="", help="default cifar10; small: digits")
    add("--data_dir", default="", help="TFDS directory; default TFDS_DATA_DIR, ...")
    add("--skip_runs", action="store_true", help="step times only")
    add("--allow_cpu", action="store_true", help="measure a machine without GPU (full: hours)")
    add("--plan", action="store_true", help="show what would be done, and do nothing")
    add("--pack", type=Path, help="with --plan: pack of tools/offline/ to be brought there first")
    add("--upload_mib", type=float, default=64, help="with --pack: most MiB of a call (default 64)")
    arguments = parser.parse_args()
    if arguments.pack and not arguments.plan:
        parser.error("--pack: must be given with --plan alone")
    return arguments


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, received {text!r}")
    return minutes


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    # --out cannot be written, or its results.json read; a pack that is none
    except (OSError, ValueError, RecipeError) as error:
        sys.exit(f"gpu_suite: {error}")
