"""`Freezing`: what an optimizer needs whose variables stay as they are after some updates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf


class Freezing:
    """A mixin before a Keras optimizer some of whose variables stop at a number of updates.

    Frozen means that no bit of the variable changes any more, and that nothing else depends on its
    gradient. Updates are counted from 1, as `iterations` counts them: a step that a loss scale
    rejects is none, and `gradient_accumulation_steps` calls are one.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What the Keras optimizer behind the mixin has."""

    def limits(self, variables: Sequence[keras.Variable]) -> tuple[int | None, ...]:
        """Number of updates after which each variable stays as it is; None: it never does."""
        raise NotImplementedError(f"{type(self).__name__} must define limits()")

    def frozen(self, variables: Sequence[keras.Variable], updates: int) -> tuple[bool, ...]:
        """Which variables stay as they are in every update after so many."""
        return tuple(limit is not None and updates >= limit for limit in self.limits(variables))

    def still(self, variables: Sequence[keras.Variable]) -> list[tf.Tensor | None]:
        """Which variables the update that is to come leaves as they are.

        Returns:
            For each a bool tensor; None: it never freezes.
        """
        limits = self.limits(variables)
        distinct = {limit for limit in limits if limit is not None}
        if not distinct:
            return [None] * len(limits)
        done = tf.cast(tf.convert_to_tensor(self.iterations), tf.int64)
        reached = {limit: done >= limit for limit in sorted(distinct)}
        return [None if limit is None else reached[limit] for limit in limits]

    def apply(self, grads, trainable_variables=None):
        """As Keras', but that a constraint does not move what is frozen."""
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        held = self._held(trainable_variables or self._trainable_variables)
        super().apply(grads, trainable_variables)
        for variable, still, value in held:
            variable.assign(tf.where(still, value, variable))

    def _held(self, variables) -> list[tuple[keras.Variable, tf.Tensor, tf.Tensor]]:
        """Variables under a constraint, whether they are frozen, and what they are now."""
        bound = [v for v in variables if getattr(v, "constraint", None) is not None]
        return [
            (variable, still, tf.convert_to_tensor(variable))
            for variable, still in zip(bound, self.still(bound), strict=True)
            if still is not None
        ]


def without(still: Sequence[tf.Tensor | None], gradients: Sequence[Any]) -> list[Any]:
    """Gradients that are 0 where a variable is frozen."""
    return [
        gradient
        if each is None
        else tf.where(each, tf.zeros([], gradient.dtype), tf.convert_to_tensor(gradient))
        for each, gradient in zip(still, gradients, strict=True)
    ]
