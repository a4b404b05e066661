"""The segment language of the seeds: parse, print and evaluate, in float64, without TensorFlow.

    [8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 12]cos[1.e-5, 20]lin[6.e-6, 26]

A knot `[value, position]` is a learning rate at a position in epochs, from 0 and fractional.
Between two knots (L0, e0) and (L1, e1), with t = (e − e0)/(e1 − e0):

    lin     L0 + (L1 − L0)·t
    cos     L1 + (L0 − L1)·cos(π/2·t)       a *quarter* cosine: flat at e0, steepest at e1
    const   L0, and L1 from e1 on

Before the first knot its value holds, from the last knot on the last value does. A bare number is
a constant schedule. Source: seed 000, tables 1 and 2 ("LR reduction phases").
"""

import math
import re
from dataclasses import dataclass

SHAPES = ("lin", "cos", "const")

# Schedules with a name of their own, usable as `--schedule=type2`.
NAMED = {
    # Seed 000, illustrations 1 and 2.
    "type1": "[8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26]",
    "type2": "[8e-4,0]lin[1.5e-3,4]lin[1.5e-3,8]cos[1e-5,20]lin[7e-6,26]",
    # Atienza's lr_schedule has `epoch > 80`, 0-based: epoch 81 is the first one at 1e-4.
    "atienza": "[1e-3,0]const[1e-4,81]const[1e-5,121]const[1e-6,161]const[5e-7,181]",
}

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]+")


class ScheduleSyntaxError(ValueError):
    """A schedule text that breaks the language's rules.

    Args:
        rule: what is wrong, and what is allowed.
        text: the whole text received.
        position: index into `text` of the first character at fault.
    """

    def __init__(self, rule: str, text: str, position: int):
        self.rule, self.text, self.position = rule, text, position
        part, at = _excerpt(text, position)
        super().__init__(f"{rule} (at character {position + 1})\n  {part}\n  {' ' * at}^")


_SHOWN = 160  # characters of a long text that an error shows, a third of them before the fault


def _excerpt(text: str, position: int) -> tuple[str, int]:
    """The part of a text that an error shows, and where in that part the fault is."""
    start = 0 if len(text) <= _SHOWN else max(0, position - _SHOWN // 3)
    part = text[start : start + _SHOWN]
    if start > 0:
        part = "…" + part[1:]
    if start + _SHOWN < len(text):
        part += "…"
    # One character for one, so that the caret stays under the fault.
    part = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in part)
    return part, position - start


def _cut(word: str) -> str:
    return word if len(word) <= 40 else word[:40] + "…"


@dataclass(frozen=True)
class Knot:
    """A learning rate (`value`) at a `position` in epochs."""

    value: float
    position: float


@dataclass(frozen=True)
class Segments:
    """A parsed schedule: n knots and the n − 1 shapes between them.

    `str()` gives the canonical text, which parses back to an equal object.
    """

    knots: tuple[Knot, ...]
    shapes: tuple[str, ...]

    def value(self, position: float) -> float:
        """Learning rate at `position` (epochs), in float64."""
        rate = self.knots[0].value
        for start, shape, end in zip(self.knots[:-1], self.shapes, self.knots[1:], strict=True):
            if position < start.position:
                break
            t = min((position - start.position) / (end.position - start.position), 1.0)
            if t == 1.0:
                rate = end.value
            elif shape == "lin":
                rate = start.value + (end.value - start.value) * t
            elif shape == "cos":
                rate = end.value + (start.value - end.value) * math.cos(math.pi / 2 * t)
            else:
                rate = start.value
        return rate

    def __str__(self) -> str:
        text = _knot_text(self.knots[0])
        for shape, knot in zip(self.shapes, self.knots[1:], strict=True):
            text += shape + _knot_text(knot)
        return text


def _number_text(number: float) -> str:
    """Shortest text that reads back as `number`, in the seeds' manner: 8e-4, 1.5e-3, 0.1, 26."""
    if number == int(number) and abs(number) < 1e6:
        return str(int(number))
    if abs(number) >= 0.01 and abs(number) < 1e6:
        return repr(number)
    # repr() finds the shortest digits that round-trip; only their layout changes here.
    for digits in range(17):
        text = f"{number:.{digits}e}"
        if float(text) == number:
            break
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


def _knot_text(knot: Knot) -> str:
    return f"[{_number_text(knot.value)},{_number_text(knot.position)}]"


class _Reader:
    """A cursor over schedule text that skips blanks and knows where it stands."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def done(self) -> bool:
        self.skip_blanks()
        return self.at == len(self.text)

    def fail(self, rule: str, position: int | None = None) -> ScheduleSyntaxError:
        return ScheduleSyntaxError(rule, self.text, self.at if position is None else position)

    def found(self) -> str:
        return repr(self.text[self.at]) if self.at < len(self.text) else "the end of the text"

    def expect(self, mark: str, where: str) -> None:
        self.skip_blanks()
        if not self.text.startswith(mark, self.at):
            raise self.fail(f"expected '{mark}' {where}, found {self.found()}")
        self.at += len(mark)

    def number(self, what: str) -> float:
        self.skip_blanks()
        match = _NUMBER.match(self.text, self.at)
        if not match:
            raise self.fail(f"expected {what}, a number such as 8.e-4, found {self.found()}")
        value = float(match.group())
        if not math.isfinite(value) or value < 0:
            received = _cut(match.group())
            raise self.fail(f"{what} must be finite and at least 0, received {received}")
        self.at = match.end()
        return value

    def shape(self) -> str:
        self.skip_blanks()
        match = _WORD.match(self.text, self.at)
        allowed = ", ".join(SHAPES)
        if not match:
            raise self.fail(f"expected a shape ({allowed}) between knots, found {self.found()}")
        if match.group() not in SHAPES:
            raise self.fail(f"unknown shape {_cut(match.group())!r}, allowed: {allowed}")
        self.at = match.end()
        return match.group()


def _parse_knot(reader: _Reader) -> tuple[Knot, int]:
    """Read one knot; also return where its position's digits start, for later error marks."""
    reader.expect("[", "to open a knot [value, epoch]")
    value = reader.number("a learning rate")
    reader.expect(",", "between a knot's learning rate and its epoch")
    reader.skip_blanks()
    position_at = reader.at
    position = reader.number("an epoch")
    reader.expect("]", "to close the knot")
    return Knot(value, position), position_at


def parse(text: str) -> Segments:
    """Parse segment text, a name from `NAMED`, or a bare number (a constant schedule).

    Raises:
        ScheduleSyntaxError: with the position of the first fault, shown by a caret.
    """
    text = text.replace("\n", " ").replace("\t", " ")
    name = text.strip()
    if name in NAMED:
        return parse(NAMED[name])
    reader = _Reader(text)
    if reader.done():
        raise reader.fail("a schedule cannot be empty; write [8.e-4, 0]lin[1.e-3, 5] or a number")
    if _WORD.match(text, reader.at):
        names = ", ".join(NAMED)
        raise reader.fail(
            f"no schedule is named {_cut(name)!r}; names: {names}; or [value, epoch]lin…"
        )
    if text[reader.at] != "[":
        value = reader.number("a learning rate")
        if not reader.done():
            raise reader.fail(
                f"nothing may follow a constant learning rate, found {reader.found()}"
            )
        return Segments((Knot(value, 0.0),), ())

    knot, _ = _parse_knot(reader)
    knots, shapes = [knot], []
    while not reader.done():
        shapes.append(reader.shape())
        knot, position_at = _parse_knot(reader)
        if knot.position <= knots[-1].position:
            previous = _number_text(knots[-1].position)
            raise reader.fail(
                f"epochs must increase from knot to knot: {_number_text(knot.position)} after "
                f"{previous}",
                position_at,
            )
        knots.append(knot)
    return Segments(tuple(knots), tuple(shapes))
