"""What a recipe's settings must keep among each other; without TensorFlow.

Rules about one value alone are its `Setting`'s, in `tfsc.recipe`.
"""

import dataclasses

from tfsc.errors import RecipeError, shown
from tfsc.optimizers import groups
from tfsc.recipe.fields import Fields, settings
from tfsc.schedules import catalog, parser

_DECOUPLED_ONLY = ("adamw", "adamwr", "sgdw", "lion", "muon")
# Settings of some optimizers only: beside others they keep their defaults.
_OF_OPTIMIZERS = {
    "momentum": ("sgd", "sgdw", "muon"),
    "nesterov": ("sgd", "sgdw", "muon"),
    "beta_1": ("adamw", "adamwr", "adam", "lion"),
    "beta_2": ("adamw", "adamwr", "adam", "rmsprop", "adadelta", "lion"),
    "epsilon": ("adamw", "adamwr", "adam", "rmsprop", "adagrad", "adadelta"),
    "muon_rest": ("muon",),
    "muon_rest_momentum": ("muon",),
    "muon_steps": ("muon",),
}
_GROUPS = {
    "no_decay": groups.parse_names,
    "lr_factors": groups.parse_factors,
    "wd_factors": groups.parse_factors,
    "freeze_after": groups.parse_epochs,
}


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
    for name, parse in (
        ("schedule", recipe.parsed_schedule),
        ("momentum", recipe.parsed_momentum),
        ("muon_rest_momentum", recipe.parsed_rest_momentum),
        ("batch_schedule", recipe.batch_sizes),
    ):
        try:
            parse()
        except parser.ScheduleSyntaxError as error:
            raise RecipeError(f"--{name}: {error}") from None
    for _, size in recipe.batch_sizes() if recipe.micro_batch else ():
        if size % recipe.micro_batch:
            raise RecipeError(
                f"--micro_batch={recipe.micro_batch}: must divide the batch size {size}"
            )
    if recipe.flip_mode != type(recipe).flip_mode and not recipe.flip:
        raise RecipeError(
            f"--flip_mode={recipe.flip_mode}: must be {type(recipe).flip_mode} with --flip=false"
        )
    if 0 < recipe.logit_scale < 1e-6:
        raise RecipeError(f"--logit_scale={recipe.logit_scale}: must be 0 or at least 1e-06")
    _check_network(recipe)
    for native in ("winograd", "fused_norm"):
        for name, bad, allowed in (
            ("precision", "fp16", "fp32, tf32 or bf16"),
            ("xla", "on", "auto or off"),
        ):
            if getattr(recipe, native) == "on" and getattr(recipe, name) == bad:
                raise RecipeError(f"--{name}={bad}: must be {allowed} with --{native}=on")
    if recipe.fused_augment == "on" and recipe.xla == "on":
        raise RecipeError("--xla=on: must be auto or off with --fused_augment=on")
    if recipe.fused_norm == "on" and recipe.replicas > 1:
        raise RecipeError(f"--replicas={recipe.replicas}: must be 1 with --fused_norm=on")
    if recipe.fused_norm == "on" and recipe.activation != "relu":
        raise RecipeError(f"--activation={recipe.activation}: must be relu with --fused_norm=on")
    stacks = len(recipe.stack_units)
    if stacks > 16:  # each halves the image
        units = shown(",".join(map(str, recipe.stack_units)))
        raise RecipeError(f"--stack_units={units}: must have at most 16 stacks, has {stacks}")
    if len(recipe.shortcut_kernels) != stacks:
        kernels = shown(",".join(map(str, recipe.shortcut_kernels)))
        raise RecipeError(
            f"--shortcut_kernels={kernels}: must be one size or as many as --stack_units has "
            f"stacks ({stacks})"
        )
    if any(kernel % 2 == 0 for kernel in recipe.shortcut_kernels):
        kernels = shown(",".join(map(str, recipe.shortcut_kernels)))
        raise RecipeError(f"--shortcut_kernels={kernels}: kernel sizes must be odd")
    _check_optimizer(recipe)
    _check_replicas(recipe)


def _check_optimizer(recipe: Fields) -> None:
    name = recipe.optimizer
    if not recipe.decoupled and name in _DECOUPLED_ONLY:
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
    used = {name, recipe.muon_rest} if name == "muon" else {name}
    for setting, optimizers in _OF_OPTIMIZERS.items():
        value, default = getattr(recipe, setting), getattr(type(recipe), setting)
        if value != default and not used & set(optimizers):
            rule = settings()[setting]
            raise RecipeError(
                f"--{setting}={rule.text(value)}: must be {rule.text(default) or 'empty'} with "
                f"--optimizer={name}; it is of {', '.join(optimizers)}"
            )
    if recipe.muon_rest_momentum and recipe.muon_rest != "sgd":
        raise RecipeError(
            f"--muon_rest_momentum={shown(recipe.muon_rest_momentum)}: must be empty with "
            f"--muon_rest={recipe.muon_rest}; it is of sgd"
        )
    clips = [n for n in ("clipnorm", "global_clipnorm", "clipvalue") if getattr(recipe, n)]
    if len(clips) > 1:
        raise RecipeError(
            f"--{clips[1]}={getattr(recipe, clips[1]):g}: must be 0 with "
            f"--{clips[0]}={getattr(recipe, clips[0]):g}: gradients are clipped in one way"
        )
    if recipe.lookahead_alpha != type(recipe).lookahead_alpha and not recipe.lookahead:
        raise RecipeError(
            f"--lookahead_alpha={recipe.lookahead_alpha:g}: must be "
            f"{type(recipe).lookahead_alpha:g} without --lookahead"
        )
    for setting in ("ema_every", "ema_power", "ema_lookahead"):
        value, default = getattr(recipe, setting), getattr(type(recipe), setting)
        if value != default and not recipe.ema:
            rule = settings()[setting]
            raise RecipeError(
                f"--{setting}={rule.text(value)}: must be {rule.text(default)} without --ema"
            )
    for setting, parse in _GROUPS.items():
        try:
            parse(getattr(recipe, setting))
        except groups.GroupSyntaxError as error:
            raise RecipeError(f"--{setting}: {error}") from None


def _check_adamwr(recipe: Fields) -> None:
    schedule = recipe.parsed_schedule()
    if not (isinstance(schedule, catalog.Call) and schedule.family == "warm_restarts"):
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


def _check_network(recipe: Fields) -> None:
    """A setting of other networks would be ignored: it must have its default."""
    for field in dataclasses.fields(recipe):
        setting, value = settings()[field.name], getattr(recipe, field.name)
        if not setting.models or recipe.model in setting.models or value == field.default:
            continue
        if field.name == "shortcut_kernels" and {*value} == {*field.default}:
            continue  # the default, once for each stack
        raise RecipeError(
            f"--{field.name}={shown(setting.text(value))}: must be left at "
            f"{setting.text(field.default)} with --model={recipe.model}; it is a setting of "
            f"{', '.join(setting.models)}"
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
        ("ema_every", recipe.ema_every > 1, "1"),
        ("ema_power", recipe.ema_power > 0, "0"),
        ("ema_lookahead", recipe.ema_lookahead, "false"),
        # Each replica would clip its own share of the gradient.
        ("clipnorm", recipe.clipnorm > 0, "0"),
        ("global_clipnorm", recipe.global_clipnorm > 0, "0"),
        ("clipvalue", recipe.clipvalue > 0, "0"),
    ):
        if bad:
            raise RecipeError(
                f"--{name}={getattr(recipe, name)}: must be {allowed} with "
                f"--replicas={recipe.replicas}"
            )
