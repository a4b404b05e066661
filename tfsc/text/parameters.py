"""Kinds of parameters of component texts: what each reads, allows and prints."""

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfsc.text.reader import Reader, cut, number_text


@dataclass(frozen=True)
class Place:
    """Where an argument stands.

    Attributes:
        name: of the parameter.
        family: its name.
        parameters: all of the family.
        given: its arguments that have been read.
    """

    name: str
    family: str
    parameters: Mapping[str, "Parameter"]
    given: Mapping[str, Any]

    @property
    def what(self) -> str:
        """The parameter in words."""
        return f"{self.name} of {self.family}"


@dataclass(frozen=True, kw_only=True)
class Parameter(abc.ABC):
    """A parameter of a family; its subclasses are the kinds.

    Attributes:
        default: None means required, unless `optional`.
        optional: whether it may be left at None, the builder's own.
        leading: whether canonical text has it without its name, where all before it stand there.
        about: one sentence.
    """

    default: Any = None
    optional: bool = False
    leading: bool = False
    about: str = ""

    is_switch = False

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is None and not self.optional

    @property
    def by_position(self) -> bool:
        """Whether canonical text has it without its name, where it can."""
        return self.required or self.leading

    @property
    @abc.abstractmethod
    def rule(self) -> str:
        """What is allowed, in words."""

    @abc.abstractmethod
    def read(self, reader: Reader, place: Place) -> Any:
        """Read a value where the reader stands.

        Raises:
            TextSyntaxError: with the rule.
        """

    def text(self, value: Any) -> str:
        """What `read` reads back as `value`."""
        is_number = isinstance(value, int | float) and math.isfinite(value)
        return number_text(value) if is_number else str(value)

    def argument(self, name: str, value: Any, by_position: bool) -> str:
        """`value` as an argument in canonical text."""
        return self.text(value) if by_position else f"{name}={self.text(value)}"

    def signature(self, name: str) -> str:
        """The parameter as a family's signature has it."""
        return name if self.default is None else f"{name}={self.text(self.default)}"

    def default_text(self) -> str:
        """The default as one would type it; empty where there is none."""
        return "" if self.default is None else self.text(self.default)


@dataclass(frozen=True, kw_only=True)
class Word(Parameter):
    """One of some words."""

    choices: tuple[str, ...]

    @property
    def rule(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def read(self, reader: Reader, place: Place) -> str:
        reader.skip_blanks()
        start = reader.at
        word = reader.word()
        if word not in self.choices:
            found = repr(cut(word)) if word else reader.found()
            raise reader.fail(f"{place.what} must be {self.rule}, found {found}", start)
        return word


@dataclass(frozen=True, kw_only=True)
class Switch(Parameter):
    """On or off: its name alone turns it on."""

    default: bool = False
    is_switch = True

    @property
    def rule(self) -> str:
        return "true or false"

    def read(self, reader: Reader, place: Place) -> bool:
        reader.skip_blanks()
        start = reader.at
        word = reader.word()
        if word not in ("true", "false"):
            found = repr(cut(word)) if word else reader.found()
            raise reader.fail(f"{place.what} must be {self.rule}, found {found}", start)
        return word == "true"

    def text(self, value: bool) -> str:
        return str(value).lower()

    def argument(self, name: str, value: bool, by_position: bool) -> str:
        return name if value else f"{name}=false"


@dataclass(frozen=True, kw_only=True)
class Number(Parameter):
    """A number within bounds, from 0.

    Attributes:
        low, high: its bounds.
        above, below: whether it must be above `low`, below `high`.
        percent: whether it may be typed in percent.
    """

    low: float = 0.0
    high: float = math.inf
    above: bool = False
    below: bool = False
    percent: bool = False

    @property
    def bounds(self) -> str:
        """What is allowed, as "from 0 to 1"."""
        low, high = number_text(self.low), "" if self.high == math.inf else number_text(self.high)
        if not self.above and not self.below and high:
            return f"from {low} to {high}"
        first = f"above {low}" if self.above else f"at least {low}"
        last = f" and {'below' if self.below else 'at most'} {high}" if high else ""
        return first + last

    @property
    def rule(self) -> str:
        return f"a number {self.bounds}" + (", or percent" if self.percent else "")

    def read(self, reader: Reader, place: Place) -> float:
        reader.skip_blanks()
        start = reader.at
        value = reader.number(place.what)
        if self.percent and reader.take("%"):
            value /= 100
        too_low = value < self.low or (self.above and value == self.low)
        if too_low or value > self.high or (self.below and value == self.high):
            received = number_text(value)
            raise reader.fail(f"{place.what} must be {self.bounds}, received {received}", start)
        return value


@dataclass(frozen=True, kw_only=True)
class Whole(Parameter):
    """A whole number within bounds, or one of some."""

    low: int = 0
    high: int = 1_000_000_000
    choices: tuple[int, ...] = ()

    @property
    def bounds(self) -> str:
        if self.choices:
            return " or ".join(map(str, self.choices))
        return f"a whole number from {self.low} to {self.high}"

    @property
    def rule(self) -> str:
        return self.bounds

    def read(self, reader: Reader, place: Place) -> int:
        reader.skip_blanks()
        start = reader.at
        value = reader.number(place.what)
        allowed = value in self.choices if self.choices else self.low <= value <= self.high
        if value % 1 or not allowed:
            received = number_text(value)
            raise reader.fail(f"{place.what} must be {self.bounds}, received {received}", start)
        return int(value)

    def text(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True, kw_only=True)
class Wholes(Parameter):
    """A list of whole numbers, such as [6,6,6].

    Attributes:
        low, high: bounds of each.
        most: how many there may be.
        odd: whether each must be odd.
        alone: whether a number alone is a list of one.
    """

    low: int = 1
    high: int = 1_000_000_000
    most: int = 16
    odd: bool = False
    alone: bool = False

    @property
    def rule(self) -> str:
        kind = "odd" if self.odd else "whole"
        return f"a list of {kind} numbers from {self.low} to {self.high}, at most {self.most}"

    def read(self, reader: Reader, place: Place) -> tuple[int, ...]:
        if not reader.take("["):
            if not self.alone:
                rule = f"{place.what} must be a list, such as {self.text(self.default or (1, 1))}"
                raise reader.fail(f"{rule}, found {reader.found()}")
            return (self._item(reader, place),)
        found: list[int] = []
        while True:
            reader.skip_blanks()
            if len(found) == self.most:
                raise reader.fail(f"{place.what} may have at most {self.most} numbers")
            found.append(self._item(reader, place))
            if reader.take("]"):
                return tuple(found)
            reader.expect(",", f"or ']' in the list of {place.what}")

    def _item(self, reader: Reader, place: Place) -> int:
        reader.skip_blanks()
        start = reader.at
        value = reader.number(place.what)
        if value % 1 or not self.low <= value <= self.high or (self.odd and not value % 2):
            kind = "odd" if self.odd else "whole"
            rule = f"{place.what} must be {kind} numbers from {self.low} to {self.high}"
            raise reader.fail(f"{rule}, received {number_text(value)}", start)
        return int(value)

    def text(self, value: tuple[int, ...] | int) -> str:
        items = (value,) if isinstance(value, int) else value
        if self.alone and len(items) == 1:
            return str(items[0])
        return f"[{','.join(map(str, items))}]"
