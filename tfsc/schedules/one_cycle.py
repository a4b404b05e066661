"""`OneCycle`: the 1cycle policy."""

import itertools
import math

import keras

from tfsc.schedules.base import Schedule, at_least, narrow, one_of, reached


@keras.saving.register_keras_serializable("tfsc")
class OneCycle(Schedule):
    """The rate rises from `start` to `max` and falls to `end`, once.

    With T = `steps` and p = `peak`, knots as PyTorch has them (the last step, T − 1, has `end`):

        2 phases:  start at 0, max at pT − 1, end at T − 1
        3 phases:  start at 0, max at pT − 1, start at 2pT − 2, end at T − 1

    Between two of them, t from 0 to 1: linear, or cosine b + (a − b)·½(1 + cos πt). After T − 1 it
    holds `end`. As momentum: `OneCycle(0.85, start=0.95, end=0.95, …)`.

    Args:
        max: rate at the peak, from 0.
        steps: T, at least 2.
        start: default max/25.
        end: default start/1e4.
        peak: fraction of T at which `max` is reached, 0 < peak < 1 (0.5 with 3 phases).
        phases: 2 (fastai, PyTorch's default) or 3 (Smith's up, down, then far below).
        anneal: "cosine" or "linear" (Smith).

    Raises:
        ValueError: if an argument is out of range.

    Source: Smith and Topin, "Super-convergence", 2018; Smith, "A disciplined approach", 2018;
    `torch.optim.lr_scheduler.OneCycleLR`, whose values it has.
    """

    def __init__(
        self,
        max: float,
        steps: float,
        start: float | None = None,
        end: float | None = None,
        peak: float = 0.3,
        phases: int = 2,
        anneal: str = "cosine",
    ):
        super().__init__()
        self.max = at_least("max", max, 0)
        self.steps = at_least("steps", steps, 2)
        self.start = at_least("start", max / 25 if start is None else start, 0)
        self.end = at_least("end", self.start / 1e4 if end is None else end, 0)
        self.phases = one_of("phases", phases, (2, 3))
        self.anneal = one_of("anneal", anneal, ("cosine", "linear"))
        limit = 1 if phases == 2 else 0.5
        if not 0 < peak < limit:
            raise ValueError(f"peak must be above 0 and below {limit}. Received: {peak}")
        self.peak = peak

    def _knots(self) -> list[tuple[float, float]]:
        """(step, rate), in order."""
        rise = self.peak * self.steps - 1
        knots = [(0.0, self.start), (rise, self.max)]
        if self.phases == 3:
            knots.append((2 * rise, self.start))
        return [*knots, (self.steps - 1, self.end)]

    def rate(self, step, xp):
        knots = self._knots()
        rate = self.start + 0.0 * narrow(step, xp)
        for (first, a), (last, b) in itertools.pairwise(knots):
            if last <= max(first, 0.0):  # a rise of less than a step
                rate = xp.where(reached(step, first), b, rate)
                continue
            t = xp.clip(narrow(step - first, xp) / (last - first), 0.0, 1.0)
            if self.anneal == "cosine":
                t = 0.5 * (1.0 - xp.cos(math.pi * t))
            rate = xp.where(reached(step, first), a + (b - a) * t, rate)
        return rate

    def get_config(self):
        return {
            "max": self.max,
            "steps": self.steps,
            "start": self.start,
            "end": self.end,
            "peak": self.peak,
            "phases": self.phases,
            "anneal": self.anneal,
        }
