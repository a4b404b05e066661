"""`LocalResponse`: Caffe's local response normalization within each channel."""

import keras
import tensorflow as tf

from tfsc.layers.portable import is_portable


@keras.saving.register_keras_serializable("tfsc")
class LocalResponse(keras.layers.Layer):
    """Divides each value by the energy of its neighbourhood in the same channel.

        y = x / (1 + α/n² · Σ x²)^β        Σ over the n×n window around x, zeros outside

    Caffe's LRN with norm_region WITHIN_CHANNEL: its average pooling counts the padding, so that α
    is divided by n² at the edges, too. (`tf.nn.local_response_normalization` sums over channels.)
    Computed in float32.

    Args:
        size: n, odd.
        alpha: α, at least 0.
        beta: β.

    Raises:
        ValueError: if `size` or `alpha` is out of range.

    Source: Caffe, lrn_layer.cpp.
    """

    def __init__(self, size: int = 3, alpha: float = 5e-5, beta: float = 0.75, **kwargs):
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0 or alpha < 0:
            raise ValueError(
                "LocalResponse needs an odd size and alpha of at least 0. "
                f"Received: size={size}, alpha={alpha}"
            )
        self.size, self.alpha, self.beta = size, alpha, beta

    def call(self, inputs):
        # 1 + α·mean is too near to 1 for 16 bits.
        maps = tf.cast(inputs, tf.float32)
        edge = [self.size // 2, self.size // 2]
        squares = tf.pad(tf.square(maps), [[0, 0], edge, edge, [0, 0]])
        mean = tf.nn.avg_pool2d(squares, self.size, 1, "VALID")
        # ONNX has no log1p, and tf2onnx writes it all the same. In float32 the factor is near
        # enough to 1 for the plain logarithm, whose absolute error is 6e-8.
        energy = self.alpha * mean
        logarithm = tf.math.log(1.0 + energy) if is_portable() else tf.math.log1p(energy)
        factor = tf.exp(-self.beta * logarithm)
        return tf.cast(maps * factor, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta
        }  # fmt: skip
