"""Evaluate an exported model on its validation set.

    python -m tfsc.evaluate --export=runs/<run>/export

Data settings that are not given are those of the model's training, so that the same examples
validate. Prints the scores and writes evaluation.json, per_class.csv, confusion.csv and
confusion.png.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from tfsc import recipe
from tfsc.command_line import command
from tfsc.errors import ExportError, RecipeError
from tfsc.recipe import flags as recipe_flags

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
_CLASS_NAMES = flags.DEFINE_enum(
    "class_names",
    "check",
    ["check", "ignore"],
    "Names of the model's classes and the set's: check refuses a model of other classes and maps "
    "the same ones in another order; ignore takes them one by one.",
)
_OUTPUTS = flags.DEFINE_enum(
    "outputs",
    "auto",
    ["auto", "logits", "probabilities"],
    "What the model gives; auto: probabilities if every row is at least 0 and sums to 1.",
)
_DATA_SETTINGS = ("dataset", "data_dir", "val_split", "seed")


def _given(values: flags.FlagValues) -> dict[str, Any]:
    """The data settings on the command line, checked."""
    if not values.export:
        raise RecipeError("--export: must name what to evaluate, e.g. --export=runs/<run>/export")
    typed = {name: values[name].value for name in _DATA_SETTINGS}
    given: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
    recipe.Recipe(**given)
    return given


def main() -> None:
    given = _given(flags.FLAGS)
    path = Path(_EXPORT.value or "")  # `_given` has refused an empty one
    if not path.exists():
        raise ExportError(f"--export={path}: there is no such file or directory")
    # TensorFlow is imported only now, so that --help and errors in flags come at once.
    command.import_tensorflow()
    from tfsc.evaluation.evaluate import evaluate

    out = Path(_OUT.value) if _OUT.value else None
    evaluate(path, out, given, _CLASS_NAMES.value, _OUTPUTS.value)


if __name__ == "__main__":
    recipe_flags.define_flags(sys.argv[0], _DATA_SETTINGS, unset=True)
    command.run(
        main, check=_given, sections={name: recipe.sections()[name] for name in _DATA_SETTINGS}
    )
