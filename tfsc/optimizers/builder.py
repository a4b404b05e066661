"""`build`: an optimizer of its text, around a learning rate."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS, Momentum, clipping
from tfsc.text.family import Call

Scheduled: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


def build(
    optimizer: str | Call,
    learning_rate: Scheduled,
    *,
    decay: Mapping[str, Any] | None = None,
    clip: str | Call | None = None,
    freeze_after: Mapping[str, int] | None = None,
    momentum: Callable[[Any], Scheduled] | None = None,
) -> keras.optimizers.Optimizer:
    """The optimizer that a text names.

        build("sgd(0.9, nesterov)", 0.1, decay={"weight_decay": 5e-4, "decoupled": False})

    Its name is that of the family: checkpoints know an optimizer's variables by it, and Keras
    would number a second one in a process.

    Args:
        optimizer: text of one of `OPTIMIZERS`, or what that has read.
        learning_rate: a number or a schedule.
        decay: weight decay and groups of variables, arguments of `GroupedOptimizer`: the same for
            muon's kernels and its rest.
        clip: of `CLIPS`, or its text; None: none. Muon clips for its rest, too.
        freeze_after: group → number of updates; see `GroupedOptimizer`.
        momentum: makes a number or a Keras schedule of what a momentum says; None: momenta must be
            numbers.

    Raises:
        TextSyntaxError: if the text breaks a rule.
        ValueError: if a momentum moves and nothing says how, or the decay does not go with it.
    """
    call = OPTIMIZERS.parse(optimizer) if isinstance(optimizer, str) else optimizer
    arguments = dict(call.arguments)
    if inner := arguments.pop("inner", None):
        built = build(
            inner,
            learning_rate,
            decay=decay,
            clip=clip,
            freeze_after=freeze_after,
            momentum=momentum,
        )
        return OPTIMIZERS.builder(call.family)(built, **arguments, name=call.family)
    options: dict[str, Any] = {"name": call.family, **(decay or {})}
    _check_decay(call, options)
    if freeze_after:
        options["freeze_after"] = freeze_after
    if "rest" in arguments:
        rest = arguments["rest"] or _rest(call)
        arguments["rest"] = build(
            rest, learning_rate, decay=decay, freeze_after=freeze_after, momentum=momentum
        )
    for name, parameter in call.kind.parameters.items():
        if isinstance(parameter, Momentum):
            arguments[name] = (momentum or _number)(arguments[name])
    options |= clipping(CLIPS.parse(clip) if isinstance(clip, str) else clip) if clip else {}
    return OPTIMIZERS.builder(call.family)(learning_rate, **arguments, **options)


def _check_decay(call: Call, options: Mapping[str, Any]) -> None:
    if call.kind.decoupled and not options.get("decoupled", True):
        raise ValueError(f"the decay of {call.family} is decoupled. Received: decoupled=False")
    if call.family == "adamwr" and isinstance(options.get("weight_decay"), int | float | None):
        raise ValueError(
            "adamwr needs a weight_decay that follows its restarts, schedules.NormalizedDecay. "
            f"Received: {options.get('weight_decay')}"
        )


def _rest(muon: Call) -> Call:
    """What muon leaves to sgd by itself."""
    return OPTIMIZERS.call("sgd").replace(momentum=muon["momentum"], nesterov=muon["nesterov"])


def _number(momentum: Any) -> float:
    number = momentum.constant()
    if number is None:
        raise ValueError(f"a momentum that moves needs the run's length. Received: {momentum}")
    return number
