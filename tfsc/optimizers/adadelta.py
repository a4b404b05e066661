"""`FusedAdadelta`: Adadelta in one operation a variable."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer


@keras.saving.register_keras_serializable("tfsc")
class FusedAdadelta(GroupedOptimizer, keras.optimizers.Adadelta):
    """`keras.optimizers.Adadelta`, its update in one operation a variable.

        a ← ρ·a + (1 − ρ)·g²,  δ = √(d + ε)/√(a + ε) · g
        d ← ρ·d + (1 − ρ)·δ²,  θ ← θ − η·δ

    Equal to Keras' up to the rounding of float32. Zeiler's has η = 1.

    Args:
        learning_rate, rho, epsilon, ...: as in `keras.optimizers.Adadelta`.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Zeiler, "ADADELTA", algorithm 1.
    """

    def apply_update(self, variable, gradient, rate):
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdadelta(
            var=variable.handle,
            accum=self._accumulated_grads[index].value.handle,
            accum_update=self._accumulated_delta_vars[index].value.handle,
            lr=rate,
            rho=tf.constant(self.rho, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )
