"""`Lookahead`: slow weights that follow another optimizer's fast ones."""

from typing import Any

import keras
import tensorflow as tf

from tfsc.optimizers.base import deserialized, serialized
from tfsc.optimizers.freezing import Freezing


@keras.saving.register_keras_serializable("tfsc")
class Lookahead(Freezing, keras.optimizers.Optimizer):
    """Another optimizer, pulled back to an average of where it has been every few updates.

        each update:        θ ← inner's step
        every k updates:    φ ← φ + α(θ − φ),  θ ← φ

    The slow weights φ begin as the weights when it is built. They are variables of this optimizer,
    as are those of `inner`, which has the learning rate, clipping, decay, averages, accumulation.
    A variable that `inner` has frozen meets no more: it stays where its last update left it.

    Args:
        inner: the optimizer of the fast weights θ.
        every: updates k between two meetings, at least 1.
        alpha: α, above 0 and at most 1.
        name: of its variables.

    Raises:
        ValueError: if an argument is out of range, or `inner` scales the loss by itself.

    Source: Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", algorithm 1.
    """

    def __init__(
        self,
        inner: keras.optimizers.Optimizer,
        every: int = 5,
        alpha: float = 0.5,
        name: str | None = None,
    ):
        if every < 1 or every % 1:
            raise ValueError(f"every must be a whole number from 1. Received: {every}")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be above 0 and at most 1. Received: {alpha}")
        if inner.loss_scale_factor:
            raise ValueError(
                f"inner must not have loss_scale_factor. Received: {inner.loss_scale_factor}"
            )
        super().__init__(learning_rate=lambda: inner.learning_rate, name=name)
        self.inner, self.every, self.alpha = inner, int(every), float(alpha)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._slow = [
            self.add_variable_from_reference(variable, "slow", _value_of(variable))
            for variable in variables
        ]
        self.inner.build(variables)

    def limits(self, variables):
        if isinstance(self.inner, Freezing):
            return self.inner.limits(variables)
        return (None,) * len(variables)

    @property
    def variables(self):
        return [*self._variables, *self.inner.variables]

    @property
    def iterations(self):
        """Updates of the inner optimizer."""
        return self.inner.iterations

    @property
    def learning_rate(self):
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner.learning_rate = learning_rate

    def _backend_apply_gradients(self, grads, trainable_variables):
        still = self.still(self._trainable_variables)  # before this update is counted
        self.inner.apply(grads, trainable_variables)
        # As Keras' own updates: in several replicas variables change together, or not at all.
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._meet_in_turn, self._distribution_strategy, still
        )

    def _meet_in_turn(self, distribution, still):
        def meet(fast, slow, is_still):
            def both():
                fast.assign(slow.assign_add(self.alpha * (fast - slow)))

            if is_still is None:
                both()
            else:
                tf.cond(is_still, lambda: None, both)

        def all_meet():
            for fast, slow, is_still in zip(
                self._trainable_variables, self._slow, still, strict=True
            ):
                arguments = (slow.value, is_still)
                distribution.extended.update(fast.value, meet, args=arguments, group=False)

        # Twice in a row is the same as once, so accumulation, which holds the count, does no harm.
        turn = tf.equal(tf.convert_to_tensor(self.inner.iterations) % self.every, 0)
        tf.cond(turn, all_meet, lambda: None)

    def finalize_variable_values(self, var_list):
        self.inner.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner": serialized(self.inner),
            "every": self.every,
            "alpha": self.alpha,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None):
        return cls(**config | {"inner": deserialized(config["inner"], custom_objects)})


def _value_of(variable):
    """An initializer: the variable's value."""
    return lambda shape, dtype=None: tf.cast(tf.convert_to_tensor(variable), dtype)
