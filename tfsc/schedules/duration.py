"""Lengths of training and positions in it: epochs, steps, percent of the run."""

from dataclasses import dataclass

from tfsc.text.reader import Reader, number_text

LONGEST = 1e12  # epochs or steps that a duration may have


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


def read_time(reader: Reader, what: str, default: str) -> tuple[float, str]:
    """A number and its unit, `default` where there is none.

    Raises:
        TextSyntaxError: with the rule.
    """
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
