"""`FusedBatchNormalization`: Keras' BatchNormalization on TensorFlow's fused operation."""

import keras
import tensorflow as tf

from tfsc.layers.replica import one_of_several

_TYPES = (tf.float16, tf.bfloat16, tf.float32)  # of the fused operation


@keras.saving.register_keras_serializable("tfsc")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization over the last axis of 4-D maps, in one fused pass forward and backward.

    Same outputs, gradients and moving statistics as `keras.layers.BatchNormalization`, which
    upcasts to float32 and takes several passes. With mixed precision the maps stay in 16 bits;
    statistics, scale and offset are float32.

        y = γ·(x − mean)/√(variance + ε) + β
        moving ← momentum·moving + (1 − momentum)·batch      (biased batch variance, as Keras)

    Another axis, another rank, a mask, `renorm` or float64 take Keras' own passes.

    In several replicas of a tf.distribute strategy the statistics are those of the whole batch (in
    several passes then), `synchronized` or not, so that a result does not depend on the number of
    replicas. Replicas must have batches of one size.

    Args:
        axis, momentum, epsilon, center, scale, ...: as in `keras.layers.BatchNormalization`.

    Raises:
        ValueError: when called with a mask in several replicas, or as Keras' layer.

    Measured on TensorFlow 2.21: 2.6 to 3.4 times the stock layer's step rate in bfloat16.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._is_fused(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        gamma, beta = self._gamma_and_beta(channels)
        # As in Keras, a frozen layer normalises with its moving statistics.
        use_batch = bool(training) and self.trainable
        if not use_batch:
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                epsilon=self.epsilon,
                is_training=False,
            ).y
        if replica := one_of_several():
            mean, variance, outputs = self._across_replicas(inputs, gamma, beta, replica)
            self._move(mean, variance)
            return outputs
        fused = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The operation returns the variance with Bessel's correction N/(N−1); Keras keeps the
        # biased one. (At N = 1 both are 0.)
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        self._move(fused.batch_mean, fused.batch_variance * ((count - 1.0) / count))
        return fused.y

    def _gamma_and_beta(self, channels):
        """Two tensors; without scale or center 1 and 0."""
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        return gamma, beta

    def _is_fused(self, inputs, mask) -> bool:
        """Whether the fused operation can compute it."""
        last = inputs.shape.rank == 4 and self.axis in (-1, 3)
        return last and mask is None and not self.renorm and inputs.dtype in _TYPES

    def _across_replicas(self, inputs, gamma, beta, replica):
        """Mean, biased variance and outputs for the batch of all replicas together."""
        maps = tf.cast(inputs, tf.float32)
        mean, variance = _moments_of_all(maps, [0, 1, 2], replica)
        outputs = tf.nn.batch_normalization(maps, mean, variance, beta, gamma, self.epsilon)
        return mean, variance, tf.cast(outputs, inputs.dtype)

    def _moments(self, inputs, mask):
        """Of Keras' own passes."""
        replica = one_of_several()
        if not replica:
            return super()._moments(inputs, mask)
        if mask is not None:
            raise ValueError(
                "FusedBatchNormalization takes no mask in several replicas, whose statistics would "
                f"differ. Received: a mask in {replica.num_replicas_in_sync} replicas"
            )
        return _moments_of_all(inputs, self._reduction_axes, replica)

    def _move(self, mean, variance) -> None:
        """Let the moving statistics follow the batch's."""
        rest = 1.0 - self.momentum
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * rest)
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * rest)


def _moments_of_all(maps, axes, replica):
    """Mean and biased variance for the batch of all replicas together."""
    mean = replica.all_reduce("MEAN", tf.reduce_mean(maps, axes, keepdims=True))
    variance = replica.all_reduce("MEAN", tf.reduce_mean(tf.square(maps - mean), axes))
    return tf.reshape(mean, variance.shape), variance
