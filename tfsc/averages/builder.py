"""`build`: the average of a text."""

from tfsc.averages.averaging import Averaging
from tfsc.averages.catalog import AVERAGES
from tfsc.text.family import Call


def build(average: str | Call, total_steps: int = 0) -> Averaging:
    """The average that a text names.

    Args:
        average: text of one of `AVERAGES`, or what that has read.
        total_steps: of the run.

    Raises:
        TextSyntaxError: if the text breaks a rule.
        ValueError: if it needs the run's length and has none.
    """
    call = AVERAGES.parse(average) if isinstance(average, str) else average
    return AVERAGES.builder(call.family)(**dict(call.arguments), total_steps=total_steps)
