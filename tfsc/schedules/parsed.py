"""What a schedule text means: segments, calls of families, chains; without TensorFlow.

`tfsc.schedules.parser` reads text into these, `str()` prints them in canonical form, and
`tfsc.schedules.builder` makes Keras schedules of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tfsc.schedules.duration import Duration
from tfsc.schedules.parameters import Rate
from tfsc.text.family import Call
from tfsc.text.reader import number_text

SHAPES = ("lin", "cos", "half", "exp", "const")
# The share of a rate at which its warm-up starts, by policy.
WARMUP_START = {"gradual": 0.0, "constant": 0.1}


def between(shape: str, a: float, b: float, t, cos: Callable):
    """The rate at t, from 0 to 1, between a and b. `cos` is that of floats or of tensors."""
    if shape == "lin":
        return a + (b - a) * t
    if shape == "cos":
        return b + (a - b) * cos(math.pi / 2 * t)
    if shape == "half":
        return b + (a - b) * 0.5 * (1.0 + cos(math.pi * t))
    if shape == "exp":
        return a * (b / a) ** t
    return a + 0.0 * t


@dataclass(frozen=True)
class Knot:
    """A learning rate (`value`) at a `position`, in the unit of its segments."""

    value: float
    position: float


@dataclass(frozen=True)
class Segments:
    """Segment text: n knots and the n − 1 shapes between them.

    `str()` gives the canonical text, which parses back to an equal object.

    Attributes:
        unit: of the positions: "e", epochs, "s", steps, or "%", of the run (in a chain: of what
            the parts before leave of it).
    """

    knots: tuple[Knot, ...]
    shapes: tuple[str, ...]
    unit: str = "e"

    def value(self, position: float) -> float:
        """Learning rate at `position`, in float64."""
        rate = self.knots[0].value
        for start, shape, end in zip(self.knots[:-1], self.shapes, self.knots[1:], strict=True):
            if position < start.position:
                break
            t = min((position - start.position) / (end.position - start.position), 1.0)
            rate = end.value if t == 1.0 else between(shape, start.value, end.value, t, math.cos)
        return rate

    def extremes(self) -> tuple[float, ...]:
        """The rates between which it moves."""
        return tuple(knot.value for knot in self.knots)

    def first(self) -> float:
        """The rate at its beginning."""
        return self.knots[0].value

    def constant(self) -> float | None:
        """The one value of a schedule that never moves."""
        return None if self.shapes else self.knots[0].value

    def length(self) -> Duration | None:
        """Up to the last knot; None for what has no end, or only that of the run."""
        ends = self.shapes and self.unit != "%"
        return Duration(self.knots[-1].position, self.unit) if ends else None

    def in_steps(self, steps: float) -> "Segments":
        """The same, positions in percent being those of so many steps."""
        if self.unit != "%":
            return self
        knots = (Knot(knot.value, knot.position * steps / 100) for knot in self.knots)
        return Segments(tuple(knots), self.shapes, "s")

    def __str__(self) -> str:
        text = self.knot_text(self.knots[0])
        for shape, knot in zip(self.shapes, self.knots[1:], strict=True):
            text += shape + self.knot_text(knot)
        return text

    def knot_text(self, knot: Knot) -> str:
        """One of its knots, as `str()` prints it."""
        unit = self.unit if self.unit != "e" and knot.position else ""
        return f"[{number_text(knot.value)},{number_text(knot.position)}{unit}]"


@dataclass(frozen=True)
class Moving(Call):
    """A call of a family of schedules."""

    def extremes(self) -> tuple[float, ...]:
        """The rates between which it moves."""
        kinds = self.kind.parameters
        rates = [value for name, value in self.arguments if isinstance(kinds[name], Rate)]
        if self.family == "multistep":
            rates += self.steps_down()
        return tuple(rate for rate in rates if rate is not None)

    def first(self) -> float:
        """The rate at its beginning; of a warmup, its share of what follows."""
        arguments = dict(self.arguments)
        if self.family == "warmup":
            default = WARMUP_START[arguments["policy"]]
            return default if arguments["start"] is None else arguments["start"]
        if self.family == "one_cycle" and arguments["start"] is not None:
            return arguments["start"]
        return next(iter(arguments.values()))

    def steps_down(self) -> list[float]:
        """Of multistep: the rate from each milestone on; infinite where it is beyond float64."""
        rate, rates = self["rate"], []
        for _ in self["milestones"]:
            rate *= self["gamma"]
            rates.append(rate)
        return rates

    def constant(self) -> None:
        """A family moves."""

    def length(self) -> Duration | None:
        arguments = dict(self.arguments)
        if self.family == "cyclic" and arguments["cycles"]:
            half = arguments["half_cycle"]
            return Duration(2 * half.number * arguments["cycles"], half.unit)
        return arguments.get("length")


@dataclass(frozen=True)
class Chain:
    """Parts one after another; all but the last have an end."""

    parts: tuple[Segments | Moving, ...]

    def extremes(self) -> tuple[float, ...]:
        return tuple(rate for part in self.parts for rate in part.extremes())

    def first(self) -> float:
        """The rate at its beginning; of a warmup, its share of what follows."""
        return self.parts[0].first()

    def constant(self) -> None:
        """A chain moves."""

    def __str__(self) -> str:
        return "→".join(map(str, self.parts))


ScheduleText = Segments | Moving | Chain
