"""Component texts: a family and its arguments, such as `cyclic(0.1, 3, half_cycle=5000)`.

A `Family` is declared once, in its part's `catalog.py`; a `Catalog` reads texts by the families it
has, into `Call`s, whose `str()` is the canonical text and reads back as an equal `Call`:

    sgd                                 a family, its parameters as they are by default
    sgd(0.85, nesterov)                 arguments in order, then by name; a switch by its name alone
    shift(0.07) flip                    several, where the part takes several; none for nothing

Nothing here imports TensorFlow.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tfsc.text.parameters import Parameter, Place
from tfsc.text.reader import Reader, cut

_MOST_CALLS = 20  # in a text of several


@dataclass(frozen=True, eq=False)
class Family:
    """One variant of a part of a run.

    Attributes:
        name: as it is typed.
        parameters: by name, in order.
        about: one sentence.
        builder: "module:attribute" below the catalog's package that makes it, called with the
            parameters by their names; empty: "name:name".
        fault: the rule about several arguments that a call breaks, or None.
        shortest: arguments that say the same in fewer words, so that equal recipes are one.
    """

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    about: str = ""
    builder: str = ""
    fault: Callable[["Call"], str | None] = lambda call: None
    shortest: Callable[["Call"], Mapping[str, Any]] = lambda call: {}

    def signature(self) -> str:
        """Its name and parameters with their defaults, as one would type them."""
        shown = [parameter.signature(name) for name, parameter in self.parameters.items()]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


@dataclass(frozen=True)
class Call:
    """A family and its arguments, defaults filled in; None is the builder's own default."""

    kind: Any  # a `Family`, or what a catalog has of its own kind
    arguments: tuple[tuple[str, Any], ...]

    @property
    def family(self) -> str:
        """Its family's name."""
        return self.kind.name

    def __getitem__(self, name: str) -> Any:
        return dict(self.arguments)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.arguments)

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or `default` if the family has no such parameter."""
        return dict(self.arguments).get(name, default)

    def replace(self, **changes: Any) -> Self:
        """The same family with other arguments, which are not checked."""
        arguments = tuple((dict(self.arguments) | changes).items())
        return dataclasses.replace(self, arguments=arguments)

    def __str__(self) -> str:
        shown, by_position = [], True
        for name, value in self.arguments:
            parameter = self.kind.parameters[name]
            if value == parameter.default:
                by_position = False
                continue
            by_position = by_position and parameter.by_position
            shown.append(parameter.argument(name, value, by_position))
        return f"{self.family}({','.join(shown)})" if shown else self.family


@dataclass(frozen=True)
class Calls:
    """Several calls in their order; `str()` is their text, `none` for none."""

    calls: tuple[Call, ...] = ()

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)

    def named(self, family: str) -> Call | None:
        """The call of this family, if there is one."""
        return next((call for call in self.calls if call.family == family), None)

    def __str__(self) -> str:
        return " ".join(map(str, self.calls)) or "none"


class Catalog(Mapping[str, Family]):
    """The families of one part, by their names.

    Args:
        part: what one of them is, with its article, such as "an optimizer".
        families: all of them.
        package: that has their builders, such as "tfsc.optimizers".
        call: class of what texts become.
        other_name: what to say of a word that is no family, such as ours for it; empty: nothing.
        other_parameter: likewise of (a word that is no parameter, a family's name, its parameters).
        further: other words that stand in the place of a family, for errors.
        ordered: whether several must stand in the order of the catalog.
        fault: the rule about several together that calls break, or None.
    """

    def __init__(
        self,
        part: str,
        families: tuple[Family, ...],
        package: str = "",
        *,
        call: type[Call] = Call,
        other_name: Callable[[str], str] = lambda word: "",
        other_parameter: Callable[[str, str, tuple[str, ...]], str] = lambda *_: "",
        further: tuple[str, ...] = (),
        ordered: bool = False,
        fault: Callable[[list[Call]], str | None] = lambda calls: None,
    ):
        self.part, self.package, self._call = part, package, call
        self._families = {family.name: family for family in families}
        self._other_name, self._other_parameter = other_name, other_parameter
        self._further, self._ordered, self._fault = further, ordered, fault

    @property
    def noun(self) -> str:
        """What one of them is, without article."""
        return self.part.partition(" ")[2]

    def __getitem__(self, name: str) -> Family:
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def builder(self, family: str) -> Callable[..., Any]:
        """What makes one of this family; imports it."""
        module, _, attribute = (self[family].builder or f"{family}:{family}").partition(":")
        return getattr(importlib.import_module(f"{self.package}.{module}"), attribute)

    def call(self, family: str, /, **arguments: Any) -> Call:
        """A family with these arguments, as its text would be read.

        Raises:
            TextSyntaxError: if the catalog has no such family or an argument breaks its rule.
        """
        if family not in self._families:
            return self.parse(family)
        parameters = self[family].parameters
        texts = [
            f"{name}={parameters[name].text(value) if name in parameters else value}"
            for name, value in arguments.items()
            if value is not None
        ]
        return self.parse(f"{family}({', '.join(texts)})")

    def parse(self, text: str) -> Call:
        """Read a text of one call.

        Raises:
            TextSyntaxError: with the position of the first fault, shown by a caret.
        """
        reader = Reader(flat(text))
        if reader.done():
            raise reader.fail(f"must name {self.part}: {self._names()}")
        call = self.read(reader)
        if not reader.done():
            raise reader.fail(f"nothing may follow {self.part}, found {reader.found()}")
        return call

    def parse_several(self, text: str) -> Calls:
        """Read a text of several calls, separated by blanks; `none` is none of them.

        Raises:
            TextSyntaxError: likewise.
        """
        reader = Reader(flat(text))
        calls: list[Call] = []
        if reader.done():
            raise reader.fail(f"must be none, or name what there is: {self._names()}")
        if reader.peek_word().lower() == "none":
            reader.word()
            if not reader.done():
                raise reader.fail(f"nothing may follow none, found {reader.found()}")
            return Calls()
        while not reader.done():
            start = reader.at
            call = self.read(reader)
            earlier = [other.family for other in calls]
            if call.family in earlier:
                raise reader.fail(f"{call.family} is given twice", start)
            if self._ordered and earlier and self._place(call.family) < self._place(earlier[-1]):
                rule = f"{call.family} must stand before {earlier[-1]}"
                raise reader.fail(rule, start)
            if len(calls) == _MOST_CALLS:
                raise reader.fail(f"there may be at most {_MOST_CALLS}", start)
            calls.append(call)
            if not reader.done() and not reader.peek_word():
                raise reader.fail(
                    f"expected a blank and another {self.noun}, or the end, found {reader.found()}"
                )
        if fault := self._fault(calls):
            raise reader.fail(fault, 0)
        return Calls(tuple(calls))

    def _place(self, family: str) -> int:
        return list(self._families).index(family)

    def _near(self, word: str) -> str:
        """What a word that is no family is near to, for an error; empty if to none."""
        names = (*self._further, *self._families)
        near = [name for name in names if name == word.lower()]
        near = near or difflib.get_close_matches(word.lower(), names, cutoff=0.75)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    def _names(self) -> str:
        return ", ".join((*self._further, *self._families))

    def read(self, reader: Reader) -> Call:
        """Read one call where the reader stands."""
        reader.skip_blanks()
        start = reader.at
        name = reader.word()
        if name not in self._families:
            hint = self._other_name(name) or f"; names: {self._names()}{self._near(name)}"
            named = f"is named {cut(name)!r}" if name else f"stands here, found {reader.found()}"
            raise reader.fail(f"no {self.noun} {named}{hint}", start)
        family = self[name]
        given: dict[str, Any] = {}
        end = reader.at
        if reader.take("("):
            by_position = True
            while not reader.take(")"):
                if given:
                    reader.expect(",", f"or ')' after an argument of {name}")
                by_position = self._argument(reader, family, given, by_position)
            end = reader.at - 1
        parameters = family.parameters
        missing = [key for key, p in parameters.items() if p.required and key not in given]
        if missing:
            order = ", ".join(parameters)
            raise reader.fail(f"{name} needs {missing[0]}; its parameters: {order}", end)
        filled = {key: given.get(key, parameter.default) for key, parameter in parameters.items()}
        call = self._call(family, tuple(filled.items()))
        if fault := family.fault(call):
            raise reader.fail(fault, start)
        return call.replace(**family.shortest(call))

    def _argument(
        self, reader: Reader, family: Family, given: dict[str, Any], by_position: bool
    ) -> bool:
        """Read the next argument into `given`; whether the one after it may stand without name."""
        parameters, name = family.parameters, family.name
        reader.skip_blanks()
        start = reader.at
        word = reader.word()
        switch = word in parameters and parameters[word].is_switch
        if word and (reader.take("=") or switch):
            if word not in parameters:
                order = ", ".join(parameters) or "none"
                hint = self._other_parameter(word, name, tuple(parameters))
                hint = hint or f"; it has: {order}"
                raise reader.fail(f"{name} has no parameter {cut(word)!r}{hint}", start)
            if word in given:
                raise reader.fail(f"{word} of {name} is given twice", start)
            alone = switch and reader.text[reader.at - 1] != "="
            place = Place(word, name, parameters, given)
            given[word] = True if alone else parameters[word].read(reader, place)
            return False
        reader.at = start
        if not by_position:
            raise reader.fail(f"after a named argument of {name}, all must be named", start)
        if len(given) == len(parameters):
            count = len(parameters)
            has = f"has only {count} parameter{'s' * (count != 1)}" if count else "has no parameter"
            raise reader.fail(f"{name} {has}", start)
        key = list(parameters)[len(given)]
        if parameters[key].is_switch and word not in ("", "true", "false"):
            order = ", ".join(parameters)
            raise reader.fail(f"{name} has no parameter {cut(word)!r}; it has: {order}", start)
        given[key] = parameters[key].read(reader, Place(key, name, parameters, given))
        return True


def flat(text: str) -> str:
    """A text on one line, its characters where they were."""
    return text.replace("\n", " ").replace("\t", " ")
