"""`FusedRMSprop`: RMSprop in one operation a variable."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer


@keras.saving.register_keras_serializable("tfsc")
class FusedRMSprop(GroupedOptimizer, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`, its update in one operation a variable.

        v ← ρ·v + (1 − ρ)·g²
        m ← μ·m + η·g/√(v + ε),  θ ← θ − m      (centered: v − ḡ² for v, ḡ ← ρ·ḡ + (1 − ρ)·g)

    Equal to Keras' up to the rounding of float32. Keeps m without momentum too.

    Args:
        learning_rate, rho, momentum, epsilon, centered, ...: as in `keras.optimizers.RMSprop`.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Hinton, "Neural networks for machine learning", lecture 6.
    """

    def build(self, variables, among=None):
        super().build(variables, among)
        if not self._momentums:
            self._momentums = self.add_optimizer_variables(variables, "momentum")

    def apply_update(self, variable, gradient, rate):
        index = self._get_variable_index(variable)
        arguments = {
            "var": variable.handle,
            "ms": self._velocities[index].value.handle,
            "mom": self._momentums[index].value.handle,
            "lr": rate,
            "rho": tf.constant(self.rho, variable.dtype),
            "momentum": tf.constant(self.momentum, variable.dtype),
            "epsilon": tf.constant(self.epsilon, variable.dtype),
            "grad": gradient,
        }
        if self.centered:
            average = self._average_gradients[index].value.handle
            tf.raw_ops.ResourceApplyCenteredRMSProp(mg=average, **arguments)
        else:
            tf.raw_ops.ResourceApplyRMSProp(**arguments)
