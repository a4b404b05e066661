"""Find a learning rate: train a little while the rate grows, and see what happens.

    python -m tfsc.lr_find --precision=auto
    python -m tfsc.lr_find --flagfile=flags/digits.flags --seeds=3
    python -m tfsc.lr_find --measure=accuracy --optimizer='sgd(0.9)' --wd=1e-4

Writes lr_find.csv, lr_find.png and lr_find.json, and prints what four rules suggest (valley,
steepest, minimum/10, slide), or for --measure=accuracy from where to where the network learns and
whether the accuracy stays high at large rates; and a training command with a schedule of
--epochs around it. Nothing else is trained or kept. The test's length is --num_steps; --epochs,
and --steps in a flagfile, are those of the training that is proposed. The rate is the test's own:
at --schedule only a momentum of inverse(...) and the decay of adamwr look. What else a training's
flagfile may hold (--run_dir, --export, ...) is not used.
"""

import sys

from absl import flags

from tfsc import recipe
from tfsc.command_line import command
from tfsc.lr_finder import options as lr_options
from tfsc.native import compiler
from tfsc.recipe import flags as recipe_flags
from tfsc.recipe import old_spelling


def main() -> None:
    run_recipe, options = lr_options.from_flags(flags.FLAGS)
    # TensorFlow is imported only now, so that --help and errors in flags come at once.
    compiler.start(run_recipe.native, run_recipe.xla)
    command.import_tensorflow()
    from tfsc.lr_finder.find import lr_find

    lr_find(run_recipe, options)


def _define_flags() -> None:
    hidden = (*lr_options.NOT_USED, *lr_options.ONLY_IN_FILES)  # listed by --helpfull only
    shown = tuple(name for name in lr_options.recipe_names() if name not in hidden)
    recipe_flags.define_flags(sys.argv[0], shown)
    recipe_flags.define_flags(recipe.__name__, hidden)
    for name, setting in lr_options.SETTINGS.items():
        recipe_flags.define_flag(name, setting, lr_options.DEFAULTS.get(name), sys.argv[0])


if __name__ == "__main__":
    _define_flags()
    command.run(
        main,
        check=lr_options.from_flags,
        only_in_files=lr_options.ONLY_IN_FILES,
        renamed=old_spelling.answer,
        sections=recipe.sections(),
    )
