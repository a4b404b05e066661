"""`MultiStep`: a rate that drops by a factor at milestones."""

import keras

from tfsc.schedules.base import Schedule, above_zero, at_least, narrow, reached


@keras.saving.register_keras_serializable("tfsc")
class MultiStep(Schedule):
    """rate = rate₀·gammaᵏ, with k the number of milestones reached.

    Args:
        rate: rate₀, from 0.
        milestones: steps, increasing, at which the rate is multiplied; one with a fraction is
            reached at the next step.
        gamma: above 0.

    Raises:
        ValueError: if an argument is out of range.

    Source: `torch.optim.lr_scheduler.MultiStepLR`; Caffe's "multistep"; seeds 002 and 003.
    """

    def __init__(self, rate: float, milestones: list[float], gamma: float = 0.1):
        super().__init__()
        self.initial_rate = at_least("rate", rate, 0)
        self.milestones = [above_zero("milestones", milestone) for milestone in milestones]
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must increase. Received: {milestones}")
        self.gamma = above_zero("gamma", gamma)

    def rate(self, step, xp):
        rate = self.initial_rate + 0.0 * narrow(step, xp)
        for count, milestone in enumerate(self.milestones, start=1):
            rate = xp.where(reached(step, milestone), self.initial_rate * self.gamma**count, rate)
        return rate

    def get_config(self):
        return {
            "rate": self.initial_rate,
            "milestones": self.milestones,
            "gamma": self.gamma,
        }
