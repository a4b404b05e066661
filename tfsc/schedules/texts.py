"""What other settings say in the language of schedules: momentum, and batch sizes.

Without TensorFlow, like `tfsc.schedules.language`.
"""

from tfsc.schedules.language import ScheduleSyntaxError, parse
from tfsc.schedules.spec import Call, Duration, Schedule, Segments
from tfsc.schedules.syntax import Reader, number_text


def parse_momentum(text: str, schedule: Schedule) -> Schedule:
    """Parse `--momentum`: a number or schedule text with values below 1, or `inverse(high, low)`.

    `inverse(0.95, 0.85)` moves against the learning rate of a `one_cycle` or `cyclic` schedule:
    from high to low while the rate rises, and back (Smith, "A disciplined approach", 1cycle).

    Raises:
        ScheduleSyntaxError: with the position of the first fault.
    """
    reader = Reader(text, ScheduleSyntaxError)
    if reader.peek_word() != "inverse":
        momentum = parse(text)
        if max(momentum.extremes()) >= 1:
            reader.skip_blanks()
            raise reader.fail(
                f"momentum must stay below 1, goes to {number_text(max(momentum.extremes()))}"
            )
        return momentum
    start = reader.at
    reader.word()
    reader.expect("(", "after inverse, as in inverse(0.95, 0.85)")
    high = _momentum_value(reader)
    reader.expect(",", "between inverse's two momenta")
    low = _momentum_value(reader)
    reader.expect(")", "after inverse's two momenta")
    if not reader.done():
        raise reader.fail(f"nothing may follow inverse(…), found {reader.found()}")
    family = schedule.family if isinstance(schedule, Call) else ""
    if family == "one_cycle":
        return schedule.replace(max=low, start=high, end=high)
    if family == "cyclic":
        return schedule.replace(low=high, high=low)
    raise reader.fail(
        "inverse(…) needs a --schedule that is one_cycle(…) or cyclic(…), and no more", start
    )


def _momentum_value(reader: Reader) -> float:
    reader.skip_blanks()
    start = reader.at
    value = reader.number("a momentum")
    if value >= 1:
        raise reader.fail(f"momentum must be below 1, received {number_text(value)}", start)
    return value


_LARGEST_BATCH = 65_536


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
    if isinstance(schedule, Call) and schedule.family == "multistep":
        values = [schedule["rate"] * schedule["gamma"] ** k for k in range(_jumps(schedule) + 1)]
        positions = [Duration(0.0, "e"), *schedule["milestones"]]
    elif isinstance(schedule, Segments) and set(schedule.shapes) <= {"const"}:
        values = [knot.value for knot in schedule.knots]
        positions = [Duration(knot.position, schedule.unit) for knot in schedule.knots]
    else:
        raise ScheduleSyntaxError(
            "batch sizes jump: [128,0]const[640,60]… or multistep(128, [60,120], gamma=5)", text, 0
        )
    for position in positions:
        if position.number and (position.unit != "e" or position.number % 1):
            raise ScheduleSyntaxError(
                f"the batch size changes at whole epochs, received {position}", text, 0
            )
    for value in values:
        if not 1 <= round(value) <= _LARGEST_BATCH or abs(value - round(value)) > 1e-9 * value:
            raise ScheduleSyntaxError(
                f"batch sizes are whole numbers from 1 to {_LARGEST_BATCH}, received "
                f"{number_text(value)}",
                text,
                0,
            )
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


def _jumps(multistep: Call) -> int:
    return len(multistep["milestones"])
