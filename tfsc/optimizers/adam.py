"""`FusedAdam` and `FusedAdamW`: Adam in one operation a variable."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer


class _FusedAdamUpdate(GroupedOptimizer):
    def scalars(self):
        step = tf.cast(self.iterations + 1, tf.float32)
        return tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)

    def apply_update(self, variable, gradient, rate, beta_1_power, beta_2_power):
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        if self.amsgrad:
            # TensorFlow's operation for it cannot be compiled by XLA.
            largest = self._velocity_hats[index].value
            self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
            self.assign_add(velocity, (tf.square(gradient) - velocity) * (1 - self.beta_2))
            self.assign(largest, tf.maximum(largest, velocity))
            rate *= tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
            self.assign_sub(variable, rate * momentum / (tf.sqrt(largest) + self.epsilon))
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=tf.constant(self.beta_1, variable.dtype),
            beta2=tf.constant(self.beta_2, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )


@keras.saving.register_keras_serializable("tfsc")
class FusedAdam(_FusedAdamUpdate, keras.optimizers.Adam):
    """`keras.optimizers.Adam`, its update in one operation a variable.

        m ← m + (1 − β₁)(g − m),  v ← v + (1 − β₂)(g² − v)
        θ ← θ − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε)

    With `amsgrad` v̂ ← max(v̂, v) stands for v in the last line (in seven operations). Equal to
    Keras' up to the rounding of float32. With `decoupled=False` the decay is L2 in the gradient,
    the Adam of Kingma and Ba's experiments.

    Args:
        learning_rate, beta_1, ..., amsgrad: as in `keras.optimizers.Adam`.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Kingma and Ba, "Adam", section 2 (the variant with ε̂); Reddi, Kale and Kumar, "On the
    convergence of Adam and beyond" (amsgrad; as in Keras, v̂ is of what is not bias-corrected).
    """


@keras.saving.register_keras_serializable("tfsc")
class FusedAdamW(_FusedAdamUpdate, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, its update in one operation a variable after the decay.

        θ ← θ − η·λ·θ,  then Adam's step

    Equal to Keras' up to the rounding of float32.

    Args:
        learning_rate, weight_decay, ..., amsgrad: as in `keras.optimizers.AdamW`.
        no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization".
    """
