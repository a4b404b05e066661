"""What a recipe's settings must keep among each other; without TensorFlow.

Rules about one value alone are its `Setting`'s, those of a text its catalog's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from tfsc.errors import RecipeError, shown
from tfsc.optimizers.catalog import innermost
from tfsc.recipe.fields import Fields, settings
from tfsc.schedules.parsed import Moving
from tfsc.text.reader import TextSyntaxError


def check(recipe: Fields) -> None:
    """Refuse values that do not go together, and texts that break the rules of their language.

    Raises:
        RecipeError: with the flag, its value and the rule.
    """
    if not recipe.dataset or not all(c.isalnum() or c in "_-./:" for c in recipe.dataset):
        raise RecipeError(
            f"--dataset={shown(recipe.dataset)}: must be 'digits' or the name of a TFDS dataset "
            "(letters, digits and _ - . / :)"
        )
    if ".." in recipe.dataset or recipe.dataset.startswith("/"):
        raise RecipeError(f"--dataset={shown(recipe.dataset)}: must be a name, not a path")
    for name, setting in settings().items():
        if setting.parse_text is not None:
            _explained(name, partial(recipe.parsed, name))
    _explained("batch_schedule", recipe.batch_sizes)
    try:
        recipe.momenta()
    except ValueError as error:
        raise RecipeError(f"--optimizer={shown(recipe.optimizer)}: {error}") from None
    for _, size in recipe.batch_sizes() if recipe.micro_batch else ():
        if size % recipe.micro_batch:
            raise RecipeError(
                f"--micro_batch={recipe.micro_batch}: must divide the batch size {size}"
            )
    _check_native(recipe)
    _check_optimizer(recipe)
    _check_replicas(recipe)


def _explained(name: str, parse: Callable[[], Any]) -> None:
    """Call `parse`; an error in the text of a setting becomes one of the recipe."""
    try:
        parse()
    except TextSyntaxError as error:
        raise RecipeError(f"--{name}: {error}") from None


def _check_native(recipe: Fields) -> None:
    for name, bad, allowed in (
        ("precision", recipe.precision == "fp16", "fp32, tf32, bf16 or auto"),
        ("xla", recipe.xla == "on", "auto or off"),
        ("replicas", recipe.replicas > 1, "1"),
    ):
        if recipe.native == "on" and bad:
            raise RecipeError(
                f"--{name}={getattr(recipe, name)}: must be {allowed} with --native=on"
            )
    for name, bad, allowed in (
        ("native", recipe.native == "off", "auto or on"),
        ("precision", recipe.precision not in ("bf16", "auto"), "bf16 or auto"),
    ):
        if recipe.bf16_winograd and bad:
            raise RecipeError(
                f"--{name}={getattr(recipe, name)}: must be {allowed} with --bf16_winograd"
            )


def _check_optimizer(recipe: Fields) -> None:
    call = innermost(recipe.parsed("optimizer"))
    name = call.family
    if not recipe.decoupled and call.kind.decoupled:
        raise RecipeError(
            f"--decoupled=false: must be true with --optimizer={name}, whose decay is decoupled"
        )
    if name == "adam" and recipe.wd != 0 and recipe.decoupled:
        raise RecipeError(
            f"--wd={recipe.wd:g}: must be 0 with --optimizer=adam, which has no decoupled decay; "
            "add --wd=0 (and --l2=1e-4 for Atienza's penalty), or --nodecoupled for decay in "
            "the gradient, or use --optimizer=adamw"
        )
    if name == "adamwr":
        _check_adamwr(recipe)


def _check_adamwr(recipe: Fields) -> None:
    schedule = recipe.parsed_schedule()
    if not (isinstance(schedule, Moving) and schedule.family == "warm_restarts"):
        raise RecipeError(
            f"--schedule={shown(recipe.schedule)}: must be warm_restarts(…) with "
            "--optimizer=adamwr, whose decay depends on the length of a restart"
        )
    if not schedule["rate"]:
        raise RecipeError("--schedule: its rate must be above 0 with --optimizer=adamwr")
    if recipe.batch_schedule:
        raise RecipeError(
            f"--batch_schedule={shown(recipe.batch_schedule)}: must be empty with "
            "--optimizer=adamwr"
        )


def _check_replicas(recipe: Fields) -> None:
    if recipe.replicas == 1:
        return
    if recipe.batch_size % recipe.replicas:
        raise RecipeError(
            f"--replicas={recipe.replicas}: must divide --batch_size={recipe.batch_size} into "
            "equal shares"
        )
    # What Keras or TensorFlow cannot do under a strategy, or what nobody has tried here.
    for name, bad, allowed in (
        ("steps_per_execution", recipe.steps_per_execution > 1, "1"),
        ("xla", recipe.xla == "on", "auto or off"),
        ("precision", recipe.precision == "fp16", "fp32, tf32 or bf16"),
        ("data_on", recipe.data_on != "host", "host"),
        ("micro_batch", recipe.micro_batch > 0, "0"),
        ("batch_schedule", recipe.batch_schedule != "", "empty"),
        ("average", _moves_oddly(recipe), "none or ema(…) of power 0 at every step"),
        # Each replica would clip its own share of the gradient.
        ("clip", recipe.parsed("clip").family != "none", "none"),
    ):
        if bad:
            raise RecipeError(
                f"--{name}={getattr(recipe, name)}: must be {allowed} with "
                f"--replicas={recipe.replicas}"
            )


def _moves_oddly(recipe: Fields) -> bool:
    """Whether the average does not follow at every step, or is followed."""
    average = recipe.parsed("average")
    odd = average.get("every", 1) > 1 or average.get("power", 0.0) > 0
    return odd or average.family == "lookahead"
