"""`build`: the loss of a text."""

from typing import Any

from tfsc.losses.catalog import LOSSES
from tfsc.text.family import Call


def build(loss: str | Call) -> Any:
    """The loss that a text names, to be called with labels and logits.

    Args:
        loss: text of one of `LOSSES`, or what that has read.

    Raises:
        TextSyntaxError: if the text breaks a rule.
    """
    call = LOSSES.parse(loss) if isinstance(loss, str) else loss
    return LOSSES.builder(call.family)(**dict(call.arguments))
