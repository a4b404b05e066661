"""`Exponential`: a constant factor for each stretch of time."""

import math

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow


@keras.saving.register_keras_serializable("tfsc")
class Exponential(Schedule):
    """rate = rate₀·gamma^(step/every), smoothly; constant from `steps` on.

    Args:
        rate: rate₀, from 0.
        every: steps in which the rate is multiplied by gamma, above 0.
        gamma: above 0, at most 1.
        steps: length, above 0; None: without end.

    Raises:
        ValueError: if an argument is out of range.

    Source: `keras.optimizers.schedules.ExponentialDecay`.
    """

    def __init__(self, rate: float, every: float, gamma: float = 0.95, steps: float | None = None):
        super().__init__()
        self.initial_rate = at_least("rate", rate, 0)
        self.every = above_zero("every", every)
        self.gamma = above_zero("gamma", gamma)
        if gamma > 1:
            raise ValueError(f"gamma must be at most 1. Received: {gamma}")
        self.steps = steps if steps is None else above_zero("steps", steps)

    def rate(self, step, xp):
        if self.steps is not None:
            step = xp.minimum(step, self.steps)
        # As an exponential: float32 would round gamma, and its powers more.
        return self.initial_rate * xp.exp(math.log(self.gamma) / self.every * narrow(step, xp))

    def get_config(self):
        return {
            "rate": self.initial_rate,
            "every": self.every,
            "gamma": self.gamma,
            "steps": self.steps,
        }
