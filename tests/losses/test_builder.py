"""`build`: the loss that a text names."""

import pytest

from tfsc import losses
from tfsc.losses import LOSSES, CrossEntropy
from tfsc.text.reader import TextSyntaxError


@pytest.mark.parametrize(
    ("text", "smoothing"),
    [("cross_entropy", 0.0), ("cross_entropy(smoothing=0.1)", 0.1), ("cross_entropy(0.2)", 0.2)],
)
def test_each_text_is_its_loss(text, smoothing):
    for loss in (losses.build(text), losses.build(LOSSES.parse(text))):
        assert type(loss) is CrossEntropy
        assert loss.smoothing == smoothing


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cross_entropy(1)", "smoothing of cross_entropy must be from 0 to 0.99, received 1"),
        ("cross_entropy(0.1, 0.2)", "cross_entropy has only 1 parameter"),
        ("hinge", "no loss is named 'hinge'; names: cross_entropy"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        losses.build(text)
