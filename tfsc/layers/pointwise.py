"""`PointwiseConv2D`: a 1×1 convolution by the fastest way there is on this machine."""

import keras
import tensorflow as tf

from tfsc.hardware.gpu import has_gpu
from tfsc.layers.portable import is_portable


@keras.saving.register_keras_serializable("tfsc")
class PointwiseConv2D(keras.layers.Conv2D):
    """A 1×1 convolution of stride 1; in float32 on a CPU, it and its gradients are matrix products.

        y[n,h,w,:] = x[n,h,w,:] · K + b

    oneDNN's filter gradient of such a convolution reaches half the arithmetic rate of the same
    product as a matrix product (33–88 against 100 GFLOP/s a core; docs/performance.md). In bfloat16
    the convolution is the faster one, and it is used there, on GPUs and in `portable` graphs.

    Args:
        filters: number of output channels.
        ...: as in `keras.layers.Conv2D`; kernel size and stride are 1.
    """

    def __init__(self, filters: int, kernel_size=1, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if (self.kernel_size, self.strides, self.groups) != ((1, 1), (1, 1), 1):
            raise ValueError(
                "PointwiseConv2D needs kernel size 1, stride 1 and one group. Received: "
                f"kernel_size={kernel_size}, strides={self.strides}, groups={self.groups}"
            )
        if self.data_format != "channels_last" or not self.use_bias:
            raise ValueError(
                "PointwiseConv2D needs channels_last and a bias. Received: "
                f"data_format={self.data_format!r}, use_bias={self.use_bias}"
            )

    def call(self, inputs):
        if self.compute_dtype != "float32" or has_gpu() or is_portable():
            return super().call(inputs)
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.activation(_matrix_product(inputs, kernel, bias))


@tf.custom_gradient
def _matrix_product(maps, kernel, bias):
    # The bias is added before the reshape: there TensorFlow fuses it into the product. With the
    # gradient that TensorFlow derives, the gain is half of this one's (measured).
    matrix = tf.reshape(kernel, kernel.shape[2:])
    rows = tf.reshape(maps, [-1, matrix.shape[0]])
    outputs = tf.nn.bias_add(tf.matmul(rows, matrix), bias)
    height, width = maps.shape[1:3]
    outputs = tf.reshape(outputs, [-1, height, width, matrix.shape[1]])

    def gradient(upstream):
        upstream = tf.reshape(upstream, [-1, matrix.shape[1]])
        down = tf.reshape(tf.matmul(upstream, matrix, transpose_b=True), tf.shape(maps))
        filters = tf.reshape(tf.matmul(rows, upstream, transpose_a=True), kernel.shape)
        return down, filters, tf.raw_ops.BiasAddGrad(out_backprop=upstream)

    return outputs, gradient
