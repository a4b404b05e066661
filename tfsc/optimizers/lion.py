"""`Lion`: the sign of an interpolated momentum."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer


@keras.saving.register_keras_serializable("tfsc")
class Lion(GroupedOptimizer, keras.optimizers.Lion):
    """`keras.optimizers.Lion`, its scalars computed once a step.

        θ ← θ − η·λ·θ − η·sign(β₁·m + (1 − β₁)·g)
        m ← β₂·m + (1 − β₂)·g

    Args:
        learning_rate, beta_1, beta_2, ...: as in `keras.optimizers.Lion`.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Chen et al., "Symbolic discovery of optimization algorithms", algorithm 2.
    """

    def apply_update(self, variable, gradient, rate):
        momentum = self._momentums[self._get_variable_index(variable)].value
        held = momentum.read_value()
        between = self.beta_1 * held + (1 - self.beta_1) * gradient
        self.assign_sub(variable, rate * tf.sign(between))
        self.assign(momentum, self.beta_2 * held + (1 - self.beta_2) * gradient)
