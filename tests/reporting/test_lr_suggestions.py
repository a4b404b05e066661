"""The rules of `lr_suggestions` on curves whose answers are known by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc import lr_options
from tfsc.reporting import lr_suggestions
from tfsc.reporting.lr_suggestions import (
    SKIP_FIRST,
    SKIP_LAST,
    Suggestion,
    accuracy_range,
    minimum,
    over_seeds,
    slide,
    steepest,
    suggest,
    together,
    valley,
)

_RATES = np.geomspace(1e-6, 10, 61)


def _index(suggestion, rates=_RATES):
    """Which of the rates a suggestion is."""
    (index,) = np.flatnonzero(rates == suggestion.rate)
    return index


# --- valley -------------------------------------------------------------------------------------


def test_valley_is_in_the_middle_of_the_longest_decrease():
    # Falls over the indices 0 … 30, 31 points: −1 + 31//3 + 31//6 = 14.
    assert _index(valley(_RATES, np.abs(np.arange(61.0) - 30))) == 14
    # Rises to index 20, falls to 50, rises: the valley is 50 − 31 = 19 …, 19 + 10 + 5 = 34.
    shifted = np.concatenate([np.arange(20.0), np.arange(30.0, -1, -1), np.arange(1, 11.0)])
    assert _index(valley(_RATES, shifted)) == 34


def test_valley_passes_over_bumps():
    losses = np.abs(np.arange(61.0) - 30)
    losses[[5, 15, 25]] += 100  # no longer part of the decrease: 28 points, 2 + 9 + 4
    assert _index(valley(_RATES, losses)) == 15


@pytest.mark.parametrize("losses", [np.arange(61.0), np.ones(61)], ids=["rising", "constant"])
def test_without_a_decrease_no_rule_but_slide_has_an_answer(losses):
    for rule in (valley, steepest, minimum):
        assert rule(_RATES, losses) == Suggestion(None, "the loss never falls")


# --- steepest, minimum --------------------------------------------------------------------------


def test_steepest_is_where_a_sigmoid_turns():
    losses = 2 / (1 + np.exp(np.arange(61.0) - 33))
    assert _index(steepest(_RATES, losses)) == 33


def test_steepest_is_by_the_logarithm_of_the_rate():
    rates = np.linspace(0, 3, 61)
    # Equal falls a step are steeper, by the logarithm, at larger rates; 0 has no logarithm.
    assert _index(steepest(rates, -np.arange(61.0)), rates) == 60


def test_minimum_is_a_tenth_of_the_best_rate():
    losses = (np.log(_RATES) - math.log(_RATES[40])) ** 2
    assert minimum(_RATES, losses).rate == pytest.approx(_RATES[40] / 10)
    assert minimum(_RATES, -np.arange(61.0)).note == "the loss still falls where the curve ends"


# --- slide --------------------------------------------------------------------------------------


def test_slide_stops_where_the_slope_does():
    # Slope 0 up to 40, then .002·(i − 40) a step. At the pair (r, r − 15) the difference is
    # .002·(r − 40) for r − 15 ≤ 40, above .005 down to r = 43: the left point is 28.
    losses = 0.001 * np.maximum(np.arange(61.0) - 40, 0) ** 2
    assert _index(slide(_RATES, losses)) == 28
    assert slide(_RATES, losses, adjust_value=0.5).rate == _RATES[28] / 2
    # Above .011 only down to r = 46.
    assert _index(slide(_RATES, losses, threshold=0.011)) == 31


def test_slide_without_a_divergence_has_no_answer():
    assert slide(_RATES, -np.arange(61.0)).note.startswith("the curve ends as flat")
    assert slide(_RATES, 0.01 * np.arange(61.0) ** 2).note == "the slope changes everywhere"
    assert slide(_RATES[:16], np.arange(16.0)).note.startswith("16 points are too few")


# --- all of them --------------------------------------------------------------------------------


def _curve(steps):
    rates = np.geomspace(1e-6, 10, steps)
    falls = 2 / (1 + np.exp(20 * np.linspace(-0.6, 0.4, steps)))
    return rates, falls + 10 * np.maximum(np.linspace(-0.8, 0.2, steps), 0) ** 2


def test_the_rules_see_the_curve_without_its_ends():
    rates, losses = _curve(100)
    expected = suggest(rates, losses)
    assert list(expected) == ["valley", "steepest", "minimum/10", "slide"]
    assert all(answer.rate is not None for answer in expected.values())
    losses[:SKIP_FIRST] = np.linspace(500, -500, SKIP_FIRST)
    losses[-SKIP_LAST:] = -1000
    assert suggest(rates, losses) == expected


def test_what_follows_a_loss_that_is_not_finite_does_not_count():
    rates, losses = _curve(100)
    expected = suggest(rates[:90], losses[:90])
    losses[90], losses[91:] = math.nan, -1
    assert suggest(rates, losses) == expected


def test_a_curve_too_short_has_no_answers():
    rates, losses = _curve(100)
    for steps in (0, 1, 17):
        answers = suggest(rates[:steps], losses[:steps])
        assert {answer.rate for answer in answers.values()} == {None}
        assert answers["slide"].note == f"{steps} steps are too few: 15 of them are skipped"
    with pytest.raises(ValueError, match=r"equal lengths\. Received: 3 rates, 2 losses"):
        suggest(rates[:3], losses[:2])


def test_the_least_number_of_steps_lets_every_rule_answer():
    assert lr_options.LEAST_STEPS == lr_suggestions.LEAST_STEPS
    rates, losses = _curve(lr_suggestions.LEAST_STEPS)
    assert "too few" not in "".join(a.note for a in suggest(rates, losses).values())
    short = suggest(rates[:-1], losses[:-1])
    assert "too few" in short["slide"].note


@given(st.lists(st.floats(-1e6, 1e6), min_size=18, max_size=60))
def test_any_curve_gets_a_rate_of_the_test_or_a_reason(losses):
    rates = np.geomspace(1e-5, 1, len(losses))
    for name, answer in suggest(rates, losses).items():
        if answer.rate is None:
            assert answer.note
        else:
            scale = 10 if name == "minimum/10" else 1
            assert np.isclose(rates, answer.rate * scale).any()


def test_over_seeds_is_the_median_of_the_logarithms():
    combined = over_seeds([Suggestion(0.001), Suggestion(0.1), Suggestion(0.004), Suggestion(0.1)])
    assert combined.rate == pytest.approx(0.02)  # √(.004 · .1)
    assert (combined.low, combined.high, combined.answers) == (0.001, 0.1, 4)
    most = over_seeds([Suggestion(0.5), Suggestion(None, "why"), Suggestion(None, "else")])
    assert (most.rate, most.low, most.answers, most.note) == (None, 0.5, 1, "why")
    assert over_seeds([Suggestion(None, "why")]).rate is None
    assert over_seeds([Suggestion(0.0), Suggestion(0.2)]).rate == 0
    assert over_seeds([Suggestion(0.3), Suggestion(0.1), Suggestion(0.7)]).rate == 0.3
    assert together([0.9, None, 0.1]) == pytest.approx(0.3)
    assert together([None, 0.0]) is None


# --- accuracy -----------------------------------------------------------------------------------


def _read(accuracies, planned=None, chance=0.1, examples=900):
    planned = planned or len(accuracies)
    rates = [(i + 1) / 10 for i in range(len(accuracies))]
    return accuracy_range(rates, accuracies, planned, chance, examples)


def test_an_accuracy_that_stays_high_is_super_convergence():
    found = _read([0.1] * 5 + [0.5] * 5 + [0.8] * 11)
    assert found.off_chance == pytest.approx(0.13)  # .1 + 3·√(.1·.9/900)
    # The median of five follows the step where it is.
    assert found.base_lr == Suggestion(0.6)
    assert found.max_lr == Suggestion(2.1, "at least: the accuracy does not fall")
    assert (found.last_third, found.ratio) == pytest.approx((0.8, 1.0))
    assert found.stays_high


def test_one_that_falls_is_not():
    found = _read([0.1] * 3 + [0.8] * 9 + [0.4] * 9)
    assert found.base_lr.rate == 0.4
    assert found.max_lr == Suggestion(1.2)
    # The last seven of 21: .4
    assert (found.last_third, found.ratio) == pytest.approx((0.4, 0.5))
    assert not found.stays_high


def test_a_single_dip_is_neither_a_fall_nor_ragged():
    accuracies = [0.1] * 3 + [0.8] * 18
    accuracies[10] = 0.1
    assert _read(accuracies).max_lr.note.startswith("at least")
    accuracies[12] = accuracies[14] = 0.1  # every other one: the median of five falls at 12
    assert _read(accuracies).max_lr == Suggestion(1.2)


def test_a_dip_near_chance_is_no_fall():
    found = _read([0.14] * 5 + [0.11] * 5 + [0.8] * 11)
    assert found.base_lr.rate == 0.1
    assert found.max_lr.rate == 2.1


def test_the_criterion_is_nine_tenths_of_the_best():
    assert _read([0.8] * 6 + [0.72] * 3).stays_high  # .72 is .9 of it (in floats, above)
    assert not _read([0.8] * 6 + [0.71] * 3).stays_high


def test_what_was_not_reached_counts_as_chance():
    found = _read([0.8] * 18, planned=21)
    # Of the last seven, four were reached: (4·.8 + 3·.1)/7 = .5
    assert found.last_third == pytest.approx(0.5) and not found.stays_high
    assert found.max_lr == Suggestion(1.8, "then the loss was not finite")


def test_an_accuracy_of_chance_is_no_super_convergence():
    found = _read([0.1, 0.11, 0.12] * 4)
    assert found.ratio > 0.9 and not found.stays_high
    assert found.base_lr == found.max_lr == Suggestion(None, "the accuracy never exceeds chance")
    assert not _read([], planned=9).stays_high
    assert _read([0.0] * 9).ratio == 0
    with pytest.raises(ValueError, match="planned=2"):
        _read([0.5] * 3, planned=2)
