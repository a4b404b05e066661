"""`build`: the average that a text names."""

import pytest

from tfsc import averages
from tfsc.averages import AVERAGES, Averaging
from tfsc.text.reader import TextSyntaxError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Averaging(total_steps=90)),
        ("ema(0.999)", Averaging(0.999, total_steps=90)),
        ("ema(0.9, every=3, power=2)", Averaging(0.9, 3, 2.0, total_steps=90)),
        ("lookahead(0.774)", Averaging(0.774, 5, 3.0, lookahead=True, total_steps=90)),
        ("lookahead(0.5, 1, 0)", Averaging(0.5, 1, 0.0, lookahead=True, total_steps=90)),
    ],
)
def test_each_text_is_its_average(text, expected):
    assert averages.build(text, 90) == averages.build(AVERAGES.parse(text), 90) == expected


def test_only_what_needs_the_runs_length_needs_it():
    assert averages.build("none") == Averaging()
    assert averages.build("ema(0.9)") == Averaging(0.9)
    for text in ("lookahead(0.9)", "ema(0.9, power=1)"):
        with pytest.raises(ValueError, match="total_steps must be at least 1"):
            averages.build(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ema", "ema needs decay"),
        ("ema(0)", "decay of ema must be above 0 and at most 0.999999, received 0"),
        ("ema(1)", "decay of ema must be above 0 and at most 0.999999, received 1"),
        ("ema(0.9, every=0)", "every of ema must be a whole number from 1 to 1000000, received 0"),
        ("ema(0.9, power=101)", "power of ema must be from 0 to 100, received 101"),
        ("none(0.9)", "none has no parameter"),
        ("swa", "no average is named 'swa'; names: none, ema, lookahead"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        averages.build(text)
