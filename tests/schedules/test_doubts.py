"""What never comes in a run of 25 epochs, and epochs that look like parts of it."""

import pytest

from tfsc.schedules.doubts import doubts
from tfsc.schedules.parser import parse

_RUN = "the run has 25 epochs of 781 steps"


def _doubts(text, epochs=25):
    return list(doubts(parse(text), 781, epochs * 781))


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("multistep(0.1, [10,25])", f"milestone 25e of multistep never comes: {_RUN}"),
        ("multistep(0.1, [1s,19525s])", f"milestone 19525s of multistep never comes: {_RUN}"),
        ("multistep(0.1, [50%,100%])", f"milestone 100% of multistep never comes: {_RUN}"),
        ("multistep(0.1, [20,30,40])", f"milestones 30e, 40e of multistep never come: {_RUN}"),
        (
            "multistep(0.1, [30,40,50,60,70])",
            f"milestones 30e, 40e, 50e and 2 more of multistep never come: {_RUN}",
        ),
        (
            "warmup(5) → multistep(0.1, [15,20])",
            "milestone 20e of multistep never comes: the parts before leave it 20 of the run's 25 "
            "epochs",
        ),
        ("warm_restarts(0.1, 50)", f"no restart comes in period=50e of warm_restarts: {_RUN}"),
        (
            "cyclic(0.1, 3, half_cycle=20000)",
            f"high=3 of cyclic is not reached in half_cycle=20000s: {_RUN}",
        ),
        (
            "one_cycle(1e-3, length=100)",
            f"max=1e-3 of one_cycle is not reached in length=100e: {_RUN}",
        ),
        (
            "[0.1,0]const[0.01,0.5]const[1e-3,0.75]",
            "positions are epochs: 0.5 means half an epoch; for that part of the run write 50%",
        ),
        ("[0.1,0]const[0.01,40]", f"knot [0.01,40] never comes: {_RUN}"),
        ("[0.1,0]lin[0.2,30]lin[0,60]", f"knot [0,60] never comes: {_RUN}"),
        (
            "atienza",
            f"knots [1e-4,81], [1e-5,121], [1e-6,161] and 1 more never come: {_RUN}",
        ),
        (
            "multistep(0.1, [0.5,0.75])",
            "milestones of multistep are epochs: 0.5 means half an epoch; for that part of the run "
            "write 50%",
        ),
        (
            "multistep(0.1, [0.3,1])",
            "milestones of multistep are epochs: 0.3 means 0.3 of an epoch; for that part of the "
            "run write 30%",
        ),
        (
            "warmup(2) → [0.1,0]lin[0.05,0.25]lin[0,1]",
            "positions are epochs: 0.25 means 0.25 of an epoch; for that part of the run write 25%",
        ),
    ],
)
def test_what_can_hardly_be_meant_is_told_with_the_runs_length(text, doubt):
    assert _doubts(text) == [doubt]


@pytest.mark.parametrize(
    "text",
    [
        "type1",  # ends at 26 of 25 epochs
        "type2",
        "0.1",
        "[0.1,30]",
        "[0.24,0]lin[0,100%]",
        "[0.1,0]const[0.01,24]",
        "[0,0]lin[0.1,0.5]",
        "[0.1,0]lin[0,1]",
        "multistep(0.1, [24.99])",
        "multistep(0.1, [1])",
        "multistep(0.1, [0.5,1.5])",
        "multistep(0.1, [50%,75%])",
        "warmup(5) → multistep(0.1, [19])",
        "warm_restarts(0.1, 25)",
        "warm_restarts(0.1, 100%)",
        "cyclic(0.1, 3, half_cycle=25e)",
        "warmup(0.5) → one_cycle(0.1)",
        "cosine(0.1, length=30)",
    ],
)
def test_nothing_is_said_of_what_can_be_meant(text):
    assert _doubts(text) == []


def test_in_a_run_of_one_epoch_fractions_are_what_they_are():
    assert _doubts("multistep(0.1, [0.5,0.75])", epochs=1) == []


def test_rounding_makes_no_doubt():
    # 1.1·100 is more than 110 in float64, and 0.29·100 less than 29.
    assert list(doubts(parse("warm_restarts(0.1, 1.1)"), 100, 110)) == []
    assert len(list(doubts(parse("multistep(0.1, [0.2,0.29])"), 100, 29))) == 1
