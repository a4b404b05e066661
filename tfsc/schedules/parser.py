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

from tfsc.schedules.catalog import (
    FAMILIES,
    HIGHEST,
    LEAST_MULT,
    SHAPES,
    Call,
    Chain,
    Duration,
    Knot,
    Parameter,
    Schedule,
    Segments,
)
from tfsc.schedules.other_names import parameter_hint, schedule_hint, shape_hint
from tfsc.text.reader import Reader, TextSyntaxError, cut, number_text

_MOST_PARTS = 20  # of a chain
_LONGEST = 1e12  # epochs or steps that a duration may have
_LEAST_EXP = 1e-30  # of rates in an exp segment, whose ratio float32 must hold

# Schedules with a name of their own, usable as `--schedule=type2`.
NAMED = {
    # Seed 000, illustrations 1 and 2.
    "type1": "[8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26]",
    "type2": "[8e-4,0]lin[1.5e-3,4]lin[1.5e-3,8]cos[1e-5,20]lin[7e-6,26]",
    # Atienza's lr_schedule has `epoch > 80`, 0-based: epoch 81 is the first one at 1e-4.
    "atienza": "[1e-3,0]const[1e-4,81]const[1e-5,121]const[1e-6,161]const[5e-7,181]",
}


class ScheduleSyntaxError(TextSyntaxError):
    """A schedule text that breaks the language's rules."""


def parse(text: str) -> Schedule:
    """Parse a schedule: segments, a number, a name of `NAMED`, a family, or a chain of those.

    Raises:
        ScheduleSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader = Reader(text.replace("\n", " ").replace("\t", " "), ScheduleSyntaxError)
    if reader.done():
        raise reader.fail("a schedule cannot be empty; write [8.e-4, 0]lin[1.e-3, 5] or a number")
    parts, starts = [], []
    while True:
        reader.skip_blanks()
        starts.append(reader.at)
        after_warmup = bool(parts) and _is_warmup(parts[-1])
        if len(parts) == _MOST_PARTS:
            raise reader.fail(f"a schedule may have at most {_MOST_PARTS} parts")
        parts.append(_part(reader))
        if after_warmup and not parts[-1].first():
            raise reader.fail("a warmup must lead to a rate above 0", starts[-1])
        if reader.done():
            break
        if not reader.take("→", "->"):
            raise reader.fail(
                f"expected '→' and another schedule, or the end, found {reader.found()}"
            )
        if parts[-1].length() is None:
            name = parts[-1].family if isinstance(parts[-1], Call) else "a constant"
            if isinstance(parts[-1], Segments) and parts[-1].shapes:
                name = "what is in percent of the run"
            raise reader.fail(
                f"{name} has no end here, so nothing can follow it{_how_to_end(parts[-1])}",
                starts[-1],
            )
    if _is_warmup(parts[-1]):
        raise reader.fail(
            "a warmup needs a schedule to lead to: warmup(5) → cosine(0.1)", starts[-1]
        )
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _is_warmup(part: Segments | Call) -> bool:
    return isinstance(part, Call) and part.family == "warmup"


def _how_to_end(part: Segments | Call) -> str:
    if isinstance(part, Segments):
        return "" if part.shapes else "; write [rate,0]const[rate,end]"
    if part.family == "cyclic":
        return "; give it cycles="
    return "; give it a length=" if "length" in FAMILIES[part.family] else ""


def _part(reader: Reader) -> Segments | Call:
    name = reader.peek_word()
    if name in NAMED:
        reader.word()
        return _segments(Reader(NAMED[name], ScheduleSyntaxError))
    if name:
        return _call(reader)
    if reader.text[reader.at : reader.at + 1] == "[":
        return _segments(reader)
    return Segments((Knot(_rate(reader, "a learning rate"), 0.0),), ())


def _segments(reader: Reader) -> Segments:
    knots, shapes, unit = [], [], None
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
        if reader.done() or reader.text.startswith(("→", "->"), reader.at):
            return Segments(tuple(knots), tuple(shapes), unit or "e")
        shapes.append(_shape(reader))


def _knot(reader: Reader) -> tuple[int, Knot, int, str]:
    """Read one knot; also where its value and its position start, and the position's unit."""
    reader.expect("[", "to open a knot [value, epoch]")
    reader.skip_blanks()
    value_at = reader.at
    value = _rate(reader, "a learning rate")
    reader.expect(",", "between a knot's learning rate and its epoch")
    reader.skip_blanks()
    position_at = reader.at
    position, unit = _time(reader, "an epoch", "e")
    reader.expect("]", "to close the knot")
    return value_at, Knot(value, position), position_at, unit


def _rate(reader: Reader, what: str) -> float:
    reader.skip_blanks()
    start = reader.at
    rate = reader.number(what)
    if rate > HIGHEST:
        raise reader.fail(
            f"{what} must be at most {HIGHEST:g}, received {number_text(rate)}", start
        )
    return rate


def _time(reader: Reader, what: str, default: str) -> tuple[float, str]:
    """A number and its unit."""
    reader.skip_blanks()
    start = reader.at
    number = reader.number(what)
    unit = "%" if reader.take("%") else _unit(reader, default)
    if unit == "%" and number > 100:
        raise reader.fail(f"a run has no more than 100%, received {number_text(number)}%", start)
    return number, unit


def _unit(reader: Reader, default: str) -> str:
    """The letter right after a number."""
    letter = reader.text[reader.at : reader.at + 1]
    following = reader.text[reader.at + 1 : reader.at + 2]
    if letter not in ("s", "e") or following.isalnum() or following == "_":
        return default
    reader.at += 1
    return letter


def _shape(reader: Reader) -> str:
    allowed = ", ".join(SHAPES)
    word = reader.peek_word()
    if not word:
        raise reader.fail(f"expected a shape ({allowed}) between knots, found {reader.found()}")
    if word not in SHAPES:
        rule = f"unknown shape {cut(word)!r}, allowed: {allowed}{shape_hint(word)}"
        raise reader.fail(rule)
    return reader.word()


def _call(reader: Reader) -> Call:
    start = reader.at
    family = reader.word()
    if family not in FAMILIES:
        names = ", ".join((*NAMED, *(f"{name}(…)" for name in FAMILIES)))
        hint = schedule_hint(family, (*NAMED, *FAMILIES))
        hint = hint or f"; names: {names}; or [value, epoch]lin…"
        raise reader.fail(f"no schedule is named {cut(family)!r}{hint}", start)
    parameters, given = FAMILIES[family], {}
    end = reader.at
    if reader.take("("):
        by_position = True
        while not reader.take(")"):
            if given:
                reader.expect(",", f"or ')' after an argument of {family}")
            name, by_position = _argument_name(reader, family, given, by_position)
            given[name] = _value(reader, family, name, given)
        end = reader.at - 1
    missing = [name for name, p in parameters.items() if p.required and name not in given]
    if missing:
        order = ", ".join(parameters)
        raise reader.fail(f"{family} needs {missing[0]}; its parameters: {order}", end)
    filled = {name: given.get(name, parameter.default) for name, parameter in parameters.items()}
    call = Call(family, tuple(filled.items()))
    if fault := _fault(call):
        raise reader.fail(fault, start)
    return call


def _argument_name(reader: Reader, family: str, given: dict, by_position: bool) -> tuple[str, bool]:
    """Which parameter comes next, its name stepped over where one stands."""
    parameters = FAMILIES[family]
    reader.skip_blanks()
    start = reader.at
    word = reader.word()
    if word and reader.take("="):
        if word not in parameters:
            order = ", ".join(parameters)
            hint = parameter_hint(word, family, tuple(parameters)) or f"; it has: {order}"
            raise reader.fail(f"{family} has no parameter {cut(word)!r}{hint}", start)
        if word in given:
            raise reader.fail(f"{word} of {family} is given twice", start)
        return word, False
    reader.at = start
    if not by_position:
        raise reader.fail(f"after a named argument of {family}, all must be named", start)
    if len(given) == len(parameters):
        raise reader.fail(f"{family} has only {len(parameters)} parameters", start)
    return list(parameters)[len(given)], True


def _value(reader: Reader, family: str, name: str, given: dict) -> object:
    parameter, what = FAMILIES[family][name], f"{name} of {family}"
    reader.skip_blanks()
    start = reader.at
    if parameter.kind == "word":
        word = reader.word()
        if word not in parameter.choices:
            allowed = ", ".join(parameter.choices)
            found = repr(cut(word)) if word else reader.found()
            raise reader.fail(f"{what} must be one of {allowed}, found {found}", start)
        return word
    if parameter.kind == "duration":
        return _duration(reader, what, parameter)
    if parameter.kind == "durations":
        return _durations(reader, what, parameter)
    if parameter.kind == "rate":
        return _rate_or_share(reader, family, name, given)
    value = reader.number(what)
    if parameter.kind == "fraction" and reader.take("%"):
        value /= 100
    if parameter.kind == "fraction" and not 0 <= value <= 1:
        raise reader.fail(f"{what} must be from 0 to 1, received {number_text(value)}", start)
    if parameter.kind == "factor" and not 0 < value <= 1:
        raise reader.fail(
            f"{what} must be above 0 and at most 1, received {number_text(value)}", start
        )
    if parameter.kind == "number" and (value < parameter.low or value == 0):
        least = f"at least {number_text(parameter.low)}" if parameter.low else "above 0"
        raise reader.fail(f"{what} must be {least}, received {number_text(value)}", start)
    if parameter.kind == "whole" and value not in parameter.choices:
        allowed = " or ".join(map(str, parameter.choices))
        raise reader.fail(f"{what} must be {allowed}, received {number_text(value)}", start)
    return int(value) if parameter.kind == "whole" else value


def _rate_or_share(reader: Reader, family: str, name: str, given: dict) -> float:
    """A rate, or a part of another one of the family: max/25."""
    what, other = f"{name} of {family}", reader.peek_word()
    if other == name or other not in FAMILIES[family] or FAMILIES[family][other].kind != "rate":
        return _rate(reader, what)
    start = reader.at
    reader.word()
    reader.expect("/", f"after {other}, as in {other}/25")
    whole, number = _rate_of(family, other, given), reader.number("what it is divided by")
    if whole is None:
        raise reader.fail(f"{other} of {family} must stand before {what}, a part of it", start)
    if number == 0 or whole / number > HIGHEST:
        raise reader.fail(f"{what} must be at most {HIGHEST:g}, received {other}/{number:g}", start)
    return whole / number


def _rate_of(family: str, name: str, given: dict) -> float | None:
    """A rate of a family, given or by default; None where it is not known yet."""
    parameter = FAMILIES[family][name]
    if name in given or parameter.share is None:
        return given.get(name, parameter.default)
    other, number = parameter.share
    whole = _rate_of(family, other, given)
    return None if whole is None else whole / number


def _duration(reader: Reader, what: str, parameter: Parameter) -> Duration:
    reader.skip_blanks()
    start = reader.at
    number, unit = _time(reader, f"{what}, a duration", parameter.unit)
    if number == 0:
        raise reader.fail(f"{what} must be above 0", start)
    if number > _LONGEST:
        raise reader.fail(f"{what} must be at most {_LONGEST:g}, received {number:g}", start)
    return Duration(number, unit)


def _durations(reader: Reader, what: str, parameter: Parameter) -> tuple[Duration, ...]:
    reader.expect("[", f"to open the list of {what}")
    found = []
    while True:
        reader.skip_blanks()
        start = reader.at
        duration = _duration(reader, what, parameter)
        if found and duration.unit != found[-1].unit:
            raise reader.fail(
                f"{what} must all be in epochs or all in steps or all in percent", start
            )
        if found and duration.number <= found[-1].number:
            raise reader.fail(f"{what} must increase", start)
        found.append(duration)
        if reader.take("]"):
            return tuple(found)
        reader.expect(",", f"or ']' in the list of {what}")


def _fault(call: Call) -> str | None:
    """A rule about two arguments together that a call breaks."""
    arguments = dict(call.arguments)
    if call.family == "cyclic":
        if arguments["policy"] == "exp_range" and arguments["gamma"] is None:
            return "cyclic with policy=exp_range needs gamma, such as gamma=0.99994"
        if arguments["policy"] != "exp_range" and arguments["gamma"] is not None:
            return f"cyclic has gamma only with policy=exp_range, not {arguments['policy']}"
    if call.family == "multistep" and max(call.steps_down()) > HIGHEST:
        return f"multistep goes above {HIGHEST:g}"
    if call.family == "warm_restarts" and 1 < arguments["mult"] < LEAST_MULT:
        return f"mult of warm_restarts must be 1 or at least {LEAST_MULT:g}"
    if call.family == "one_cycle":
        highest = 0.5 if arguments["phases"] == 3 else 1.0
        if not 0 < arguments["peak"] < highest:
            return f"peak of one_cycle must be above 0 and below {highest:g} with its phases"
    return None
