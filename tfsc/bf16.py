"""Whether this machine multiplies in bfloat16, and what `--precision=auto` is for that.

Without TensorFlow, unless there may be a GPU.
"""

from tfsc import processor
from tfsc.recipe import Recipe


def obstacle(devices: int = 1) -> str:
    """Why networks are not multiplied in bfloat16 here; empty where they are.

    Args:
        devices: how many GPUs are used, if there are any.
    """
    if processor.may_have_gpu():
        # Only TensorFlow knows: the driver may be there, and its own libraries missing.
        from tfsc import hardware

        if hardware.has_gpu():
            return hardware.gpu_bf16_obstacle(devices)
    return processor.bf16_obstacle()


def warning(precision: str, devices: int = 1) -> str:
    """What to say before training by a precision; empty unless it is bf16 and that is slow here."""
    if precision != "bf16" or not (why := obstacle(devices)):
        return ""
    return (
        f"--precision=bf16: {why}: it can take many times as long as fp32 here; faster: "
        "--precision=fp32, as a run of its own"
    )


def on_this_machine(recipe: Recipe) -> tuple[Recipe, str]:
    """A recipe with `--precision=auto` made out: bf16 where this machine multiplies in it.

    Returns:
        The recipe and a line that says what became of it and why, empty where nothing did.
    """
    if recipe.precision != "auto":
        return recipe, ""
    if why := obstacle(recipe.replicas):
        return recipe.replace(precision="fp32"), f"--precision=auto: fp32 ({why})"
    line = "--precision=auto: bf16, in which this machine multiplies"
    return recipe.replace(precision="bf16"), line
