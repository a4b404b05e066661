"""What a schedule says that its writer can hardly mean, for a run of this length.

No error: a run may be a trial of a longer one. Without TensorFlow, like `tfsc.schedules.parser`.
"""

from collections.abc import Iterator

from tfsc.schedules.duration import Duration
from tfsc.schedules.parsed import Chain, Moving, ScheduleText, Segments
from tfsc.text.reader import number_text

_NAMED = 3  # milestones that a doubt lists


def doubts(schedule: ScheduleText, steps_per_epoch: int, total_steps: float) -> Iterator[str]:
    """A line for whatever never comes in a run, and for epochs that look like parts of it.

    Args:
        schedule: as the language has parsed it.
        steps_per_epoch: optimizer steps in one epoch.
        total_steps: of the run.
    """
    parts = schedule.parts if isinstance(schedule, Chain) else (schedule,)
    epochs = total_steps / steps_per_epoch
    run, left = f"the run has {epochs:g} epochs of {steps_per_epoch} steps", total_steps
    for part in parts:
        late = _Late(steps_per_epoch, left)
        found = _of_segments(part, late) if isinstance(part, Segments) else _of_call(part, late)
        for doubt in found:
            yield f"{doubt}: {run}"
        if left > steps_per_epoch and part is parts[-1] and (doubt := _of_fractions(part)):
            yield doubt
        length = part.length()
        left -= 0 if length is None else length.steps(steps_per_epoch, left)
        run = f"the parts before leave it {left / steps_per_epoch:g} of the run's {epochs:g} epochs"


class _Late:
    """Whether a duration of a part ends with the run, or later."""

    def __init__(self, steps_per_epoch: int, left: float):
        self.steps_per_epoch, self.left = steps_per_epoch, left

    def __call__(self, duration: Duration) -> bool:
        return self.over(duration) >= 0

    def over(self, duration: Duration, share: float = 1.0) -> float:
        """Steps by which it, or a share of it, is longer than what is left; to a millionth."""
        return round(share * duration.steps(self.steps_per_epoch, self.left) - self.left, 6)


def _of_call(call: Moving, late: _Late) -> Iterator[str]:
    if call.family == "multistep":
        never = [str(milestone) for milestone in call["milestones"] if late(milestone)]
        if never:
            yield _never("milestone", never, " of multistep")
    if call.family == "warm_restarts" and late.over(call["period"]) > 0:
        yield f"no restart comes in period={call['period']} of warm_restarts"
    if call.family == "cyclic" and late.over(call["half_cycle"]) > 0:
        high = number_text(call["high"])
        yield f"high={high} of cyclic is not reached in half_cycle={call['half_cycle']}"
    if (
        call.family == "one_cycle"
        and call["length"]
        and late.over(call["length"], call["peak"]) > 0
    ):
        highest = number_text(call["max"])
        yield f"max={highest} of one_cycle is not reached in length={call['length']}"


def _of_segments(segments: Segments, late: _Late) -> Iterator[str]:
    """Knots of which nothing is seen: a ramp that has begun is, as in Type I, which ends at 26."""
    begun = [not late(Duration(knot.position, segments.unit)) for knot in segments.knots]
    seen = [True] + [
        here if shape == "const" else before
        for before, shape, here in zip(begun, segments.shapes, begun[1:], strict=False)
    ]
    never = [
        segments.knot_text(knot)
        for knot, is_seen in zip(segments.knots, seen, strict=True)
        if not is_seen
    ]
    if never:
        yield _never("knot", never, "")


def _never(what: str, never: list[str], of: str) -> str:
    more = len(never) - _NAMED
    listed = ", ".join(never[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    if len(never) == 1:
        return f"{what} {listed}{of} never comes"
    return f"{what}s {listed}{of} never come"


def _of_epoch(fraction: float) -> str:
    return "half an epoch" if fraction == 0.5 else f"{number_text(fraction)} of an epoch"


def _of_fractions(part: Segments | Moving) -> str:
    """Of positions in epochs that all lie in the first one, as parts of a run would be written."""
    if isinstance(part, Segments):
        what, unit, numbers = "positions", part.unit, [knot.position for knot in part.knots]
        # A single one may well be a warm-up of half an epoch, or a drop in the first.
        inside = [number for number in numbers if 0 < number < 1]
        like_parts = numbers[-1] == 1 or (numbers[-1] < 1 and len(inside) > 1)
    elif part.family == "multistep":
        what, unit = "milestones of multistep", part["milestones"][0].unit
        numbers = [milestone.number for milestone in part["milestones"]]
        like_parts = numbers[-1] <= 1
    else:
        return ""
    fraction = next((number for number in numbers if 0 < number < 1), None)
    if unit != "e" or not like_parts or fraction is None:
        return ""
    return (
        f"{what} are epochs: {number_text(fraction)} means {_of_epoch(fraction)}; for that part of "
        f"the run write {100 * fraction:g}%"
    )
