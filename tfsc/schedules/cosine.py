"""`Cosine`: half a cosine."""

import math

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow


@keras.saving.register_keras_serializable("tfsc")
class Cosine(Schedule):
    """rate = to + (rate₀ − to)·½(1 + cos(π·step/steps)); `to` from `steps` on.

    Args:
        rate: rate₀, from 0.
        steps: length, above 0.
        to: last rate, from 0.

    Raises:
        ValueError: if an argument is out of range.

    Source: He et al., "Bag of tricks", 2019, section 5.1.
    """

    def __init__(self, rate: float, steps: float, to: float = 0.0):
        super().__init__()
        self.initial_rate = at_least("rate", rate, 0)
        self.steps = above_zero("steps", steps)
        self.to = at_least("to", to, 0)

    def rate(self, step, xp):
        t = xp.clip(narrow(step, xp) / self.steps, 0.0, 1.0)
        return self.to + (self.initial_rate - self.to) * 0.5 * (1.0 + xp.cos(math.pi * t))

    def get_config(self):
        return {"rate": self.initial_rate, "steps": self.steps, "to": self.to}
