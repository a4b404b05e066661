"""--momentum and --batch_schedule in the language of schedules."""

import pytest

from tfsc.schedules.momentum_and_batch_size import parse_batch_sizes, parse_momentum
from tfsc.schedules.parser import ScheduleSyntaxError, parse


def test_inverse_momentum_goes_against_the_rate():
    one_cycle = parse("one_cycle(0.1, start=0.01, phases=3, anneal=linear)")
    assert str(parse_momentum("inverse(0.95, 0.85)", one_cycle)) == (
        "one_cycle(0.85,start=0.95,end=0.95,phases=3,anneal=linear)"
    )
    cyclic = parse("cyclic(0.1,3,50)")
    assert str(parse_momentum(" inverse(.95,.85) ", cyclic)) == "cyclic(0.95,0.85,50s)"


@pytest.mark.parametrize("text", ["0.9", "[0.95,0]lin[0.85,5]lin[0.95,10]", "cosine(0.9, 0.5)"])
def test_momentum_may_be_any_schedule_below_1(text):
    assert parse_momentum(text, parse("type1")) == parse(text)


@pytest.mark.parametrize(
    ("marked", "rule"),
    [
        ("▸1", "momentum must be at most 0.999999, goes to 1"),
        ("▸[0.9,0]lin[1.5,3]", "momentum must be at most 0.999999, goes to 1.5"),
        ("▸multistep(0.5, [1s], gamma=5)", "momentum must be at most 0.999999, goes to 2.5"),
        ("▸0.99999999999", "momentum must be at most 0.999999"),
        ("inverse▸", "expected '('"),
        ("inverse(▸1.2, 0.8)", "momentum must be at most 0.999999, received 1.2"),
        ("inverse(0.9▸)", "expected ','"),
        ("inverse(0.9,0.8)▸x", "nothing may follow"),
        ("▸inverse(0.9,0.8)", "needs a --schedule that is one_cycle(…) or cyclic(…)"),
    ],
)
def test_a_bad_momentum_is_marked(marked, rule):
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse_momentum(marked.replace("▸", ""), parse("type1"))
    assert caught.value.position == marked.index("▸")
    assert rule in caught.value.rule


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("128", ((0, 128),)),
        (
            "multistep(128, [60,120,160], gamma=5)",
            ((0, 128), (60, 640), (120, 3200), (160, 16000)),
        ),
        ("[128,0]const[640,60e]const[64,120]", ((0, 128), (60, 640), (120, 64))),
    ],
)
def test_batch_sizes_jump_at_whole_epochs(text, sizes):
    assert parse_batch_sizes(text, 128) == sizes


@pytest.mark.parametrize(
    ("marked", "rule"),
    [
        ("▸[128,0]lin[640,60]", "batch sizes jump"),
        ("▸cosine(128)", "batch sizes jump"),
        ("[128,0]const▸[640,60s]", "the batch size changes at whole epochs, received 60s"),
        ("[128,0]const▸[640,6.5]", "the batch size changes at whole epochs, received 6.5e"),
        ("▸multistep(128, [50%], gamma=2)", "changes at whole epochs, received 50%"),
        (" ▸multistep(128, [3], gamma=1.3)", "whole numbers from 1 to 65536, received 166.4"),
        ("▸multistep(128, [3], gamma=1000)", "whole numbers from 1 to 65536, received 128000"),
        ("▸[0,0]const[128,3]", "whole numbers from 1 to 65536, received 0"),
        ("▸64", "it must begin at epoch 0 with --batch_size=128, begins at epoch 0 with 64"),
        ("▸[128,2]const[256,3]", "begins at epoch 2 with 128"),
        ("[128,▸", "expected an epoch"),
    ],
)
def test_bad_batch_sizes_are_marked(marked, rule):
    with pytest.raises(ScheduleSyntaxError, match=rule) as caught:
        parse_batch_sizes(marked.replace("▸", ""), 128)
    assert caught.value.position == marked.index("▸")
