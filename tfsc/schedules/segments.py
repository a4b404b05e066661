"""`SegmentSchedule`: segment text as a Keras learning-rate schedule."""

import keras

from tfsc.schedules import parser
from tfsc.schedules.base import Schedule, narrow, reached, whole_times
from tfsc.schedules.parsed import Segments, between

_LAST_STEP = 2**62  # no run comes so far
# Float32 holds a position to 2^-24 of it: to 4e-6 of a segment as long as a 64th of its end.
_SHORT = 1 / 64


@keras.saving.register_keras_serializable("tfsc")
class SegmentSchedule(Schedule):
    """Learning rate in segments between knots, written as the seeds print it.

    With e the position of a step, in epochs or steps as the text has it (per="epoch": that of the
    epoch's start), and for the segment (L0, e0)–(L1, e1) that holds e, t = (e − e0)/(e1 − e0):

        lin:   L0 + (L1 − L0)·t                 const: L0
        cos:   L1 + (L0 − L1)·cos(π/2·t)        exp:   L0·(L1/L0)^t
        half:  L1 + (L0 − L1)·½(1 + cos π·t)

    Example:
        >>> schedule = SegmentSchedule("[8.e-4, 0]lin[1.e-3, 5]", steps_per_epoch=781)
        >>> keras.optimizers.AdamW(schedule, weight_decay=0.19)

    Args:
        text: segment text, a name ("type1", "type2", "atienza") or a number. See
            `tfsc.schedules.parser`.
        steps_per_epoch: optimizer steps in one epoch, at least 1.
        per: "step" moves the rate at every step; "epoch" holds the value of the epoch's start.

    Raises:
        ScheduleSyntaxError: if `text` breaks the language's rules.
        ValueError: if it is another schedule than segments, or an argument is out of range.

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
        segments = parser.parse(text)
        if not isinstance(segments, Segments):
            raise ValueError(
                "text must be segments, a name of them, or a number; "
                f"tfsc.schedules.builder.build makes every schedule. Received: {text!r}"
            )
        if segments.unit == "%":
            raise ValueError(
                "text must have positions in epochs or steps; tfsc.schedules.builder.build knows "
                f"the length of a run. Received: {text!r}"
            )
        self.segments = segments
        self.steps_per_epoch = int(steps_per_epoch)
        self.per = per

    def rate(self, step, xp):
        unit = self.steps_per_epoch if self.segments.unit == "e" else 1
        if self.per == "epoch":
            epochs = whole_times(step, self.steps_per_epoch, xp)
            step = epochs * self.steps_per_epoch
            exact = epochs * (self.steps_per_epoch / unit)
            position = narrow(exact, xp)
        else:
            exact, position = step / unit, narrow(step, xp) / unit
        knots, shapes = self.segments.knots, self.segments.shapes
        rate = knots[0].value + 0.0 * position
        for start, shape, end in zip(knots[:-1], shapes, knots[1:], strict=True):
            length = end.position - start.position
            # Float32 where that is enough: the bits of earlier versions.
            at = exact if length < _SHORT * end.position else position
            t = narrow(xp.clip((at - start.position) / length, 0.0, 1.0), xp)
            value = between(shape, start.value, end.value, t, xp.cos)
            rate = xp.where(reached(step, min(start.position * unit, _LAST_STEP)), value, rate)
        last = min(knots[-1].position * unit, _LAST_STEP)
        return xp.where(reached(step, last), knots[-1].value, rate)

    def get_config(self):
        return {
            "text": str(self.segments),
            "steps_per_epoch": self.steps_per_epoch,
            "per": self.per,
        }
