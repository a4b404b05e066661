"""What a schedule text means: segments, families with their parameters, chains; without TensorFlow.

`tfsc.schedules.parser` reads text into these, `str()` prints them in canonical form, and
`tfsc.schedules.builder` makes Keras schedules of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tfsc.text.reader import number_text

SHAPES = ("lin", "cos", "half", "exp", "const")
LEAST_MULT = 1.01  # of warm restarts that grow: a run may have only so many
CYCLIC_POLICIES = ("triangular", "triangular2", "exp_range", "sine", "welch")
# The share of a rate at which its warm-up starts, by policy.
WARMUP_START = {"gradual": 0.0, "constant": 0.1}
HIGHEST = 1e30  # of a rate: float32 holds no more than 3e38


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
class Duration:
    """A length of training: `number` of epochs (unit "e"), steps ("s") or percent ("%").

    Percent are those of the run, in a chain of what the parts before leave of it.
    """

    number: float
    unit: str

    def steps(self, steps_per_epoch: int, run: float) -> float:
        """It in steps, when the part that it belongs to begins `run` steps before the end."""
        if self.unit == "%":
            return self.number * run / 100
        return self.number * (steps_per_epoch if self.unit == "e" else 1)

    def __str__(self) -> str:
        return number_text(self.number) + self.unit


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
class Parameter:
    """A parameter of a family.

    Attributes:
        kind: "rate" (from 0), "duration", "durations" (a list), "number" (above 0), "fraction" (0
            to 1), "factor" (above 0, at most 1), "whole" (from 1), or "word".
        default: None means required, unless `optional` or `share`.
        share: (another rate, number): the default is that rate divided by the number.
        unit: of a duration without one.
        choices: of a word, or of a whole number.
        low: a "number" must be at least this, or above 0 if this is 0.
    """

    kind: str
    default: float | str | None = None
    optional: bool = False
    share: tuple[str, float] | None = None
    unit: str = "e"
    choices: tuple = ()
    low: float = 0.0

    @property
    def required(self) -> bool:
        return self.default is None and not self.optional and self.share is None


_TO = Parameter("rate", 0.0)
_LENGTH = Parameter("duration", optional=True)  # default: what is left of the run
_RATE = Parameter("rate", 1e-3)

# Families by name, each with its parameters in order. `tfsc.schedules.builder` has their classes.
FAMILIES: dict[str, dict[str, Parameter]] = {
    "cyclic": {
        "low": Parameter("rate"),
        "high": Parameter("rate"),
        "half_cycle": Parameter("duration", unit="s"),
        "policy": Parameter(
            "word",
            "triangular",
            choices=CYCLIC_POLICIES,
        ),
        "gamma": Parameter("factor", optional=True),
        "cycles": Parameter("number", optional=True),
    },
    "one_cycle": {
        "max": Parameter("rate"),
        "start": Parameter("rate", share=("max", 25.0)),
        "end": Parameter("rate", share=("start", 1e4)),
        "length": _LENGTH,
        "peak": Parameter("fraction", 0.3),
        "phases": Parameter("whole", 2, choices=(2, 3)),
        "anneal": Parameter("word", "cosine", choices=("cosine", "linear")),
    },
    "warm_restarts": {
        "rate": Parameter("rate"),
        "period": Parameter("duration"),
        "mult": Parameter("number", 1.0, low=1.0),
        "to": _TO,
    },
    "multistep": {
        "rate": Parameter("rate"),
        "milestones": Parameter("durations"),
        "gamma": Parameter("number", 0.1),
    },
    "cosine": {"rate": _RATE, "to": _TO, "length": _LENGTH},
    "exponential": {
        "rate": _RATE,
        "gamma": Parameter("factor", 0.95),
        "every": Parameter("duration", Duration(1.0, "e")),
        "length": _LENGTH,
    },
    "polynomial": {
        "rate": _RATE,
        "to": _TO,
        "power": Parameter("number", 1.0),
        "length": _LENGTH,
    },
    "warmup": {
        "length": Parameter("duration"),
        "policy": Parameter("word", "gradual", choices=tuple(WARMUP_START)),
        "start": Parameter("fraction", optional=True),
    },
}


@dataclass(frozen=True)
class Call:
    """A family and its arguments, defaults filled in; None is the family's own default."""

    family: str
    arguments: tuple[tuple[str, object], ...]

    def __getitem__(self, name: str):
        return dict(self.arguments)[name]

    def replace(self, **changes: object) -> "Call":
        return Call(self.family, tuple((dict(self.arguments) | changes).items()))

    def extremes(self) -> tuple[float, ...]:
        """The rates between which it moves."""
        kinds = FAMILIES[self.family]
        rates = [value for name, value in self.arguments if kinds[name].kind == "rate"]
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

    def __str__(self) -> str:
        parts, by_position = [], True
        for name, value in self.arguments:
            parameter = FAMILIES[self.family][name]
            if value == parameter.default:
                by_position = False
                continue
            text = _value_text(value)
            parts.append(text if by_position and parameter.required else f"{name}={text}")
        return f"{self.family}({','.join(parts)})"


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return number_text(value) if isinstance(value, int | float) else str(value)


@dataclass(frozen=True)
class Chain:
    """Parts one after another; all but the last have an end."""

    parts: tuple[Segments | Call, ...]

    def extremes(self) -> tuple[float, ...]:
        return tuple(rate for part in self.parts for rate in part.extremes())

    def first(self) -> float:
        """The rate at its beginning; of a warmup, its share of what follows."""
        return self.parts[0].first()

    def constant(self) -> None:
        """A chain moves."""

    def __str__(self) -> str:
        return "→".join(map(str, self.parts))


Schedule = Segments | Call | Chain
