"""`Schedule`: the base of our schedules, whose one formula serves graphs and float64 tables."""

from types import ModuleType

import keras
import numpy as np
from keras import ops

# Steps. Where a position is a product such as 1.1 epochs · 100 or a quotient that a compiler makes
# a product, float64 misses a whole step by less: up to 10^9 steps by 1e-7.
_SLACK = 1e-6


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate as a function of finished updates, for Keras and, in float64, for tables.

    A subclass defines `rate`, once, in functions that `keras.ops` and NumPy both have. Steps are
    float64, in graphs too: float32 has no digits left for where a step of a long training is in a
    short cycle. What is left of a step when its cycle or part is known goes through `narrow`, so
    that rates are computed in float32.
    """

    def rate(self, step, xp: ModuleType):
        """The rate at a float64 `step`; `xp` is keras.ops or NumPy."""
        raise NotImplementedError(f"{type(self).__name__} must define rate()")

    def __call__(self, step):
        """Rate (float32 scalar) at `step`, a count of finished updates."""
        return self.rate(ops.cast(step, "float64"), ops)

    def value(self, step: float) -> float:
        """The same in float64, without a graph."""
        return float(self.rate(np.float64(step), np))


def narrow(x, xp: ModuleType):
    """A float64 number as rates are computed with: float32 in graphs, itself in tables."""
    return x if xp is np else xp.cast(x, "float32")


def reached(step, position):
    """Whether a step is at or after a position, in steps, exact to a millionth of a step."""
    return step >= position - _SLACK


def whole_times(step, length, xp: ModuleType):
    """How many times `length` is over at a step, likewise exact."""
    return xp.floor((step + _SLACK) / length)


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
