"""Export a checkpoint of a run as a SavedModel and a .keras file.

python -m tfsc.export --run_dir=runs/<run> --checkpoint=best
python -m tfsc.export --run_dir=runs/<run> --weights=ema          # that of --average
"""

import re
from pathlib import Path

from absl import flags

from tfsc.command_line import command
from tfsc.errors import RecipeError, RunDirectoryError, shown

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Directory of the run.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "Which checkpoint: last, best (validation accuracy) or its step."
)
_WEIGHTS = flags.DEFINE_enum(
    "weights", "network", ["network", "ema"], "The network's weights, or their moving average."
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Directory for the export; default: export-<step> in the run, with -ema for the average.",
)


def _check(values: flags.FlagValues) -> None:
    if not values.run_dir:
        raise RecipeError("--run_dir: must name the run, e.g. --run_dir=runs/<run>")
    if not re.fullmatch(r"last|best|[0-9]{1,12}", values.checkpoint):
        raise RecipeError(f"--checkpoint={shown(values.checkpoint)}: must be last, best or a step")


def main() -> None:
    run_dir = Path(_RUN_DIR.value or "")  # `_check` has refused an empty one
    if not (run_dir / "recipe.flags").is_file():
        raise RunDirectoryError(f"--run_dir={run_dir}: is no run directory (no recipe.flags)")
    # TensorFlow is imported only now, so that --help and errors in flags come at once.
    command.import_tensorflow()
    from tfsc.training.export_checkpoint import export_checkpoint

    out = Path(_OUT.value) if _OUT.value else None
    export_checkpoint(run_dir, _CHECKPOINT.value, _WEIGHTS.value, out)


if __name__ == "__main__":
    command.run(main, check=_check)
