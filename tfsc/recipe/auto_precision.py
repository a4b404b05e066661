"""What `--precision=auto` is on this machine.

Without TensorFlow, unless there may be a GPU.
"""

from tfsc.hardware import bf16
from tfsc.recipe.recipe import Recipe


def on_this_machine(recipe: Recipe) -> tuple[Recipe, str]:
    """A recipe with `--precision=auto` made out: bf16 where this machine multiplies in it.

    Returns:
        The recipe and a line that says what became of it and why, empty where nothing did.
    """
    if recipe.precision != "auto":
        return recipe, ""
    if why := bf16.obstacle(recipe.replicas):
        return recipe.replace(precision="fp32"), f"--precision=auto: fp32 ({why})"
    line = "--precision=auto: bf16, in which this machine multiplies"
    return recipe.replace(precision="bf16"), line
