"""`OwnGradient`: the identity, whose gradient is a tensor of its own."""

import keras
import tensorflow as tf

from tfsc.layers.portable import is_portable


@keras.saving.register_keras_serializable("tfsc")
class OwnGradient(keras.layers.Layer):
    """Passes its input on, and a copy of the gradient back.

    For a sum of two convolutions with a bias each: the gradient of both outputs is one and the same
    tensor. TensorFlow computes the bias gradient once, and its graph pass for CPUs
    (MklLayoutRewritePass) merges it into the filter gradient of one of the two. Which one depends
    on addresses in memory: it differs from process to process, and so does the rounding. In
    bfloat16 one of ten processes computed other bits. With a gradient of its own, each convolution
    keeps its bias gradient. `portable` graphs are not trained, and have nothing in its place.
    """

    def call(self, inputs):
        return inputs if is_portable() else _own_gradient(inputs)


@tf.custom_gradient
def _own_gradient(inputs):
    # An identity would be optimised away.
    return tf.identity(inputs), lambda upstream: tf.raw_ops.Snapshot(input=upstream)
