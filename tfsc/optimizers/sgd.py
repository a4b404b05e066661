"""`FusedSGD`: SGD in one operation a variable, its momentum a number or a schedule."""

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer, serialized


@keras.saving.register_keras_serializable("tfsc")
class FusedSGD(GroupedOptimizer, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, its update in one operation a variable.

        m ← μ·m − η·g,  θ ← θ + m           (Nesterov: θ ← θ + μ·m − η·g)

    Equal to Keras' up to the rounding of float32. With `decoupled=True`, the default, this is SGDW;
    with False, m ← μ·m − η·(g + λ·θ), the SGD of Caffe, and PyTorch's while η stands still.

    Args:
        learning_rate, nesterov, ...: as in `keras.optimizers.SGD`.
        momentum: μ, a float or a LearningRateSchedule that is evaluated at each step, as 1cycle
            and Smith's cyclical momentum want.
        weight_decay, decoupled, no_decay, lr_factors: see `GroupedOptimizer`.

    Source: Smith and Topin, "Super-convergence"; Loshchilov and Hutter, "Decoupled weight decay
    regularization" (SGDW; its λ is the product of this one and the initial rate).
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, *args, **kwargs):
        scheduled = isinstance(momentum, keras.optimizers.schedules.LearningRateSchedule)
        super().__init__(learning_rate, 0.0 if scheduled else momentum, *args, **kwargs)
        self.momentum = momentum

    def scalars(self):
        return () if self.momentum == 0 else (self.now(self.momentum),)

    def apply_update(self, variable, gradient, rate, momentum=None):
        if momentum is None:
            self.assign_sub(variable, gradient * rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=momentum,
            use_nesterov=self.nesterov,
        )

    def get_config(self):
        return super().get_config() | {"momentum": serialized(self.momentum)}
