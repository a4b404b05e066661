"""Schedules from text: `build` makes the one that `--schedule` or a momentum names."""

from collections.abc import Callable

from tfsc.errors import RecipeError, shown
from tfsc.schedules import parser
from tfsc.schedules.base import Schedule, reached
from tfsc.schedules.compose import PerEpoch, Sequence, Warmup
from tfsc.schedules.cosine import Cosine
from tfsc.schedules.cyclic import Cyclic
from tfsc.schedules.duration import Duration
from tfsc.schedules.exponential import Exponential
from tfsc.schedules.multistep import MultiStep
from tfsc.schedules.one_cycle import OneCycle
from tfsc.schedules.parsed import Chain, Moving, ScheduleText, Segments
from tfsc.schedules.polynomial import Polynomial
from tfsc.schedules.segments import SegmentSchedule
from tfsc.schedules.warm_restarts import WarmRestarts


def build(
    text: str | ScheduleText,
    steps_per_epoch: int,
    total_steps: int,
    per: str = "step",
    flag: str = "schedule",
) -> Schedule:
    """The schedule of a text, for a run of this length.

    Args:
        text: see `tfsc.schedules.parser`; or what its `parse` returned.
        steps_per_epoch: optimizer steps in one epoch.
        total_steps: of the run: the length of a schedule, or of the last part of a chain, that
            states none.
        per: "step", or "epoch" to move at the start of each epoch only.
        flag: that gave the text, for errors.

    Raises:
        ScheduleSyntaxError: if the text breaks the language's rules.
        RecipeError: if the run is too short for it.
    """
    parsed = parser.parse(text) if isinstance(text, str) else text
    if isinstance(parsed, Segments):
        return SegmentSchedule(str(parsed.in_steps(total_steps)), steps_per_epoch, per)
    parts = parsed.parts if isinstance(parsed, Chain) else (parsed,)
    try:
        schedule = _chain(list(parts), steps_per_epoch, total_steps)
    except _TooShort as error:
        raise RecipeError(f"--{flag}={shown(str(parsed))}: {error}") from None
    return PerEpoch(schedule, steps_per_epoch) if per == "epoch" else schedule


class _TooShort(Exception):
    """The run ends before a part begins."""


def _chain(parts: list, steps_per_epoch: int, steps: int) -> Schedule:
    """The parts in order; the last one's default length is what the others leave of `steps`."""
    part, *rest = parts
    length = part.length()
    length = steps if length is None else length.steps(steps_per_epoch, steps)
    if rest and reached(length, steps):
        raise _TooShort(
            f"{part} takes {length:g} steps, the run leaves {steps:g} "
            f"({steps_per_epoch} an epoch): nothing of {rest[0]} would be seen"
        )
    if isinstance(part, Segments):
        first = SegmentSchedule(str(part.in_steps(length)), steps_per_epoch)
    elif part.family == "warmup":
        then = _chain(rest, steps_per_epoch, steps - length)
        return Warmup(then, length, part["policy"], part["start"])
    else:
        first = FAMILIES[part.family](part, _Run(steps_per_epoch, steps, length))
    return Sequence(first, length, _chain(rest, steps_per_epoch, steps - length)) if rest else first


class _Run:
    """What a family needs to know beside its arguments: what is left of the run, its length."""

    def __init__(self, steps_per_epoch: int, left: float, length: float):
        self.steps_per_epoch, self.left, self.length = steps_per_epoch, left, length

    def steps(self, duration: Duration) -> float:
        return duration.steps(self.steps_per_epoch, self.left)


def _cyclic(call: Moving, run: _Run) -> Schedule:
    gamma = 1.0 if call["gamma"] is None else call["gamma"]
    half_cycle = run.steps(call["half_cycle"])
    return Cyclic(call["low"], call["high"], half_cycle, call["policy"], gamma, call["cycles"])


def _one_cycle(call: Moving, run: _Run) -> Schedule:
    if run.length < 2:
        raise _TooShort(f"{call} needs at least 2 steps, received {run.length:g}")
    names = ("start", "end", "peak", "phases", "anneal")
    return OneCycle(call["max"], run.length, **{name: call[name] for name in names})


def _warm_restarts(call: Moving, run: _Run) -> Schedule:
    return WarmRestarts(call["rate"], run.steps(call["period"]), call["mult"], call["to"])


def _multistep(call: Moving, run: _Run) -> Schedule:
    milestones = [run.steps(milestone) for milestone in call["milestones"]]
    return MultiStep(call["rate"], milestones, call["gamma"])


def _cosine(call: Moving, run: _Run) -> Schedule:
    return Cosine(call["rate"], run.length, call["to"])


def _exponential(call: Moving, run: _Run) -> Schedule:
    end = None if call["length"] is None else run.length
    return Exponential(call["rate"], run.steps(call["every"]), call["gamma"], end)


def _polynomial(call: Moving, run: _Run) -> Schedule:
    return Polynomial(call["rate"], run.length, call["to"], call["power"])


FAMILIES: dict[str, Callable[[Moving, _Run], Schedule]] = {
    "cyclic": _cyclic,
    "one_cycle": _one_cycle,
    "warm_restarts": _warm_restarts,
    "multistep": _multistep,
    "cosine": _cosine,
    "exponential": _exponential,
    "polynomial": _polynomial,
}
