"""Kinds of parameters that schedules have beside the common ones: rates and durations."""

from dataclasses import dataclass
from typing import Any

from tfsc.schedules.duration import LONGEST, Duration, read_time
from tfsc.text.parameters import Parameter, Place
from tfsc.text.reader import Reader, number_text

HIGHEST = 1e30  # of a rate: float32 holds no more than 3e38
UNITS = {"e": "epochs", "s": "steps", "%": "percent of the run"}


def read_rate(reader: Reader, what: str) -> float:
    """A learning rate.

    Raises:
        TextSyntaxError: if there is none, or it is too high.
    """
    reader.skip_blanks()
    start = reader.at
    rate = reader.number(what)
    if rate > HIGHEST:
        raise reader.fail(
            f"{what} must be at most {HIGHEST:g}, received {number_text(rate)}", start
        )
    return rate


@dataclass(frozen=True, kw_only=True)
class Rate(Parameter):
    """A learning rate, or a part of another one of the family: max/25.

    Attributes:
        share: (another rate, number): the default is that rate divided by the number.
    """

    share: tuple[str, float] | None = None

    @property
    def required(self) -> bool:
        return super().required and self.share is None

    @property
    def rule(self) -> str:
        return "a rate"

    def read(self, reader: Reader, place: Place) -> float:
        other = reader.peek_word()
        if other == place.name or not isinstance(place.parameters.get(other), Rate):
            return read_rate(reader, place.what)
        start = reader.at
        reader.word()
        reader.expect("/", f"after {other}, as in {other}/25")
        whole = _rate_of(other, place)
        number = reader.number("what it is divided by")
        if whole is None:
            rule = f"{other} of {place.family} must stand before {place.what}, a part of it"
            raise reader.fail(rule, start)
        if number == 0 or whole / number > HIGHEST:
            rule = f"{place.what} must be at most {HIGHEST:g}, received {other}/{number:g}"
            raise reader.fail(rule, start)
        return whole / number

    def signature(self, name: str) -> str:
        return f"{name}={self.default_text()}" if self.share else super().signature(name)

    def default_text(self) -> str:
        if self.share is None:
            return super().default_text()
        return f"{self.share[0]}/{number_text(self.share[1])}"


def _rate_of(name: str, place: Place) -> float | None:
    """A rate of a family, given or by default; None where it is not known yet."""
    parameter = place.parameters[name]
    if name in place.given or not isinstance(parameter, Rate) or parameter.share is None:
        return place.given.get(name, parameter.default)
    other, number = parameter.share
    whole = _rate_of(other, place)
    return None if whole is None else whole / number


@dataclass(frozen=True, kw_only=True)
class Length(Parameter):
    """A duration.

    Attributes:
        unit: of one without unit.
    """

    unit: str = "e"

    @property
    def rule(self) -> str:
        return f"a duration ({UNITS[self.unit]})"

    def read(self, reader: Reader, place: Place) -> Duration:
        return _duration(reader, place, self.unit)


@dataclass(frozen=True, kw_only=True)
class Lengths(Parameter):
    """A list of durations that increase.

    Attributes:
        unit: of those without unit.
    """

    unit: str = "e"

    @property
    def rule(self) -> str:
        return f"a list of durations ({UNITS[self.unit]})"

    def read(self, reader: Reader, place: Place) -> tuple[Duration, ...]:
        reader.expect("[", f"to open the list of {place.what}")
        found: list[Duration] = []
        while True:
            reader.skip_blanks()
            start = reader.at
            duration = _duration(reader, place, self.unit)
            if found and duration.unit != found[-1].unit:
                raise reader.fail(
                    f"{place.what} must all be in epochs or all in steps or all in percent", start
                )
            if found and duration.number <= found[-1].number:
                raise reader.fail(f"{place.what} must increase", start)
            found.append(duration)
            if reader.take("]"):
                return tuple(found)
            reader.expect(",", f"or ']' in the list of {place.what}")

    def text(self, value: Any) -> str:
        return f"[{','.join(map(str, value))}]"

    def signature(self, name: str) -> str:
        return f"[{name}]"


def _duration(reader: Reader, place: Place, default_unit: str) -> Duration:
    reader.skip_blanks()
    start = reader.at
    number, unit = read_time(reader, f"{place.what}, a duration", default_unit)
    if number == 0:
        raise reader.fail(f"{place.what} must be above 0", start)
    if number > LONGEST:
        rule = f"{place.what} must be at most {LONGEST:g}, received {number:g}"
        raise reader.fail(rule, start)
    return Duration(number, unit)
