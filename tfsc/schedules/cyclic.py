"""`Cyclic`: cyclical learning rates."""

import math

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow, one_of, whole_times
from tfsc.schedules.catalog import CYCLIC_POLICIES


@keras.saving.register_keras_serializable("tfsc")
class Cyclic(Schedule):
    """The rate runs from `low` to `high` and back in two half cycles, again and again.

    With it the step and s the half cycle in steps:

        cycle = ⌊1 + it/(2s)⌋,   x = |it/s − 2·cycle + 1|
        rate = low + (high − low)·window·scale

        triangular    window = 1 − x,               scale = 1
        triangular2   window = 1 − x,               scale = 2^(1 − cycle)
        exp_range     window = 1 − x,               scale = gamma^it
        sine          window = ½(1 + cos πx),       scale = 1
        welch         window = 1 − x²  (parabola),  scale = 1

    Args:
        low, high: rates at the ends and in the middle of a cycle, from 0.
        half_cycle: s, steps, above 0. The paper's "stepsize": 2 to 10 epochs.
        policy: one of the above.
        gamma: of exp_range, above 0 and at most 1.
        cycles: hold `low` after this many; None: go on.

    Raises:
        ValueError: if an argument is out of range.

    Source: Smith, "Cyclical learning rates", 2017 (windows: section 3.1); Caffe's code of the
    paper; seed 004.
    """

    def __init__(
        self,
        low: float,
        high: float,
        half_cycle: float,
        policy: str = "triangular",
        gamma: float = 1.0,
        cycles: float | None = None,
    ):
        super().__init__()
        self.low, self.high = at_least("low", low, 0), at_least("high", high, 0)
        self.half_cycle = above_zero("half_cycle", half_cycle)
        self.policy = one_of("policy", policy, CYCLIC_POLICIES)
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1. Received: {gamma}")
        self.gamma = gamma
        self.cycles = cycles if cycles is None else above_zero("cycles", cycles)

    def rate(self, step, xp):
        if self.cycles is not None:
            # At its end the window is 0: the rate stays `low`.
            step = xp.minimum(step, 2.0 * self.half_cycle * self.cycles)
        done = whole_times(step, 2.0 * self.half_cycle, xp)
        # Steps since the cycle began: float32 holds them where it does not hold all steps so far.
        since = narrow(xp.maximum(step - done * (2.0 * self.half_cycle), 0.0), xp)
        x = xp.absolute(since / self.half_cycle - 1.0)
        if self.policy == "sine":
            window = 0.5 * (1.0 + xp.cos(math.pi * x))
        elif self.policy == "welch":
            window = 1.0 - xp.square(x)
        else:
            window = xp.maximum(0.0, 1.0 - x)
        if self.policy == "triangular2":
            window = window * xp.power(2.0, -narrow(done, xp))
        elif self.policy == "exp_range":
            # As an exponential: float32 would round gamma, and its powers more.
            window = window * xp.exp(math.log(self.gamma) * narrow(step, xp))
        return self.low + (self.high - self.low) * window

    def get_config(self):
        return {
            "low": self.low,
            "high": self.high,
            "half_cycle": self.half_cycle,
            "policy": self.policy,
            "gamma": self.gamma,
            "cycles": self.cycles,
        }
