"""`WinogradConv2D`: 3×3 convolutions with a quarter of the multiplications."""

import keras
import tensorflow as tf

from tfsc.layers.portable import is_portable
from tfsc.native import library

_TYPES = (tf.float32, tf.bfloat16)
LEAST_CHANNELS = 16  # of inputs: below, the transforms cost more than they save


@keras.saving.register_keras_serializable("tfsc")
class WinogradConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, 3×3, stride 1, padding "same", by Winograd's F(4×4, 3×3).

        y = Aᵀ((G·K·Gᵀ) ⊙ (Bᵀ·x·B))A + b   on tiles of 6×6 inputs and 4×4 outputs

    36 multiplications where the convolution has 144, forward and in both gradients; transforms in
    float32, products in float32 or, with mixed bfloat16, in bfloat16 with float32 sums (see
    tfsc/native/winograd.cc). The kernel is transformed from float32. Outputs and gradients differ
    from the exact ones by 1e-6 in float32 and by 1 % in bfloat16 (root of the mean square, normal
    inputs), those of the ordinary convolution by 2e-7 and 0.2 %. Bits do not depend on the number
    of threads.

    In float16, on a machine without the instructions or a compiler, and inside `portable`, it is
    the ordinary convolution.

    Args:
        filters: number of output channels.
        ...: as in `keras.layers.Conv2D`.

    Raises:
        ValueError: for another kernel size, stride, padding, dilation, groups or data format.

    Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308.
    """

    def __init__(self, filters: int, kernel_size=3, strides=1, padding="same", **kwargs):
        super().__init__(filters, kernel_size, strides, padding, **kwargs)
        found = (self.kernel_size, self.strides, self.padding, self.dilation_rate, self.groups)
        if found != ((3, 3), (1, 1), "same", (1, 1), 1) or self.data_format != "channels_last":
            raise ValueError(
                "WinogradConv2D needs a 3×3 kernel, stride 1, padding 'same', no dilation, one "
                f"group and channels_last. Received: kernel_size={kernel_size}, "
                f"strides={strides}, padding={padding!r}, dilation_rate={self.dilation_rate}, "
                f"groups={self.groups}, data_format={self.data_format!r}"
            )

    def add_weight(self, *args, **kwargs):
        # The operation takes kernel and bias in float32 and rounds once.
        return super().add_weight(*args, autocast=False, **kwargs)

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if inputs.dtype in _TYPES and not is_portable() and library.is_available(inputs.dtype.name):
            outputs = _winograd(inputs, kernel, tf.zeros(self.filters) if bias is None else bias)
        else:
            outputs = tf.nn.conv2d(inputs, tf.cast(kernel, inputs.dtype), 1, "SAME")
            if bias is not None:
                outputs = tf.nn.bias_add(outputs, tf.cast(bias, inputs.dtype))
        return self.activation(outputs)


@tf.custom_gradient
def _winograd(maps, kernel, bias):
    operations = library.load()

    def gradient(upstream):
        # The gradient of the inputs is a convolution with the kernel turned round.
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        return (
            operations.tfsc_winograd_conv(
                x=upstream, filters=turned, bias=tf.zeros(turned.shape[-1])
            ),
            operations.tfsc_winograd_conv_filter_gradient(x=maps, dy=upstream),
            operations.tfsc_bias_gradient(dy=upstream),
        )

    return operations.tfsc_winograd_conv(x=maps, filters=kernel, bias=bias), gradient
