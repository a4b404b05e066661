"""`Averaging`: when and how far averages follow the weights, and the weights their averages."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Averaging:
    """An exponential moving average, or lookahead over all weights, of a run of T steps.

        after each step t that `every` divides:   ema ← d·ema + (1 − d)·w,  d = decay·(t/T)^power
        with lookahead, then and after step T:    w ← ema

    With power 0, d is `decay` throughout. With more, the average follows closely at first and is
    the steadier the nearer the end: airbench's lookahead is decay 0.95⁵, every 5, power 3.
    Zhang's lookahead (`tfsc.optimizers.lookahead`) moves trainable variables by a constant share;
    this one moves whatever it is given, BatchNorm statistics included, but not weights that are
    frozen: their averages come to them.

    Args:
        decay: d at the end, from 0 and below 1; 0: no average at all.
        every: steps between two movements, at least 1.
        power: from 0.
        lookahead: whether the weights go to their average.
        total_steps: T; needed for `power` and `lookahead`.

    Raises:
        ValueError: if an argument is out of range.

    Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and airbench94.py.
    """

    decay: float = 0.0
    every: int = 1
    power: float = 0.0
    lookahead: bool = False
    total_steps: int = 0

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1. Received: {self.decay}")
        if self.every < 1 or self.every % 1:
            raise ValueError(f"every must be a whole number from 1. Received: {self.every}")
        if not self.power >= 0:
            raise ValueError(f"power must be at least 0. Received: {self.power}")
        if (self.power or self.lookahead) and self.total_steps < 1:
            raise ValueError(
                "total_steps must be at least 1 with power or lookahead. "
                f"Received: {self.total_steps}"
            )

    def move(
        self,
        averages: Sequence[keras.Variable],
        weights: Sequence[keras.Variable],
        steps: tf.Tensor,
        still: Sequence[tf.Tensor | None] = (),
    ) -> None:
        """Let the averages follow the weights, in the training graph.

        Args:
            averages, weights: float32, in pairs.
            steps: taken so far, this one included, int64.
            still: for each weight a bool tensor, whether it must not move, or None for no; empty:
                all may.
        """
        still = still or [None] * len(weights)
        if self.every == 1 and not self.lookahead:
            self._meet(averages, weights, steps, still)
            return
        turn = tf.equal(steps % self.every, 0)
        if self.lookahead:
            turn |= tf.equal(steps, self.total_steps)
        tf.cond(turn, lambda: self._meet(averages, weights, steps, still), lambda: None)

    def _meet(self, averages, weights, steps, still) -> None:
        share = 1.0 - self.decay
        if self.power:
            done = tf.cast(steps, tf.float32) / self.total_steps
            share = 1.0 - self.decay * done**self.power
        if self.lookahead:
            # The last step may come between two turns: then the weights go back, no more.
            share = tf.where(tf.equal(steps % self.every, 0), share, 0.0)
        for average, weight, is_still in zip(averages, weights, still, strict=True):
            average.assign_add(share * (weight.value - average.value))
            if self.lookahead:
                goal = average.value
                weight.assign(goal if is_still is None else tf.where(is_still, weight.value, goal))


def none(total_steps: int = 0) -> Averaging:
    """No average."""
    return Averaging(total_steps=total_steps)


def ema(decay: float, every: int = 1, power: float = 0.0, total_steps: int = 0) -> Averaging:
    """An exponential moving average."""
    return Averaging(decay, every, power, total_steps=total_steps)


def lookahead(decay: float, every: int = 5, power: float = 3.0, total_steps: int = 0) -> Averaging:
    """An average to which the weights go."""
    return Averaging(decay, every, power, lookahead=True, total_steps=total_steps)
