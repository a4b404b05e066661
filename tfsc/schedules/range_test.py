"""`RangeTest`: the learning rates of a range test, as a Keras schedule."""

import math

import keras
from keras import ops

GROWTHS = ("exponential", "linear")


@keras.saving.register_keras_serializable("tfsc")
class RangeTest(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that grows from `start` to `end` in `num_steps` steps, and then stays.

    With k = step − first_step and n = num_steps:

        exponential: start·(end/start)^(k/(n − 1))      linear: start + (end − start)·k/(n − 1)

    Example:
        >>> schedule = RangeTest(1e-6, 10.0, num_steps=100)
        >>> [schedule.value(step) for step in (0, 99)]
        [1e-06, 10.0]

    Args:
        start: rate of the first step, at least 0; above 0 if the growth is exponential.
        end: rate of the last step, above `start`.
        num_steps: at least 2.
        growth: "exponential" or "linear".
        first_step: the optimizer's count of steps when the test begins.

    Raises:
        ValueError: if an argument is out of range.

    Source: Smith, "Cyclical learning rates for training neural networks", section 3.3 (linear);
        Gugger, "How do you find a good learning rate" (exponential); seed 004.
    """

    def __init__(
        self,
        start: float,
        end: float,
        num_steps: int,
        growth: str = "exponential",
        first_step: int = 0,
    ):
        super().__init__()
        if growth not in GROWTHS:
            raise ValueError(f"growth must be one of {', '.join(GROWTHS)}. Received: {growth!r}")
        if not 0 <= start < end < math.inf:
            raise ValueError(
                "start and end must be finite, with 0 ≤ start < end. Received: "
                f"start={start}, end={end}"
            )
        if growth == "exponential" and start == 0:
            raise ValueError("start must be above 0 for exponential growth. Received: start=0")
        for name, number, least in (("num_steps", num_steps, 2), ("first_step", first_step, 0)):
            if not number >= least or number % 1:
                raise ValueError(f"{name} must be a whole number from {least}. Received: {number}")
        self.start, self.end = float(start), float(end)
        self.num_steps, self.first_step = int(num_steps), int(first_step)
        self.growth = growth

    def __call__(self, step):
        """Learning rate (float32 scalar) at `step`, an integer count of finished updates."""
        # Whole numbers first: float32 would lose the steps of a long training.
        k = ops.clip(step - self.first_step, 0, self.num_steps - 1)
        t = ops.cast(k, "float32") / (self.num_steps - 1)
        if self.growth == "linear":
            return self.start + (self.end - self.start) * t
        return self.start * ops.exp(math.log(self.end / self.start) * t)

    def value(self, step: int) -> float:
        """The same learning rate in float64, without TensorFlow: for tables and plots."""
        k = min(max(step - self.first_step, 0), self.num_steps - 1)
        if k == self.num_steps - 1:
            return self.end
        t = k / (self.num_steps - 1)
        if self.growth == "linear":
            return self.start + (self.end - self.start) * t
        return self.start * (self.end / self.start) ** t

    def get_config(self):
        return {
            "start": self.start,
            "end": self.end,
            "num_steps": self.num_steps,
            "growth": self.growth,
            "first_step": self.first_step,
        }
