"""`settle`: what `--precision=auto` is for a run, new or begun."""

from collections.abc import Callable
from pathlib import Path

from tfsc.errors import TfscError
from tfsc.recipe import Recipe, auto_precision
from tfsc.runs.run_directory import read_recipe, run_path


def settle(
    recipe: Recipe,
    place: Callable[[Recipe], Path] = run_path,
    is_begun: Callable[[Path, Recipe], bool] | None = None,
    on_this_machine: Callable[[Recipe], tuple[Recipe, str]] = auto_precision.on_this_machine,
) -> tuple[Recipe, str]:
    """A recipe with `--precision=auto` made out.

    A run that was begun goes on in its own precision, whatever this machine is fast in: the same
    command finds it, and its weights are those of one precision. If both a run in bf16 and one in
    fp32 are there, in places that are named by their digests, this machine's counts.

    Args:
        recipe: of the run.
        place: where the runs of a recipe lie.
        is_begun: whether there is one in a place; default: `holds`.
        on_this_machine: what it is where none was begun.

    Returns:
        The recipe and a line that says what became of it and why, empty where nothing did.
    """
    if recipe.precision != "auto":
        return recipe, ""
    begun = []
    for precision in ("bf16", "fp32"):
        candidate = auto_precision.made_out(recipe, precision)
        if (is_begun or holds)(place(candidate), candidate):
            begun.append(candidate)
    if len(begun) == 1:
        precision, where = begun[0].precision, place(begun[0])
        return begun[0], f"--precision=auto: {precision}, with which {where} was begun"
    return on_this_machine(recipe)


def holds(run_dir: Path, recipe: Recipe) -> bool:
    """Whether a run of this very recipe was begun in a directory."""
    try:
        return not read_recipe(run_dir).differences(recipe)
    except TfscError:  # none, or one that cannot be read: whoever enters it says so
        return False
