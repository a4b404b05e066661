"""`ScalarBias` and `ScalarScale`: one trainable number for all of the maps."""

import keras


@keras.saving.register_keras_serializable("tfsc")
class ScalarBias(keras.layers.Layer):
    """Adds one trainable number to all values: y = x + b, where b begins at 0.

    Source: Zhang, Dauphin and Ma, "Fixup initialization", 2019.
    """

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, inputs):
        return inputs + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("tfsc")
class ScalarScale(keras.layers.Layer):
    """Multiplies all values by one trainable number: y = s·x, where s begins at 1.

    Source: as `ScalarBias`.
    """

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape
