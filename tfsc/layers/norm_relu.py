"""`NormReLU`: BatchNormalization and ReLU as one operation."""

import keras
import tensorflow as tf

from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.portable import is_portable
from tfsc.native import library

_TYPES = (tf.float32, tf.bfloat16)


@keras.saving.register_keras_serializable("tfsc")
class NormReLU(FusedBatchNormalization):
    """`FusedBatchNormalization` followed by ReLU; in training one operation in C++, one backward.

        y = max(γ·(x − mean)/√(variance + ε) + β, 0)

    Weights, outputs, gradients and moving statistics are those of the two layers, to rounding: the
    variance is the biased one, sums are float32 within blocks of pixels and float64 over blocks,
    and maps are rounded once instead of twice. Bits do not depend on the number of threads. What
    is kept for the gradient is x alone.

    Evaluation, frozen layers, float16, several replicas, `portable` graphs and machines without
    the operations (see `tfsc.native.library`) take the two layers' own operations.

    Args:
        momentum, epsilon, ...: as in `keras.layers.BatchNormalization`.

    Raises:
        ValueError: as `FusedBatchNormalization`.
    """

    def call(self, inputs, training=None, mask=None):
        if not (self._is_fused(inputs, mask) and self._is_native(inputs, training)):
            return tf.nn.relu(super().call(inputs, training=training, mask=mask))
        gamma, beta = self._gamma_and_beta(inputs.shape[-1])
        outputs, mean, variance = _norm_relu(inputs, gamma, beta, self.epsilon)
        self._move(mean, variance)
        return outputs

    def _is_native(self, inputs, training) -> bool:
        if not (training and self.trainable) or inputs.dtype not in _TYPES or is_portable():
            return False
        replica = tf.distribute.get_replica_context()
        alone = replica is None or replica.num_replicas_in_sync == 1
        return alone and library.is_available()


def _norm_relu(maps, gamma, beta, epsilon):
    operations = library.load()

    @tf.custom_gradient
    def normalized(maps, gamma, beta):
        outputs, mean, variance = operations.tfsc_norm_relu(
            x=maps, gamma=gamma, beta=beta, epsilon=epsilon
        )

        def gradient(upstream, *_):  # nothing depends on mean and variance but moving statistics
            return operations.tfsc_norm_relu_gradient(
                dy=upstream,
                x=maps,
                gamma=gamma,
                beta=beta,
                mean=mean,
                variance=variance,
                epsilon=epsilon,
            )

        return (outputs, mean, variance), gradient

    return normalized(maps, gamma, beta)
