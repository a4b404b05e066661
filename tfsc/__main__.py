"""All commands of tfsc under one name.

    tfsc train --flagfile=seeds/000-type1.flags
    tfsc COMMAND --help

`tfsc COMMAND` and `python -m tfsc.COMMAND` are the same.
"""

import runpy
import sys

from tfsc import __version__

# Each with what it does, in the order in which one meets them.
COMMANDS = {
    "train": "train by a recipe and record the run",
    "evaluate": "score an exported model, with test-time augmentation",
    "export": "export one of a run's checkpoints",
    "lr-find": "find a learning rate: range test, rules, picture",
    "schedules": "show a schedule: table and picture",
    "models": "list the networks, or show the layers of one",
    "inputs": "list what is done to images before a network",
    "augment": "list the augmentations, or draw what one makes of images",
    "optimizers": "list the optimizers and kinds of clipping",
    "losses": "list the losses",
    "averages": "list the averages of weights",
    "repeat": "train one recipe with several seeds: mean ± sd",
    "compare": "compare recipes that were repeated: differences, intervals, picture",
    "plot-runs": "draw curves of several runs in one picture",
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the first word names, with the rest of the words.

    Args:
        arguments: words after the program's name; default: those of this process.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(_help())
        return
    if name == "--version":
        print(f"tfsc {__version__}")
        return
    command = name.replace("_", "-")
    if command not in COMMANDS:
        print(f"tfsc: {name!r}: must be one of {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    sys.argv[1:] = rest
    runpy.run_module(f"tfsc.{command.replace('-', '_')}", run_name="__main__", alter_sys=True)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"    tfsc {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join([f"tfsc {__version__}: tfsc COMMAND [flags]", "", *lines])


if __name__ == "__main__":
    main()
