"""`WarmRestarts`: cosine annealing that starts anew."""

import math

import keras
import numpy as np

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow, reached, whole_times
from tfsc.schedules.catalog import LEAST_MULT

_LAST_STEP = 2.0**31


@keras.saving.register_keras_serializable("tfsc")
class WarmRestarts(Schedule):
    """The rate falls by half a cosine over T_i steps, then starts anew; T_{i+1} = mult·T_i.

        rate = to + (rate₀ − to)·½(1 + cos(π·T_cur/T_i)),   T_cur: steps since the restart

    Args:
        rate: rate₀, from 0.
        period: T_0, steps, above 0; where a fraction of a step is over, the restart comes at the
            next step, and no later for the restarts before it.
        mult: T_mult, 1 or at least 1.01.
        to: rate at the end of each period, never quite reached.

    Raises:
        ValueError: if an argument is out of range.

    Source: Loshchilov and Hutter, "SGDR", 2017, equation 5; seeds 003 and 004.
    """

    def __init__(self, rate: float, period: float, mult: float = 1.0, to: float = 0.0):
        super().__init__()
        self.initial_rate = at_least("rate", rate, 0)
        self.period = above_zero("period", period)
        self.mult = at_least("mult", mult, 1)
        if 1 < mult < LEAST_MULT:
            raise ValueError(f"mult must be 1 or at least {LEAST_MULT}. Received: {mult}")
        self.to = at_least("to", to, 0)
        self._begins, self._lengths = _periods(self.period, self.mult)

    def _current(self, step, xp):
        """Begin and length of the period that holds `step`."""
        if self.mult == 1:
            return whole_times(step, self.period, xp) * self.period, self.period
        # By comparison: a logarithm would miss restarts.
        over = reached(xp.expand_dims(step, -1), self._begins[1:])
        index = xp.sum(xp.where(over, 1, 0), axis=-1)
        begin, length = xp.take(self._begins, index), xp.take(self._lengths, index)
        return begin, narrow(length, xp)

    def period_at(self, step, xp):
        """Steps in the period that holds a float64 `step`."""
        return self._current(step, xp)[1]

    def rate(self, step, xp):
        begin, length = self._current(step, xp)
        t = xp.clip(narrow(step - begin, xp) / length, 0.0, 1.0)
        return self.to + (self.initial_rate - self.to) * 0.5 * (1.0 + xp.cos(math.pi * t))

    def get_config(self):
        return {
            "rate": self.initial_rate,
            "period": self.period,
            "mult": self.mult,
            "to": self.to,
        }


def _periods(period: float, mult: float) -> tuple[np.ndarray, np.ndarray]:
    """Begins and lengths of all periods that a run can reach, in float64."""
    begins, lengths = [0.0], [float(period)]
    while mult > 1 and begins[-1] + lengths[-1] < _LAST_STEP:
        begins.append(begins[-1] + lengths[-1])
        lengths.append(lengths[-1] * mult)
    return np.array(begins), np.array(lengths)
