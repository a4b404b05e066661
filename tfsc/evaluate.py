"""Evaluate an exported model on its validation set.

    python -m tfsc.evaluate --export=runs/<run>/export

Data settings that are not given are those of the model's training, so that the same examples
validate. Prints the scores and writes evaluation.json, per_class.csv, confusion.csv and
confusion.png.
"""

import sys
from pathlib import Path

from absl import flags

from tfsc import cli, recipe
from tfsc.errors import ExportError, RecipeError

_EXPORT = flags.DEFINE_string(
    "export",
    None,
    "What to evaluate: an export directory of a run, a SavedModel directory or a .keras file.",
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Directory for the report; default: beside the export, with 'evaluation' in its name.",
)
_DATA_SETTINGS = ("dataset", "data_dir", "val_split", "seed")


def main() -> None:
    if not _EXPORT.value:
        raise RecipeError("--export: must name what to evaluate, e.g. --export=runs/<run>/export")
    path = Path(_EXPORT.value)
    if not path.exists():
        raise ExportError(f"--export={path}: there is no such file or directory")
    given = {
        name: getattr(flags.FLAGS, name)
        for name in _DATA_SETTINGS
        if getattr(flags.FLAGS, name) is not None
    }
    # TensorFlow is imported only now, so that --help and errors in flags come at once.
    cli.import_tensorflow()
    from tfsc.evaluation.evaluate import evaluate

    evaluate(path, Path(_OUT.value) if _OUT.value else None, given)


if __name__ == "__main__":
    recipe.define_flags(sys.argv[0], _DATA_SETTINGS, unset=True)
    cli.run(main)
