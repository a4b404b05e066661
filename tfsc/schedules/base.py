"""`Schedule`: the base of our schedules, whose one formula serves graphs and float64 tables."""

from types import ModuleType

import keras
import numpy as np
from keras import ops


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate as a function of finished updates, for Keras and, in float64, for tables.

    A subclass defines `rate`, once, in functions that `keras.ops` and NumPy both have.
    """

    def rate(self, step, xp: ModuleType):
        """The rate at a float `step`; `xp` is keras.ops or NumPy."""
        raise NotImplementedError(f"{type(self).__name__} must define rate()")

    def __call__(self, step):
        """Rate (float32 scalar) at `step`, a count of finished updates."""
        return self.rate(ops.cast(step, "float32"), ops)

    def value(self, step: float) -> float:
        """The same in float64, without a graph."""
        return float(self.rate(np.float64(step), np))


def at_least(name: str, value: float, low: float) -> float:
    """`value`, checked.

    Raises:
        ValueError: if it is not a finite number from `low`.
    """
    if not low <= value < np.inf:
        raise ValueError(f"{name} must be a finite number from {low:g}. Received: {value}")
    return value


def above_zero(name: str, value: float) -> float:
    """`value`, checked.

    Raises:
        ValueError: if it is not a finite number above 0.
    """
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be a finite number above 0. Received: {value}")
    return value


def one_of(name: str, value: object, allowed: tuple) -> object:
    """`value`, checked.

    Raises:
        ValueError: if it is not one of `allowed`.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}. Received: {value!r}")
    return value
