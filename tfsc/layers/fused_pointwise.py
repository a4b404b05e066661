"""`FusedPointwiseConv2D`: a 1×1 convolution as one operation with what stands around it."""

import keras
import tensorflow as tf

from tfsc.layers import fusion
from tfsc.layers.portable import is_portable
from tfsc.native import library

_TYPES = (tf.float32, tf.bfloat16)


@keras.saving.register_keras_serializable("tfsc")
class FusedPointwiseConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, 1×1, stride 1, with what stands around it, by one operation in C++.

        y[n,h,w,:] = a[n,h,w,:]·K + b + r[n,h,w,:]

    a is the layer's input or, behind a `NormReLU`, made of that layer's input on the way; r is what
    a `FusedAdd` behind it adds. Mean and variance of y come with it, for a `NormReLU` that follows.
    In maps of many pixels and few channels reading and writing is what takes the time, and these
    are read and written once. Products are of float32, or of bfloat16 with float32 sums; kernel and
    bias are float32 until then, and y is rounded once. Bits do not depend on the number of threads.

    In float16, on a machine without the operations, and inside `portable`, it is the ordinary
    convolution.

    Args:
        filters: number of output channels.
        passes: whether a `FusedAdd` also adds the layer's input, or what the `NormReLU` before it
            was given: the gradient of that sum is then added where this one's is written.
        ...: as in `keras.layers.Conv2D`; kernel size and stride are 1.

    Raises:
        ValueError: for another kernel size, stride, number of groups or data format.
    """

    def __init__(self, filters: int, kernel_size=1, passes: bool = False, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if (self.kernel_size, self.strides, self.groups) != ((1, 1), (1, 1), 1):
            raise ValueError(
                "FusedPointwiseConv2D needs kernel size 1, stride 1 and one group. Received: "
                f"kernel_size={kernel_size}, strides={self.strides}, groups={self.groups}"
            )
        if self.data_format != "channels_last":
            raise ValueError(
                "FusedPointwiseConv2D needs channels_last. Received: "
                f"data_format={self.data_format!r}"
            )
        self.passes = passes

    def add_weight(self, *args, **kwargs):
        # The operation takes kernel and bias in float32 and rounds once.
        return super().add_weight(*args, autocast=False, **kwargs)

    def call(self, inputs, training=None):
        kernel = tf.convert_to_tensor(self.kernel)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if not self._is_native(inputs):
            outputs = tf.nn.conv2d(inputs, tf.cast(kernel, inputs.dtype), 1, "SAME")
            if bias is not None:
                outputs = tf.nn.bias_add(outputs, tf.cast(bias, inputs.dtype))
            return self.activation(outputs)
        bias = tf.zeros(self.filters) if bias is None else bias
        source = fusion.noted(inputs, fusion.Normalized) or _plain(inputs)

        def product(residual=None):
            return _product(source, kernel, bias, bool(training), self.passes, residual)

        outputs = product()
        if self.activation is keras.activations.linear:
            fusion.note(outputs, fusion.Sum(product))
            return outputs
        return self.activation(outputs)

    def _is_native(self, inputs) -> bool:
        return (
            inputs.dtype in _TYPES and not is_portable() and library.is_available(inputs.dtype.name)
        )

    def get_config(self):
        return {**super().get_config(), "passes": self.passes}


def _plain(maps) -> fusion.Normalized:
    """Maps as they are: with an empty γ nothing is normalised."""
    none = tf.zeros([0])
    return fusion.Normalized(maps, none, none, none, none, 0.0, of_batch=False)


def _product(source: fusion.Normalized, kernel, bias, moments: bool, passes: bool, residual):
    operations = library.load()
    constants = {"mean": source.mean, "variance": source.variance, "epsilon": source.epsilon}
    nothing = tf.zeros([0, 0, 0, 0], source.maps.dtype)
    added = () if residual is None else (residual,)
    statistics = []

    @tf.custom_gradient
    def product(maps, kernel, gamma, beta, bias, *added):
        inputs = {"x": maps, "kernel": kernel, "gamma": gamma, "beta": beta, **constants}
        y, mean, variance = operations.tfsc_pointwise(
            bias=bias, residual=added[0] if added else nothing, moments=moments, **inputs
        )
        statistics.append(fusion.Moments(mean, variance))

        def gradient(upstream, passed=nothing):
            dx, dkernel, dbias, dgamma, dbeta = operations.tfsc_pointwise_gradient(
                dy=upstream, residual=passed, of_batch=source.of_batch, **inputs
            )
            return dx, dkernel, dgamma, dbeta, dbias, *(upstream for _ in added)

        return ((y, tf.identity(maps)) if passes and not added else y), gradient

    outputs = product(source.maps, kernel, source.gamma, source.beta, bias, *added)
    if passes and not added:
        outputs, passed = outputs
        fusion.note(source.maps, fusion.Passed(passed))
    if moments:
        fusion.note(outputs, statistics[0])
    return outputs
