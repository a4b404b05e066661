"""`finished`: runs that need no training, found without TensorFlow."""

from typing import Any

from tfsc.recipe import Recipe
from tfsc.reporting.summary import result
from tfsc.runs.run_directory import RunDirectory


def finished(recipe: Recipe) -> dict[str, Any]:
    """The summary of the recipe's run if it is done, which is said; else nothing.

    Raises:
        RunDirectoryError: if another recipe's run lies in its place, or another process has it.
    """
    directory = RunDirectory(recipe)
    if not directory.is_begun():
        return {}
    with directory:
        return said_if_done(directory)


def said_if_done(directory: RunDirectory) -> dict[str, Any]:
    """The summary of a run that is done, which is said; else nothing."""
    summary = directory.summary()
    if summary.get("status") != "done" or not {"final", "best"} <= summary.keys():
        return {}
    print(
        f"{directory.path}: done already, {result(summary)}; "
        "`python -m tfsc.export` exports its checkpoints"
    )
    return summary
