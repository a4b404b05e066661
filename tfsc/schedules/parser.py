"""The language of `--schedule`: read and check a text, without TensorFlow.

Segments, as the seeds print them (source: seed 000, tables 1 and 2, "LR reduction phases"):

    [8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 12]cos[1.e-5, 20]lin[6.e-6, 26]

A knot `[value, position]` is a learning rate at a position from 0, in epochs (fractional), in
steps (`5000s`) or in percent of the run (`50%`). Between two knots (L0, e0) and (L1, e1), with
t = (e − e0)/(e1 − e0):

    lin     L0 + (L1 − L0)·t
    cos     L1 + (L0 − L1)·cos(π/2·t)       a *quarter* cosine: flat at e0, steepest at e1
    half    L1 + (L0 − L1)·½(1 + cos π·t)   the usual half cosine: flat at both ends
    exp     L0·(L1/L0)^t                    both rates above 0
    const   L0, and L1 from e1 on

Before the first knot its value holds, from the last knot on the last value does. A bare number is
a constant schedule; a word of `NAMED` stands for its text.

Families, with their parameters in order or by name: `FAMILIES`.

    cyclic(0.1, 3.0, half_cycle=5000, policy=triangular2)
    warmup(5, gradual) → multistep(0.1, [40,80,120], gamma=0.2)

A duration is a number with `s` (steps), `e` (epochs) or `%` (of the run); without any it has the
unit of its family's source: steps for cyclic, epochs for all others. `→` (or `->`) goes on with
the next part when one has ended; a part's own time starts at its beginning, and its percent are
those of what is left of the run there. A rate may be a part of another one of its family:
`start=max/25`.
"""

from tfsc.schedules.catalog import FAMILIES, NAMED
from tfsc.schedules.duration import read_time
from tfsc.schedules.other_names import shape_hint
from tfsc.schedules.parameters import read_rate
from tfsc.schedules.parsed import SHAPES, Chain, Knot, Moving, ScheduleText, Segments
from tfsc.text.family import flat
from tfsc.text.reader import Reader, TextSyntaxError, cut, number_text

_MOST_PARTS = 20  # of a chain
_BEHIND = ("→", "->", ",", ")")  # of segments
_LEAST_EXP = 1e-30  # of rates in an exp segment, whose ratio float32 must hold


class ScheduleSyntaxError(TextSyntaxError):
    """A schedule text that breaks the language's rules."""


def parse(text: str) -> ScheduleText:
    """Parse a schedule: segments, a number, a name of `NAMED`, a family, or a chain of those.

    Raises:
        ScheduleSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader = Reader(flat(text), ScheduleSyntaxError)
    if reader.done():
        raise reader.fail("a schedule cannot be empty; write [8.e-4, 0]lin[1.e-3, 5] or a number")
    schedule = read(reader)
    if not reader.done():
        raise reader.fail(f"expected '→' and another schedule, or the end, found {reader.found()}")
    return schedule


def read(reader: Reader, what: str = "a learning rate") -> ScheduleText:
    """Read a schedule where the reader stands, up to what is none of it.

    Args:
        reader: the cursor.
        what: its values are, for errors.

    Raises:
        ScheduleSyntaxError: likewise.
    """
    parts: list[Segments | Moving] = []
    starts: list[int] = []
    while True:
        reader.skip_blanks()
        starts.append(reader.at)
        after_warmup = bool(parts) and _is_warmup(parts[-1])
        if len(parts) == _MOST_PARTS:
            raise reader.fail(f"a schedule may have at most {_MOST_PARTS} parts")
        parts.append(_part(reader, what))
        if after_warmup and not parts[-1].first():
            raise reader.fail("a warmup must lead to a rate above 0", starts[-1])
        if not reader.take("→", "->"):
            break
        if parts[-1].length() is None:
            name = parts[-1].family if isinstance(parts[-1], Moving) else "a constant"
            if isinstance(parts[-1], Segments) and parts[-1].shapes:
                name = "what is in percent of the run"
            raise reader.fail(
                f"{name} has no end here, so nothing can follow it{_how_to_end(parts[-1])}",
                starts[-1],
            )
    if _is_warmup(parts[-1]) and (reader.done() or reader.text[reader.at] in ",)"):
        raise reader.fail(
            "a warmup needs a schedule to lead to: warmup(5) → cosine(0.1)", starts[-1]
        )
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _is_warmup(part: Segments | Moving) -> bool:
    return isinstance(part, Moving) and part.family == "warmup"


def _how_to_end(part: Segments | Moving) -> str:
    if isinstance(part, Segments):
        return "" if part.shapes else "; write [rate,0]const[rate,end]"
    if part.family == "cyclic":
        return "; give it cycles="
    return "; give it a length=" if "length" in part else ""


def _part(reader: Reader, what: str) -> Segments | Moving:
    name = reader.peek_word()
    if name in NAMED:
        reader.word()
        return _segments(Reader(NAMED[name], ScheduleSyntaxError))
    if name:
        call = FAMILIES.read(reader)
        assert isinstance(call, Moving)  # what this catalog reads texts as
        return call
    if reader.text[reader.at : reader.at + 1] == "[":
        return _segments(reader)
    return Segments((Knot(read_rate(reader, what), 0.0),), ())


def _segments(reader: Reader) -> Segments:
    knots: list[Knot] = []
    shapes: list[str] = []
    unit = None
    while True:
        value_at, knot, position_at, knot_unit = _knot(reader)
        if knots and knot.position <= knots[-1].position:
            raise reader.fail(
                f"epochs must increase from knot to knot: {number_text(knot.position)} after "
                f"{number_text(knots[-1].position)}",
                position_at,
            )
        if knot.position and unit and knot_unit != unit:
            raise reader.fail(
                "positions must all be in epochs, all in steps (5000s) or all in percent of the "
                "run (50%)",
                position_at,
            )
        unit = knot_unit if knot.position else unit
        if shapes and shapes[-1] == "exp" and min(knots[-1].value, knot.value) < _LEAST_EXP:
            raise reader.fail(
                f"an exp segment needs learning rates of at least {_LEAST_EXP:g}", value_at
            )
        knots.append(knot)
        reader.skip_blanks()
        if reader.at == len(reader.text) or reader.text.startswith(_BEHIND, reader.at):
            return Segments(tuple(knots), tuple(shapes), unit or "e")
        shapes.append(_shape(reader))


def _knot(reader: Reader) -> tuple[int, Knot, int, str]:
    """Read one knot; also where its value and its position start, and the position's unit."""
    reader.expect("[", "to open a knot [value, epoch]")
    reader.skip_blanks()
    value_at = reader.at
    value = read_rate(reader, "a learning rate")
    reader.expect(",", "between a knot's learning rate and its epoch")
    reader.skip_blanks()
    position_at = reader.at
    position, unit = read_time(reader, "an epoch", "e")
    reader.expect("]", "to close the knot")
    return value_at, Knot(value, position), position_at, unit


def _shape(reader: Reader) -> str:
    allowed = ", ".join(SHAPES)
    word = reader.peek_word()
    if not word:
        raise reader.fail(f"expected a shape ({allowed}) between knots, found {reader.found()}")
    if word not in SHAPES:
        rule = f"unknown shape {cut(word)!r}, allowed: {allowed}{shape_hint(word)}"
        raise reader.fail(rule)
    return reader.word()
