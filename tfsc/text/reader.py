"""What the texts of settings share: a cursor over text, and errors that show the position."""

import math
import re

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SHOWN = 160  # characters of a long text that an error shows, a third of them before the fault


class TextSyntaxError(ValueError):
    """A text that breaks the rules of its language.

    Args:
        rule: what is wrong, and what is allowed.
        text: the whole text received.
        position: index into `text` of the first character at fault.
    """

    def __init__(self, rule: str, text: str, position: int):
        self.rule, self.text, self.position = rule, text, position
        part, at = _excerpt(text, position)
        super().__init__(f"{rule} (at character {position + 1})\n  {part}\n  {' ' * at}^")


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


def cut(word: str) -> str:
    """A word as an error repeats it."""
    return word if len(word) <= 40 else word[:40] + "…"


def number_text(number: float) -> str:
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


class Reader:
    """A cursor over text that skips blanks and knows where it stands.

    Args:
        text: what to read.
        error: class of the errors that it raises.
    """

    def __init__(self, text: str, error: type[TextSyntaxError] = TextSyntaxError):
        self.text, self.at, self._error = text, 0, error

    def skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def done(self) -> bool:
        self.skip_blanks()
        return self.at == len(self.text)

    def fail(self, rule: str, position: int | None = None) -> TextSyntaxError:
        return self._error(rule, self.text, self.at if position is None else position)

    def found(self) -> str:
        return repr(self.text[self.at]) if self.at < len(self.text) else "the end of the text"

    def take(self, *marks: str) -> bool:
        """Step over the first of `marks` that stands here."""
        self.skip_blanks()
        for mark in marks:
            if self.text.startswith(mark, self.at):
                self.at += len(mark)
                return True
        return False

    def expect(self, mark: str, where: str) -> None:
        if not self.take(mark):
            raise self.fail(f"expected '{mark}' {where}, found {self.found()}")

    def word(self) -> str:
        """The word here, stepped over; empty where there is none."""
        self.skip_blanks()
        match = _WORD.match(self.text, self.at)
        if not match:
            return ""
        self.at = match.end()
        return match.group()

    def peek_word(self) -> str:
        self.skip_blanks()
        match = _WORD.match(self.text, self.at)
        return match.group() if match else ""

    def number(self, what: str) -> float:
        """A finite number from 0, stepped over."""
        self.skip_blanks()
        match = _NUMBER.match(self.text, self.at)
        if not match:
            raise self.fail(f"expected {what}, a number such as 8.e-4, found {self.found()}")
        value = float(match.group())
        if not math.isfinite(value) or value < 0:
            received = cut(match.group())
            raise self.fail(f"{what} must be finite and at least 0, received {received}")
        self.at = match.end()
        return value
