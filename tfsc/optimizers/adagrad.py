"""`FusedAdagrad`: Adagrad in one operation a variable."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer


@keras.saving.register_keras_serializable("tfsc")
class FusedAdagrad(GroupedOptimizer, keras.optimizers.Adagrad):
    """`keras.optimizers.Adagrad`, its update in one operation a variable.

        a ← a + g²,  θ ← θ − η·g/(√a + ε)

    Keras has ε under the root, which differs where a is as small as ε.

    Args:
        learning_rate, initial_accumulator_value, epsilon, ...: as in `keras.optimizers.Adagrad`.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods".
    """

    def apply_update(self, variable, gradient, rate):
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=self._accumulators[self._get_variable_index(variable)].value.handle,
            lr=rate,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )
