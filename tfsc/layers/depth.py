"""`StochasticDepth`: a branch that some samples do without."""

import keras
import tensorflow as tf

from tfsc import random
from tfsc.layers.dropout import told_numbers


@keras.saving.register_keras_serializable("tfsc")
class StochasticDepth(keras.layers.Layer):
    """Leaves out a residual branch, sample by sample, in training.

        y = x/(1 − rate) with probability 1 − rate, else 0        (one draw a sample)

    Inside `sample_numbers` (the Learner's step) the draw is a function of (seed, layer, sample
    number), so that it is the same in any batch or replica and after a resume; outside of it, it
    comes from a counter, as Keras' Dropout's.

    Args:
        rate: 0 ≤ rate < 1.
        layer: which of the network's layers that draw this is; each has draws of its own.
        seed: of the draws, 0 ≤ seed < 2³².

    Raises:
        ValueError: if `rate` is out of range.

    Source: Huang et al., "Deep networks with stochastic depth", 2016, with the kept branches
    scaled up as EfficientNet and ResNet-RS do, instead of all of them down in evaluation.
    """

    def __init__(self, rate: float, layer: int = 0, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1. Received: {rate}")
        self.rate, self.layer, self.seed = rate, layer, seed
        self.seed_generator = keras.random.SeedGenerator((seed + layer) % 2**32)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        numbers = told_numbers()
        if numbers is None:
            draws = keras.random.uniform((tf.shape(inputs)[0],), seed=self.seed_generator)
        else:
            stream = random.of_layer(random.DEPTH, self.layer)
            draws, _ = random.uniform_pair(self.seed, stream, numbers)
        kept = tf.reshape(draws >= self.rate, [-1] + [1] * (inputs.shape.rank - 1))
        return tf.where(kept, inputs / tf.cast(1 - self.rate, inputs.dtype), 0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"rate": self.rate, "layer": self.layer, "seed": self.seed}
        return {**super().get_config(), **own}
