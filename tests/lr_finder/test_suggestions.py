"""The rules of `lr_suggestions` on curves whose answers are known by hand."""

import bisect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.lr_finder import options as lr_options
from tfsc.lr_finder.suggestions import (
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


def test_steepest_is_where_a_step_falls_most():
    losses = 2 / (1 + np.exp(np.arange(61.0) - 33.4))  # steepest at 33.4, so from 33 to 34
    assert _index(steepest(_RATES, losses)) == 33
    assert steepest(_RATES, losses).note == ""
    losses[50:] = [50, 40, *range(41, 50)]
    assert _index(steepest(_RATES, losses)) == 50
    assert steepest(_RATES, losses).note.startswith("behind the least loss")


def test_steepest_is_by_the_logarithm_of_the_rate():
    rates = np.linspace(0, 3, 61)
    # Equal falls a step are steeper, by the logarithm, at larger rates; 0 has no logarithm.
    assert _index(steepest(rates, -np.arange(61.0)), rates) == 59


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


@pytest.mark.parametrize(("steps", "first"), [(100, 10), (300, 30), (109, 10), (1000, 100)])
def test_the_rules_see_the_curve_without_its_first_tenth_and_its_last_five(steps, first):
    rates, losses = _curve(steps)
    expected = suggest(rates, losses, steps)
    assert list(expected) == ["valley", "steepest", "minimum/10", "slide"]
    assert valley(rates[first:-5], losses[first:-5]) == expected["valley"]
    losses[:first] = np.linspace(500, -500, first)
    losses[-5:] = -1000
    assert suggest(rates, losses, steps) == expected
    losses[first] = 1000
    losses[-6] = -1000  # these are seen
    assert suggest(rates, losses, steps)["steepest"] != expected["steepest"]


def test_a_test_that_ends_early_is_without_a_tenth_of_what_was_planned():
    rates, losses = _curve(300)
    expected = suggest(rates[:250], losses[:250], 300)
    losses[:30] = np.linspace(500, -500, 30)
    losses[245:250] = -1000
    assert suggest(rates[:250], losses[:250], 300) == expected


def test_what_follows_a_loss_that_is_not_finite_does_not_count():
    rates, losses = _curve(100)
    for bad, index, end in ((math.nan, 90, 90), (math.nan, 97, 95), (math.inf, 90, 86)):
        cut = losses.copy()
        cut[index], cut[index + 1 :] = bad, -1
        seen = suggest(rates[: end + 5], losses[: end + 5], 100)  # up to `end`, without the last 5
        assert suggest(rates, cut, 100) == seen
        assert suggest(rates[: index + 1], cut[: index + 1], 100) == seen


def test_a_curve_too_short_has_no_answers():
    rates, losses = _curve(100)
    for steps in (0, 1, 17):
        answers = suggest(rates[:steps], losses[:steps], 100)
        assert {answer.rate for answer in answers.values()} == {None}
        assert answers["slide"].note == (
            f"{steps} steps are too few: the first 10 (a tenth of 100) and the last 5 are skipped"
        )
    assert suggest(rates[:18], losses[:18], 100)["valley"].rate is not None
    with pytest.raises(ValueError, match=r"of at most planned\. Received: 3 rates, 2 losses"):
        suggest(rates[:3], losses[:2], 100)
    with pytest.raises(ValueError, match="planned=2"):
        suggest(rates[:3], losses[:3], 2)


def test_the_least_number_of_steps_lets_every_rule_answer():
    for steps in range(lr_options.LEAST_STEPS, 61):
        notes = [answer.note for answer in suggest(*_curve(steps), steps).values()]
        assert "too few" not in "".join(notes), steps
    steps = lr_options.LEAST_STEPS - 1
    assert "too few" in suggest(*_curve(steps), steps)["slide"].note


@given(st.lists(st.floats(-1e6, 1e6), min_size=18, max_size=60))
def test_any_curve_gets_a_rate_of_the_test_or_a_reason(losses):
    rates = np.geomspace(1e-5, 1, len(losses))
    for name, answer in suggest(rates, losses, len(losses)).items():
        if answer.rate is None:
            assert answer.note
        else:
            scale = 10 if name == "minimum/10" else 1
            assert np.isclose(rates, answer.rate * scale).any()


# --- parity with fastai -------------------------------------------------------------------------


def _smoothed(steps, number):
    """A random test: smoothed losses of one that falls and diverges, of a walk, or of noise."""
    rng = np.random.default_rng([steps, number])
    x = np.linspace(0, 1, steps)
    knee = rng.uniform(0.3, 0.9)
    falls = 2.3 - rng.uniform(0.1, 1.5) / (1 + np.exp(20 * (knee - 0.2 - x)))
    losses = (
        falls + rng.uniform(3, 60) * np.maximum(x - knee, 0) ** 2 + rng.normal(0, 0.3, steps),
        2 + np.cumsum(rng.normal(0, 0.1, steps)) * rng.uniform(0.1, 1),
        rng.normal(2, 0.5, steps),
    )[number % 3]
    average, smoothed = 0.0, []
    for count, loss in enumerate(np.abs(losses), start=1):
        average = 0.98 * average + 0.02 * loss
        smoothed.append(average / (1 - 0.98**count))
        if smoothed[-1] > 4 * min(smoothed):
            break
    return np.array(smoothed)


def _of_fastai(rates, losses):
    """Index by rule, derived anew from what the rules say; with fastai's answer to "nothing"."""
    # Longest decreasing subsequence ending at each point: by the least last members of each length.
    tails, ends = [], []
    for loss in losses:
        place = bisect.bisect_left(tails, -loss)
        tails[place:] = [-loss, *tails[place + 1 :]]
        ends.append(place + 1)
    longest = max(ends)
    start = ends.index(longest) - longest if longest > 1 else 0
    third = (longest if longest > 1 else 0) / 3
    falls = [
        (losses[i + 1] - losses[i]) / math.log(rates[i + 1] / rates[i])
        for i in range(len(losses) - 1)
    ]
    slopes = [losses[1] - losses[0], losses[-1] - losses[-2]]
    slopes[1:1] = [(losses[i + 1] - losses[i - 1]) / 2 for i in range(1, len(losses) - 1)]
    left = len(losses) - 16
    halt = left
    while halt >= 0 and abs(slopes[halt + 15] - slopes[halt]) > 0.005:
        left, halt = halt, halt - 1
    return {
        # fastai has −1, the last rate, where a valley of two begins the curve.
        "valley": max(start + int(third) + int(third / 2), 0),
        "steepest": falls.index(min(falls)),
        "minimum/10": list(losses).index(min(losses)),
        "slide": left,
    }


@pytest.mark.parametrize(("steps", "tests"), [(40, 60), (100, 60), (300, 60), (1000, 15)])
def test_every_answer_is_that_of_fastai(steps, tests):
    answered = dict.fromkeys(("valley", "steepest", "minimum/10", "slide"), 0)
    rates = np.geomspace(1e-6, 10, steps)
    for number in range(tests):
        smoothed = _smoothed(steps, number)
        seen = slice(steps // 10, len(smoothed) - 5)
        if seen.stop - seen.start < 17:
            continue  # ended too early
        expected = _of_fastai(rates[seen], smoothed[seen])
        for name, answer in suggest(rates[: len(smoothed)], smoothed, steps).items():
            index = expected[name]
            if answer.rate is not None:
                answered[name] += 1
                assert answer.rate * (10 if name == "minimum/10" else 1) == pytest.approx(
                    rates[seen][index]
                ), (number, name)
            elif name == "steepest":
                assert np.diff(smoothed[seen]).min() >= 0
            else:
                last = seen.stop - seen.start - 1
                assert index in {"slide": (0, last - 15)}.get(name, (0, last)), (number, name)
    assert min(answered.values()) > tests / 5


# --- several seeds ------------------------------------------------------------------------------


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
