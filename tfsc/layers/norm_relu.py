"""`NormReLU`: BatchNormalization and ReLU as one operation."""

import keras
import tensorflow as tf

from tfsc.layers import fusion
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.portable import is_portable
from tfsc.native import library

_TYPES = (tf.float32, tf.bfloat16)


@keras.saving.register_keras_serializable("tfsc")
class NormReLU(FusedBatchNormalization):
    """`FusedBatchNormalization` followed by ReLU; one operation in C++, one backward.

        y = max(γ·(x − mean)/√(variance + ε) + β, 0)

    Weights, outputs, gradients and moving statistics are those of the two layers, to rounding: the
    variance is the biased one, sums are float32 within blocks of pixels and float64 over blocks,
    and maps are rounded once instead of twice. Bits do not depend on the number of threads. What
    is kept for the gradient is x alone. Where the layer before has computed mean and variance they
    are not computed again, and a layer behind it may normalise for itself (see
    `tfsc.layers.fusion`).

    float16, several replicas, `portable` graphs and machines without the operations (see
    `tfsc.native.library`) take the two layers' own operations.

    Args:
        momentum, epsilon, ...: as in `keras.layers.BatchNormalization`.

    Raises:
        ValueError: as `FusedBatchNormalization`.
    """

    def call(self, inputs, training=None, mask=None):
        if not (self._is_fused(inputs, mask) and self._is_native(inputs)):
            return tf.nn.relu(super().call(inputs, training=training, mask=mask))
        gamma, beta = self._gamma_and_beta(inputs.shape[-1])
        of_batch = bool(training) and self.trainable
        if of_batch:
            moments = fusion.noted(inputs, fusion.Moments) or _moments(inputs)
            mean, variance = moments.mean, moments.variance
            self._move(mean, variance)
        else:  # as in Keras, a frozen layer normalises with its moving statistics
            mean = tf.convert_to_tensor(self.moving_mean)
            variance = tf.convert_to_tensor(self.moving_variance)
        normalized = fusion.Normalized(inputs, gamma, beta, mean, variance, self.epsilon, of_batch)
        outputs = _norm_relu(normalized)
        fusion.note(outputs, normalized)
        return outputs

    def _is_native(self, inputs) -> bool:
        if inputs.dtype not in _TYPES or is_portable():
            return False
        replica = tf.distribute.get_replica_context()
        alone = replica is None or replica.num_replicas_in_sync == 1
        return alone and library.is_available()


def _moments(maps) -> fusion.Moments:
    mean, variance = library.load().tfsc_moments(x=tf.stop_gradient(maps))
    return fusion.Moments(mean, variance)


def _norm_relu(given: fusion.Normalized):
    operations = library.load()
    constants = {"mean": given.mean, "variance": given.variance, "epsilon": given.epsilon}

    @tf.custom_gradient
    def normalized(maps, gamma, beta):
        inputs = {"x": maps, "gamma": gamma, "beta": beta, **constants}

        def gradient(upstream):
            return operations.tfsc_norm_relu_gradient(
                dy=upstream, of_batch=given.of_batch, **inputs
            )

        return operations.tfsc_norm_relu(**inputs), gradient

    return normalized(given.maps, given.gamma, given.beta)
