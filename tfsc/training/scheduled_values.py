"""`ScheduledValues`: rate, momentum, batch size and noise scale of each step of a run."""

from tfsc.data.batch_plan import BatchPlan
from tfsc.recipe import Recipe
from tfsc.training.build import build_momentum, build_schedule
from tfsc.training.optimizer import first_moment_decay


class ScheduledValues:
    """What a recipe's schedules say at a step, in float64, for records and plots.

    Args:
        recipe: whose schedules.
        plan: the steps of the run.

    Attributes:
        schedule: the learning rate.
    """

    def __init__(self, recipe: Recipe, plan: BatchPlan):
        self.plan = plan
        self.schedule = build_schedule(recipe, plan)
        self._momentum = build_momentum(recipe, plan)
        self._decay = first_moment_decay(recipe)

    def momentum(self, step: int) -> float:
        """Of the optimizer: scheduled, or β₁; 0 for those without."""
        if self._decay is not None:
            return self._decay
        assert self._momentum is not None  # an optimizer without β₁ has one
        return self._momentum.value(step)

    def columns(self, step: int) -> dict[str, float]:
        """Numbers of a step (counted from 0), as metrics.csv and TensorBoard show them."""
        rate, momentum = self.schedule.value(step), self.momentum(step)
        batch_size = self.plan.at_step(step).batch_size
        return {
            "learning_rate": _nine_digits(rate),
            "momentum": _nine_digits(momentum),
            "batch_size": batch_size,
            "noise_scale": _nine_digits(noise_scale(rate, self.plan.count, batch_size, momentum)),
        }


def _nine_digits(value: float) -> float:
    return float(f"{value:.9g}")


def noise_scale(rate: float, examples: int, batch_size: int, momentum: float) -> float:
    """g = ε·(N/B − 1)/(1 − m), the scale of the random fluctuations of SGD.

    Args:
        rate: ε.
        examples: N, of the training set.
        batch_size: B.
        momentum: m, below 1.

    Source: Smith, Kindermans, Ying and Le, "Don't decay the learning rate, increase the batch
    size", 2018, section 3. For Adam and its kin, whose steps are normalised, it is no more than
    the same formula with β₁.
    """
    return rate * (examples / batch_size - 1) / (1 - momentum)
