"""`BatchStatistics`: BatchNormalization that never uses its moving statistics."""

import keras
import tensorflow as tf

from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.replica import one_of_several


@keras.saving.register_keras_serializable("tfsc")
class BatchStatistics(FusedBatchNormalization):
    """Normalises with the mean and variance of the batch in evaluation, too.

        y = γ·(x − mean)/√(variance + ε) + β        (mean and variance of this batch, always)

    So an image's output depends on the images beside it. That is what PyTorch's BatchNorm does
    in a network that is evaluated without `eval()`; for published figures that were measured so.
    Training is `FusedBatchNormalization`'s; evaluation leaves the moving statistics alone. The
    maps are [n, height, width, channels], of all replicas together where there are several.

    Args:
        momentum, epsilon, ...: as in `keras.layers.BatchNormalization`; the axis is the last.
    """

    def call(self, inputs, training=None, mask=None):
        if training and self.trainable:
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = self._gamma_and_beta(inputs.shape[-1])
        if replica := one_of_several():
            return self._across_replicas(inputs, gamma, beta, replica)[-1]
        maps = tf.cast(inputs, tf.float32)
        mean, variance = tf.nn.moments(maps, [0, 1, 2])
        outputs = tf.nn.batch_normalization(maps, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(outputs, inputs.dtype)
