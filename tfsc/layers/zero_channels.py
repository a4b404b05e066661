"""`ZeroChannels`: maps with channels of zeros behind their own."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfsc")
class ZeroChannels(keras.layers.Layer):
    """Concatenates zeros to the channels: a shortcut to a wider stack without parameters.

    Args:
        count: number of channels to add, at least 1.

    Raises:
        ValueError: if `count` is out of range.

    Source: He et al., "Deep Residual Learning for Image Recognition", option A; Smith & Topin.
    """

    def __init__(self, count: int, **kwargs):
        super().__init__(**kwargs)
        if count < 1:
            raise ValueError(f"count must be at least 1. Received: {count}")
        self.count = count

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [0, self.count]])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.count)

    def get_config(self):
        return {**super().get_config(), "count": self.count}
