"""`Polynomial`: a power of the time that is left."""

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow


@keras.saving.register_keras_serializable("tfsc")
class Polynomial(Schedule):
    """rate = to + (rate₀ − to)·(1 − step/steps)^power; `to` from `steps` on.

    Args:
        rate: rate₀, from 0.
        steps: length, above 0.
        to: last rate, from 0.
        power: above 0; 1 is a straight line.

    Raises:
        ValueError: if an argument is out of range.

    Source: Caffe's "poly"; `keras.optimizers.schedules.PolynomialDecay`.
    """

    def __init__(self, rate: float, steps: float, to: float = 0.0, power: float = 1.0):
        super().__init__()
        self.initial_rate = at_least("rate", rate, 0)
        self.steps = above_zero("steps", steps)
        self.to = at_least("to", to, 0)
        self.power = above_zero("power", power)

    def rate(self, step, xp):
        # A power below 1 is steepest at the end, where float32 has no digits of what is left.
        step = step if self.power < 1 else narrow(step, xp)
        left = narrow(1.0 - xp.clip(step / self.steps, 0.0, 1.0), xp)
        return self.to + (self.initial_rate - self.to) * xp.power(left, self.power)

    def get_config(self):
        return {
            "rate": self.initial_rate,
            "steps": self.steps,
            "to": self.to,
            "power": self.power,
        }
