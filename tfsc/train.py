"""Train an image classifier by a recipe and record the run.

    python -m tfsc.train --wd=0.19 --precision=fp32
    python -m tfsc.train --flagfile=flags/digits.flags

Running the same command again resumes the run where it stopped.
"""

import sys

from tfsc import recipe
from tfsc.command_line import command
from tfsc.hardware import processor
from tfsc.native import compiler
from tfsc.recipe import auto_precision, old_spelling
from tfsc.recipe import flags as recipe_flags


def main() -> None:
    run_recipe = recipe.Recipe.from_flags()
    # Imports come when they are needed: --help and errors in flags at once, and that a run is done,
    # or another recipe's in its place, without TensorFlow.
    from tfsc.runs.begun_precision import settle
    from tfsc.runs.finished import finished

    known, _ = settle(run_recipe, on_this_machine=_on_this_machine)
    if finished(known):
        return
    compiler.start(known.native, known.xla)
    command.import_tensorflow()
    from tfsc.training.run import run

    run(run_recipe)


def _on_this_machine(run_recipe: recipe.Recipe) -> tuple[recipe.Recipe, str]:
    if processor.may_have_gpu():
        command.import_tensorflow()  # which alone knows of what kind it is
    return auto_precision.on_this_machine(run_recipe)


if __name__ == "__main__":
    recipe_flags.define_flags(sys.argv[0])
    command.run(
        main,
        check=recipe.Recipe.from_flags,
        renamed=old_spelling.answer,
        sections=recipe.sections(),
    )
