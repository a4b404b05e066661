"""`NormalizedDecay`: the weight decay of AdamWR and SGDWR."""

import math

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow
from tfsc.schedules.warm_restarts import WarmRestarts


@keras.saving.register_keras_serializable("tfsc")
class NormalizedDecay(Schedule):
    """λ of a decoupled optimizer, normalised by the length of the current restart.

        λ = norm·√(b/(B·T_i)) / rate = norm / √(steps in restart i) / rate

    With batch size b, B training examples and T_i epochs in restart i. Our optimizers multiply λ
    by the learning rate η_t·α, the paper by its multiplier η_t alone: hence the division by α.

    Args:
        restarts: the schedule of the learning rate.
        norm: λ_norm, from 0; the paper has 0.025 to 0.05.
        rate: α, the learning rate at a restart, above 0.

    Raises:
        ValueError: if an argument is out of range.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, appendix B.1.
    """

    def __init__(self, restarts: WarmRestarts, norm: float, rate: float):
        super().__init__()
        self.restarts = restarts
        self.norm, self.learning_rate = at_least("norm", norm, 0), above_zero("rate", rate)

    def rate(self, step, xp):
        steps = self.restarts.period_at(step, xp)
        root = math.sqrt(steps) if isinstance(steps, int | float) else xp.sqrt(steps)
        return self.norm / self.learning_rate / root + 0.0 * narrow(step, xp)

    def get_config(self):
        return {
            "restarts": keras.optimizers.schedules.serialize(self.restarts),
            "norm": self.norm,
            "rate": self.learning_rate,
        }

    @classmethod
    def from_config(cls, config):
        restarts = keras.optimizers.schedules.deserialize(config["restarts"])
        return cls(**(config | {"restarts": restarts}))
