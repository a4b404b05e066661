"""What a range test suggests: rules from a curve of losses, or of accuracies, to a learning rate.

No rule is right everywhere (seed 004: "results are quite inconsistent"). So there are several, and
one that finds nothing says so.

The rules for losses, and which points they see, are those of fastai 2.8.12 (callback/schedule.py,
`lr_find`), compared by running its functions on random curves of 100, 300 and 1000 steps. Where its
rule finds nothing it still answers, with an end of the curve; here there is no answer then, and
each rule's text says when. The test itself has rates of its own (see `RangeTest`: the last step has
the last rate, which fastai's does not reach).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The first losses say little about the rate, and the last ones are the divergence.
SKIP_FIRST_PART, SKIP_LAST = 10, 5  # a tenth of the test's planned steps; five of those taken
SLIDE_DISTANCE = 15


@dataclass(frozen=True)
class Suggestion:
    """A rule's answer: a learning rate, or None and why there is none.

    `note` may also limit an answer.
    """

    rate: float | None
    note: str = ""


def suggest(
    rates: Sequence[float], smoothed: Sequence[float], planned: int
) -> dict[str, Suggestion]:
    """Every rule's answer for one range test.

    All rules see the same part of the curve: without the first ⌊planned/10⌋ steps, the last 5 of
    those taken, and all from the first on whose smoothed loss is not finite. A test that a NaN ends
    counts as if it had gone on (fastai's does, with NaN to its end): then no more than the NaN is
    missing where 5 or more of the planned steps follow.

    Args:
        rates: rising.
        smoothed: the smoothed loss at each.
        planned: steps of the test, had it not ended early; at least as many.

    Returns:
        By name: "valley", "steepest", "minimum/10" and "slide"; none of them has an answer if they
        see fewer than three points.
    """
    rate, loss = np.asarray(rates, np.float64), np.asarray(smoothed, np.float64)
    if len(rate) != len(loss) or planned < len(rate):
        raise ValueError(
            "rates and smoothed must have equal lengths, of at most planned. Received: "
            f"{len(rate)} rates, {len(loss)} losses, planned={planned}"
        )
    part = _seen(loss, planned)
    if part.stop - part.start < 3:
        short = Suggestion(
            None,
            f"{len(rate)} steps are too few: the first {part.start} (a tenth of {planned}) and the "
            f"last {SKIP_LAST} are skipped",
        )
        return dict.fromkeys(RULES, short)
    return {name: rule(rate[part], loss[part]) for name, rule in RULES.items()}


def _seen(losses: np.ndarray, planned: int) -> slice:
    """The part of a curve that the rules see."""
    first, end = planned // SKIP_FIRST_PART, len(losses) - SKIP_LAST
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        index = int(bad[0])
        taken = planned if math.isnan(losses[index]) else index + 1
        end = min(index, taken - SKIP_LAST)
    return slice(first, max(end, 0))


def valley(rates: np.ndarray, losses: np.ndarray) -> Suggestion:
    """The middle of the longest valley.

    With n the length of the longest strictly decreasing subsequence of the losses and e the first
    index at which one of that length ends, the valley is e − n … e, and the answer the rate at
    e − n + ⌊n/3⌋ + ⌊n/6⌋.

    fastai answers with the first rate where the loss never falls.

    Source: fastai `valley`, its default (developed by ESRI).
    """
    lengths = np.ones(len(losses), int)
    for index in range(1, len(losses)):
        longer = lengths[:index][losses[:index] > losses[index]]
        lengths[index] = longer.max(initial=0) + 1
    end = int(np.argmax(lengths))
    length = int(lengths[end])
    if length < 2:
        return Suggestion(None, "the loss never falls")
    # Not below 0: where only the second loss is below the first, fastai's −1 is the last rate.
    return Suggestion(float(rates[max(end - length + length // 3 + length // 6, 0)]))


def steepest(rates: np.ndarray, losses: np.ndarray) -> Suggestion:
    """The rate from which on the loss falls fastest over the logarithm of the rate.

        argmin over i of (loss[i+1] − loss[i]) / (log rate[i+1] − log rate[i])

    Behind the least loss it is a loss that comes back from a divergence: then a note says so.
    fastai answers with the flattest rise where the loss never falls.

    Source: fastai `steep`; Gugger, "How do you find a good learning rate".
    """
    inside = rates > 0  # a linear test may start from 0
    losses, rates = losses[inside], rates[inside]
    if len(losses) < 2 or np.diff(losses).min() >= 0:
        return Suggestion(None, "the loss never falls")
    index = int(np.argmin(np.diff(losses) / np.diff(np.log(rates))))
    behind = index >= np.argmin(losses)
    note = "behind the least loss: it comes back from a divergence there" if behind else ""
    return Suggestion(float(rates[index]), note)


def minimum(rates: np.ndarray, losses: np.ndarray) -> Suggestion:
    """A tenth of the rate at which the loss is least.

    fastai answers so also where that is the first or the last rate.

    Source: fastai `minimum`; seed 004 ("approx. one order smaller").
    """
    least = int(np.argmin(losses))
    if least == 0:
        return Suggestion(None, "the loss never falls")
    if least == len(losses) - 1:
        return Suggestion(None, "the loss still falls where the curve ends")
    return Suggestion(float(rates[least]) / 10)


def slide(
    rates: np.ndarray,
    losses: np.ndarray,
    distance: int = SLIDE_DISTANCE,
    threshold: float = 0.005,
    adjust_value: float = 1.0,
) -> Suggestion:
    """The rate at which the slope, seen from the right, stops falling.

    Two points `distance` steps apart slide from the right end to the left, for as long as the
    slopes of the loss (a step) at them differ by more than `threshold`. The answer is the rate at
    the left point where they last did, times `adjust_value`.

    fastai answers with the left point of the first pair, or with the smallest rate, where the
    points do not slide or never halt; here there is no answer then.

    Args:
        rates, losses: the curve.
        distance: in steps.
        threshold: in loss a step; meant for about 100 steps.
        adjust_value: factor of the answer.

    Source: fastai `slide` (Andrew Chang, Novetta).
    """
    if len(losses) < distance + 2:
        return Suggestion(None, f"{len(losses)} points are too few: it compares {distance} apart")
    slope = np.gradient(losses)
    differ = np.abs(slope[distance:] - slope[:-distance]) > threshold
    if not differ[-1]:
        return Suggestion(None, "the curve ends as flat as it was before: no divergence to slide")
    if differ.all():
        return Suggestion(None, "the slope changes everywhere")
    left = len(differ) - int(np.argmin(differ[::-1]))  # argmin: the first pair that is alike
    return Suggestion(float(rates[left]) * adjust_value)


RULES = {"valley": valley, "steepest": steepest, "minimum/10": minimum, "slide": slide}


@dataclass(frozen=True)
class OverSeeds:
    """One rule's answers over several seeds.

    Attributes:
        rate: their median in the logarithm; None if fewer than half of the seeds have one.
        low, high: the least and the greatest; None without any.
        answers: how many seeds have one.
        note: of the first seed that has a note.
    """

    rate: float | None
    low: float | None
    high: float | None
    answers: int
    note: str


def over_seeds(suggestions: Sequence[Suggestion]) -> OverSeeds:
    """Combine one rule's answers, one a seed."""
    rates = [s.rate for s in suggestions if s.rate is not None]
    note = next((s.note for s in suggestions if s.note), "")
    if not rates:
        return OverSeeds(None, None, None, 0, note)
    rate = _middle(rates) if 2 * len(rates) >= len(suggestions) else None
    return OverSeeds(rate, min(rates), max(rates), len(rates), note)


def together(rates: Sequence[float | None]) -> float | None:
    """The median, in the logarithm, of several rules' answers; None without any above 0."""
    known = [rate for rate in rates if rate]
    return _middle(known) if known else None


def _middle(rates: Sequence[float]) -> float:
    """The median in the logarithm: of an even number, the geometric mean of the middle two."""
    known = sorted(rates)
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return low if low == high else math.sqrt(low * high)


@dataclass(frozen=True)
class AccuracyRange:
    """What Smith's range test says: accuracies while the rate rises.

    Attributes:
        smoothed: centred median of five of the accuracies (of fewer at the ends).
        chance: accuracy of always naming the most frequent class.
        off_chance: the accuracy that is taken for learning: chance + 3·√(chance·(1 − chance)/n).
        base_lr: the first rate whose smoothed accuracy exceeds it.
        max_lr: the last rate before the smoothed accuracy falls below 0.9 of its best so far, that
            is, falls or becomes ragged; looked for once it has gained a fifth of what chance
            leaves.
        last_third: mean accuracy over the last third of the planned evaluations.
        ratio: last_third over the best smoothed accuracy.
        stays_high: the criterion of super-convergence.
    """

    smoothed: list[float]
    chance: float
    off_chance: float
    base_lr: Suggestion
    max_lr: Suggestion
    last_third: float
    ratio: float
    stays_high: bool


STAYS_HIGH = 0.9
LEARNS = 0.2  # of what chance leaves to be gained


def accuracy_range(
    rates: Sequence[float],
    accuracies: Sequence[float],
    planned: int,
    chance: float,
    examples: int,
) -> AccuracyRange:
    """Read a range test of accuracy.

    Super-convergence shows in an accuracy that stays high at large rates. Here that means: the best
    smoothed accuracy has gained a fifth of what chance leaves, and the mean accuracy over the last
    third of the planned evaluations is at least 0.9 of it. What was planned and not reached,
    because the loss was no longer finite, counts as `chance`.

    Args:
        rates: at each evaluation made, rising.
        accuracies: there.
        planned: evaluations, at least as many.
        chance: accuracy of always naming the most frequent class, below 1.
        examples: n, that each accuracy is a mean of.

    Source: Smith, "Cyclical learning rates for training neural networks", section 3.3 (base_lr,
        max_lr); Smith and Topin, "Super-convergence", figure 2; the thresholds are ours.
    """
    if len(rates) != len(accuracies) or planned < max(len(rates), 1):
        raise ValueError(
            "rates and accuracies must have equal lengths, of at most planned. Received: "
            f"{len(rates)} rates, {len(accuracies)} accuracies, planned={planned}"
        )
    smoothed = [float(np.median(accuracies[max(i - 2, 0) : i + 3])) for i in range(len(accuracies))]
    off_chance = chance + 3 * math.sqrt(chance * (1 - chance) / examples)
    complete = [*accuracies, *[chance] * (planned - len(accuracies))]
    last_third = float(np.mean(complete[-math.ceil(planned / 3) :]))
    best = max(smoothed, default=chance)
    ratio = last_third / best if best > 0 else 0.0
    base, top = _bounds(rates, smoothed, chance, off_chance, whole=len(rates) == planned)
    return AccuracyRange(
        smoothed=smoothed,
        chance=chance,
        off_chance=off_chance,
        base_lr=base,
        max_lr=top,
        last_third=last_third,
        ratio=ratio,
        stays_high=best - chance >= LEARNS * (1 - chance) and ratio >= STAYS_HIGH,
    )


def _bounds(
    rates: Sequence[float],
    smoothed: Sequence[float],
    chance: float,
    off_chance: float,
    whole: bool,
) -> tuple[Suggestion, Suggestion]:
    """base_lr and max_lr."""
    # Near chance, a fall by a tenth is noise.
    learned = chance + LEARNS * (1 - chance)
    first = next((i for i, value in enumerate(smoothed) if value > off_chance), None)
    if first is None:
        never = Suggestion(None, "the accuracy never exceeds chance")
        return never, never
    early = "at most: the first evaluation is off chance already" if first == 0 else ""
    base, best = Suggestion(float(rates[first]), early), smoothed[first]
    for index in range(first, len(smoothed)):
        best = max(best, smoothed[index])
        if best >= learned and smoothed[index] < STAYS_HIGH * best:
            return base, Suggestion(float(rates[index - 1]))
    note = "at least: the accuracy does not fall" if whole else "then the loss was not finite"
    return base, Suggestion(float(rates[-1]), note)
