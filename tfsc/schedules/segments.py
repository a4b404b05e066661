"""`SegmentSchedule`: the segment language as a Keras learning-rate schedule."""

import math

import keras
from keras import ops

from tfsc.schedules import language

_LAST_STEP = 2**31 - 1  # fits every integer type a step may have


@keras.saving.register_keras_serializable("tfsc")
class SegmentSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Piecewise linear, quarter-cosine and constant learning rate, written as the seeds print it.

    With e = step / steps_per_epoch (per="epoch": its integer part), and for the segment
    (L0, e0)–(L1, e1) that holds e, t = (e − e0)/(e1 − e0):

        lin: L0 + (L1 − L0)·t      cos: L1 + (L0 − L1)·cos(π/2·t)      const: L0

    Example:
        >>> schedule = SegmentSchedule("[8.e-4, 0]lin[1.e-3, 5]", steps_per_epoch=781)
        >>> keras.optimizers.AdamW(schedule, weight_decay=0.19)

    Args:
        text: segment text, a name ("type1", "type2", "atienza") or a number. See
            `tfsc.schedules.language`.
        steps_per_epoch: optimizer steps in one epoch, at least 1.
        per: "step" moves the rate at every step; "epoch" holds the value of the epoch's start.

    Raises:
        ScheduleSyntaxError: if `text` breaks the language's rules.
        ValueError: if another argument is out of range.

    Source: seed 000, tables 1 and 2; the quarter cosine is inferred from its illustrations.
    """

    def __init__(self, text: str, steps_per_epoch: int, per: str = "step"):
        super().__init__()
        if not steps_per_epoch >= 1 or steps_per_epoch % 1:
            raise ValueError(
                f"steps_per_epoch must be a whole number from 1. Received: {steps_per_epoch}"
            )
        if per not in ("step", "epoch"):
            raise ValueError(f"per must be 'step' or 'epoch'. Received: {per!r}")
        self.segments = language.parse(text)
        self.steps_per_epoch = int(steps_per_epoch)
        self.per = per

    def __call__(self, step):
        """Learning rate (float32 scalar) at `step`, an integer count of finished updates."""
        if self.per == "epoch":
            epoch = ops.cast(ops.floor_divide(step, self.steps_per_epoch), "float32")
        else:
            epoch = ops.cast(step, "float32") / self.steps_per_epoch
        knots, shapes = self.segments.knots, self.segments.shapes
        rate = ops.full_like(epoch, knots[0].value)
        for start, shape, end in zip(knots[:-1], shapes, knots[1:], strict=True):
            t = ops.clip((epoch - start.position) / (end.position - start.position), 0.0, 1.0)
            if shape == "lin":
                value = start.value + (end.value - start.value) * t
            elif shape == "cos":
                value = end.value + (start.value - end.value) * ops.cos(math.pi / 2 * t)
            else:
                value = ops.full_like(epoch, start.value)
            rate = ops.where(step >= self._first_step(start), value, rate)
        return ops.where(step >= self._first_step(knots[-1]), knots[-1].value, rate)

    def _first_step(self, knot: language.Knot) -> int:
        """The step from which a knot holds, as an integer: compilers turn /n into ·(1/n)."""
        moves_per_epoch = 1 if self.per == "epoch" else self.steps_per_epoch
        position = min(knot.position, _LAST_STEP)
        move = math.floor(position * moves_per_epoch)
        while move / moves_per_epoch < position:
            move += 1
        return min(move * (self.steps_per_epoch // moves_per_epoch), _LAST_STEP)

    def value(self, step: int) -> float:
        """The same learning rate in float64, without TensorFlow: for tables and plots."""
        epoch = step // self.steps_per_epoch if self.per == "epoch" else step / self.steps_per_epoch
        return self.segments.value(epoch)

    def get_config(self):
        return {
            "text": str(self.segments),
            "steps_per_epoch": self.steps_per_epoch,
            "per": self.per,
        }
