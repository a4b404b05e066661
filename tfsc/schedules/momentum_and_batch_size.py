"""What other settings say in the language of schedules: momentum, and batch sizes.

Without TensorFlow, like `tfsc.schedules.parser`.
"""

import re
from dataclasses import dataclass

from tfsc.schedules.duration import Duration
from tfsc.schedules.parsed import Moving, ScheduleText, Segments
from tfsc.schedules.parser import ScheduleSyntaxError, parse, read
from tfsc.text.family import flat
from tfsc.text.reader import Reader, number_text

HIGHEST_MOMENTUM = 0.999999  # float32 tells it from 1


@dataclass(frozen=True)
class Inverse:
    """A momentum that moves against the learning rate of a `one_cycle` or `cyclic` schedule.

    From high to low while the rate rises, and back (Smith, "A disciplined approach", 1cycle).
    """

    high: float
    low: float

    def constant(self) -> None:
        """It moves."""

    def of(self, schedule: ScheduleText) -> ScheduleText:
        """The momentum beside this learning rate.

        Raises:
            ValueError: if that is no schedule to move against.
        """
        if isinstance(schedule, Moving) and schedule.family == "one_cycle":
            return schedule.replace(max=self.low, start=self.high, end=self.high)
        if isinstance(schedule, Moving) and schedule.family == "cyclic":
            return schedule.replace(low=self.high, high=self.low)
        raise ValueError(
            "inverse(…) needs a --schedule that is one_cycle(…) or cyclic(…), and no more"
        )

    def __str__(self) -> str:
        return f"inverse({number_text(self.high)},{number_text(self.low)})"


def read_momentum(reader: Reader, what: str = "momentum") -> ScheduleText | Inverse:
    """Read a number or schedule of at most 0.999999, or `inverse(high, low)`.

    Raises:
        TextSyntaxError: with the position of the first fault.
    """
    reader.skip_blanks()
    start = reader.at
    if reader.peek_word() != "inverse":
        momentum = read(reader, what)
        if (highest := max(momentum.extremes())) > HIGHEST_MOMENTUM:
            rule = f"{what} must be at most {HIGHEST_MOMENTUM}, goes to {number_text(highest)}"
            raise reader.fail(rule, start)
        return momentum
    reader.word()
    reader.expect("(", "after inverse, as in inverse(0.95, 0.85)")
    high = _momentum_value(reader)
    reader.expect(",", "between inverse's two momenta")
    low = _momentum_value(reader)
    reader.expect(")", "after inverse's two momenta")
    return Inverse(high, low)


def parse_momentum(text: str, schedule: ScheduleText) -> ScheduleText:
    """Parse the momentum beside a schedule, `inverse(…)` made out.

    Raises:
        ScheduleSyntaxError: with the position of the first fault.
    """
    reader = Reader(flat(text), ScheduleSyntaxError)
    momentum = read_momentum(reader)
    if not reader.done():
        raise reader.fail(f"nothing may follow a momentum, found {reader.found()}")
    if not isinstance(momentum, Inverse):
        return momentum
    try:
        return momentum.of(schedule)
    except ValueError as error:
        raise reader.fail(str(error), 0) from None


def _momentum_value(reader: Reader) -> float:
    reader.skip_blanks()
    start = reader.at
    value = reader.number("a momentum")
    if value > HIGHEST_MOMENTUM:
        raise reader.fail(
            f"momentum must be at most {HIGHEST_MOMENTUM}, received {number_text(value)}", start
        )
    return value


_LARGEST_BATCH = 65_536


def _place(text: str, index: int) -> int:
    """Where the knot with this index stands, or a family's text."""
    places = [match.start() for match in re.finditer(r"\[", text)]
    knots = text.lstrip().startswith("[")
    return places[index] if knots else len(text) - len(text.lstrip())


def parse_batch_sizes(text: str, batch_size: int) -> tuple[tuple[int, int], ...]:
    """Parse `--batch_schedule`: a schedule that jumps, its values batch sizes.

        multistep(128, [60,120,160], gamma=5)        [128,0]const[640,60]const[3200,120]

    Args:
        text: as above; jumps at whole epochs, all sizes whole.
        batch_size: that the first epoch must have.

    Returns:
        Pairs (first epoch, batch size), as `tfsc.data.batch_plan.BatchPlan` takes them.

    Raises:
        ScheduleSyntaxError: if the text breaks a rule.
    """
    schedule = parse(text)
    if isinstance(schedule, Moving) and schedule.family == "multistep":
        values = [schedule["rate"], *schedule.steps_down()]
        positions = [Duration(0.0, "e"), *schedule["milestones"]]
    elif isinstance(schedule, Segments) and set(schedule.shapes) <= {"const"}:
        values = [knot.value for knot in schedule.knots]
        positions = [Duration(knot.position, schedule.unit) for knot in schedule.knots]
    else:
        raise ScheduleSyntaxError(
            "batch sizes jump: [128,0]const[640,60]… or multistep(128, [60,120], gamma=5)", text, 0
        )
    for index, (position, value) in enumerate(zip(positions, values, strict=True)):
        at = _place(text, index)
        if position.number and (position.unit != "e" or position.number % 1):
            rule = f"the batch size changes at whole epochs, received {position}"
            raise ScheduleSyntaxError(rule, text, at)
        if not 1 <= value <= _LARGEST_BATCH or abs(value - round(value)) > 1e-9 * value:
            rule = f"batch sizes are whole numbers from 1 to {_LARGEST_BATCH}, received "
            raise ScheduleSyntaxError(rule + number_text(value), text, at)
    sizes = tuple(
        (int(position.number), round(value))
        for position, value in zip(positions, values, strict=True)
    )
    if sizes[0] != (0, batch_size):
        raise ScheduleSyntaxError(
            f"it must begin at epoch 0 with --batch_size={batch_size}, begins at epoch "
            f"{sizes[0][0]} with {sizes[0][1]}",
            text,
            0,
        )
    return sizes
