"""Schedules made of schedules: `Sequence`, `Warmup`, `Scaled`, `PerEpoch`, `ByEpoch`."""

import keras

from tfsc.schedules.base import (
    Schedule,
    above_zero,
    at_least,
    narrow,
    one_of,
    reached,
    whole_times,
)
from tfsc.schedules.parsed import WARMUP_START


class _Around(Schedule):
    """A schedule with other schedules inside; their configs travel in its own."""

    _INNER: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config):
        inner = {name: keras.optimizers.schedules.deserialize(config[name]) for name in cls._INNER}
        return cls(**(config | inner))

    def get_config(self):
        return {
            name: keras.optimizers.schedules.serialize(getattr(self, name)) for name in self._INNER
        }


@keras.saving.register_keras_serializable("tfsc")
class Sequence(_Around):
    """`first` for `steps` steps, then `then` from its own beginning.

    Args:
        first, then: schedules of this package.
        steps: above 0.

    Raises:
        ValueError: if `steps` is out of range.
    """

    _INNER = ("first", "then")

    def __init__(self, first: Schedule, steps: float, then: Schedule):
        super().__init__()
        self.first, self.then = first, then
        self.steps = above_zero("steps", steps)

    def rate(self, step, xp):
        then = self.then.rate(xp.maximum(step - self.steps, 0.0), xp)
        return xp.where(reached(step, self.steps), then, self.first.rate(step, xp))

    def get_config(self):
        return super().get_config() | {"steps": self.steps}


@keras.saving.register_keras_serializable("tfsc")
class Warmup(_Around):
    """Low rates for `steps` steps, then `then` from its own beginning.

        gradual:   rate = r·(start + (1 − start)·step/steps),   r = then's first rate
        constant:  rate = r·start

    Args:
        then: schedule of this package.
        steps: above 0.
        policy: "gradual" or "constant".
        start: fraction of r, 0 to 1; default 0 (gradual) or 0.1 (constant).

    Raises:
        ValueError: if an argument is out of range.

    Source: Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.2 (start = 1/k after
    scaling by k); He et al., "Bag of tricks", 2019, section 3.1 (start = 0).
    """

    _INNER = ("then",)

    def __init__(
        self, then: Schedule, steps: float, policy: str = "gradual", start: float | None = None
    ):
        super().__init__()
        self.then = then
        self.steps = above_zero("steps", steps)
        self.policy = one_of("policy", policy, tuple(WARMUP_START))
        self.start = at_least("start", WARMUP_START[policy] if start is None else start, 0)
        if self.start > 1:
            raise ValueError(f"start must be at most 1. Received: {start}")

    def rate(self, step, xp):
        target = self.then.rate(0.0 * step, xp)
        share = self.start
        if self.policy == "gradual":
            share = self.start + (1.0 - self.start) * narrow(step, xp) / self.steps
        then = self.then.rate(xp.maximum(step - self.steps, 0.0), xp)
        return xp.where(reached(step, self.steps), then, target * share)

    def get_config(self):
        return super().get_config() | {
            "steps": self.steps,
            "policy": self.policy,
            "start": self.start,
        }


@keras.saving.register_keras_serializable("tfsc")
class Scaled(_Around):
    """`inner` times a factor: the linear scaling rule, lr' = lr·B'/B.

    Args:
        inner: schedule of this package.
        factor: above 0.

    Raises:
        ValueError: if `factor` is out of range.

    Source: Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.1.
    """

    _INNER = ("inner",)

    def __init__(self, inner: Schedule, factor: float):
        super().__init__()
        self.inner = inner
        self.factor = above_zero("factor", factor)

    def rate(self, step, xp):
        return self.inner.rate(step, xp) * self.factor

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable("tfsc")
class PerEpoch(_Around):
    """`inner`, moved at the start of each epoch only.

    Args:
        inner: schedule of this package.
        steps_per_epoch: a whole number from 1.

    Raises:
        ValueError: if `steps_per_epoch` is out of range.
    """

    _INNER = ("inner",)

    def __init__(self, inner: Schedule, steps_per_epoch: int):
        super().__init__()
        self.inner = inner
        self.steps_per_epoch = int(at_least("steps_per_epoch", steps_per_epoch, 1))

    def rate(self, step, xp):
        n = float(self.steps_per_epoch)
        return self.inner.rate(whole_times(step, n, xp) * n, xp)

    def get_config(self):
        return super().get_config() | {"steps_per_epoch": self.steps_per_epoch}


@keras.saving.register_keras_serializable("tfsc")
class ByEpoch(_Around):
    """`inner` at the same *epoch* when epochs change their number of steps (a growing batch).

        rate(step) = inner((e + (step − s)/n)·n₀)

    for the last stage that begins (step s, epoch e, n steps an epoch) at or before the step; n₀ is
    the first stage's n, so that in the first stage nothing changes.

    Args:
        inner: schedule of this package, in steps of the first stage.
        stages: [(s, e, n), …], the first at step 0 and epoch 0.

    Raises:
        ValueError: if the first stage begins elsewhere.
    """

    _INNER = ("inner",)

    def __init__(self, inner: Schedule, stages: list[tuple[int, int, int]]):
        super().__init__()
        self.inner = inner
        self.stages = [tuple(stage) for stage in stages]
        if not stages or self.stages[0][:2] != (0, 0):
            raise ValueError(f"stages must begin at step 0 and epoch 0. Received: {stages}")

    def rate(self, step, xp):
        at = step
        for begin, epoch, steps in self.stages[1:]:
            later = (epoch + (step - begin) / steps) * self.stages[0][2]
            at = xp.where(step >= begin, later, at)
        return self.inner.rate(at, xp)

    def get_config(self):
        return super().get_config() | {"stages": [list(stage) for stage in self.stages]}
