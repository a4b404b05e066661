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
        return made_out(recipe, "fp32"), f"--precision=auto: fp32 ({why})"
    line = "--precision=auto: bf16, in which this machine multiplies"
    return made_out(recipe, "bf16"), line


def made_out(recipe: Recipe, precision: str) -> Recipe:
    """A recipe in this precision, without what it asks for in bf16 alone if it is another."""
    in_bf16 = precision == "bf16"
    return recipe.replace(precision=precision, bf16_winograd=recipe.bf16_winograd and in_bf16)
