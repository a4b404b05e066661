"""`ShakeShake`: two branches mixed at random, and their gradients mixed at random anew."""

import keras
import tensorflow as tf

from tfsc import random
from tfsc.layers.dropout import told_numbers
from tfsc.layers.replica import one_of_several

FORWARD = ("shake", "even")
BACKWARD = ("shake", "even", "keep")
LEVELS = ("image", "batch")


@keras.saving.register_keras_serializable("tfsc")
class ShakeShake(keras.layers.Layer):
    """A random convex combination of two branches; the way back has another one.

        training:    y = α·x₁ + (1 − α)·x₂,    dL/dx₁ = β·dL/dy,   dL/dx₂ = (1 − β)·dL/dy
        evaluation:  y = ½·x₁ + ½·x₂

    α and β are independent and uniform over [0, 1), or ½. Inside `sample_numbers` (the Learner's
    step) an image's draws are a function of (seed, layer, sample number), a batch's those of its
    first image: the same in any replica and after a resume. Outside of it they come from a counter.

    Args:
        forward: "shake": α is drawn; "even": it is ½.
        backward: "shake": β is drawn; "even": it is ½; "keep": it is α.
        level: "image": each image has its own α and β; "batch": all have the same.
        layer: which of the network's layers that draw this is; each has draws of its own.
        seed: of the draws, 0 ≤ seed < 2³².

    Raises:
        ValueError: for another word.

    Source: Gastaldi, "Shake-Shake regularization", 2017, and shakeshakeblock.lua of its code.
    """

    def __init__(
        self,
        forward: str = "shake",
        backward: str = "shake",
        level: str = "image",
        layer: int = 0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, word, words in (
            ("forward", forward, FORWARD),
            ("backward", backward, BACKWARD),
            ("level", level, LEVELS),
        ):
            if word not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}. Received: {word}")
        self.forward, self.backward, self.level = forward, backward, level
        self.layer, self.seed = layer, seed
        self.seed_generator = keras.random.SeedGenerator((seed + layer) % 2**32)

    def call(self, inputs, training=False):
        """Maps [n, height, width, channels] of a pair of the same shape."""
        one, other = inputs
        if not training or self.forward == self.backward == "even":
            return 0.5 * one + 0.5 * other
        alpha, beta = (tf.reshape(draw, [-1, 1, 1, 1]) for draw in self._draws(tf.shape(one)[0]))
        forward = alpha if self.forward == "shake" else tf.constant(0.5)
        backward = {"shake": beta, "even": tf.constant(0.5), "keep": forward}[self.backward]
        return _mixed(one, other, forward, backward)

    def _draws(self, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Two float32 tensors [n], or [1] where all images have the same."""
        numbers = told_numbers()
        if numbers is None:
            drawn = (2, count if self.level == "image" else 1)
            return tuple(tf.unstack(keras.random.uniform(drawn, seed=self.seed_generator)))
        if self.level == "batch":
            numbers = _first(numbers)
        return random.uniform_pair(self.seed, random.of_layer(random.SHAKE, self.layer), numbers)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        names = ("forward", "backward", "level", "layer", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _first(numbers: tf.Tensor) -> tf.Tensor:
    """The first sample's number, int64 [1], in all replicas that of the first one."""
    replica = one_of_several()
    if replica is None:
        return numbers[:1]
    mine = tf.where(tf.equal(replica.replica_id_in_sync_group, 0), numbers[:1], 0)
    return replica.all_reduce("SUM", mine)


def _mixed(one, other, forward, backward):
    """forward·one + (1 − forward)·other, with backward in their place on the way back.

    Args:
        one, other: maps of one type.
        forward, backward: shares in float32, [n, 1, 1, 1] or of one number.
    """

    def shares(share):
        return tf.cast(share, one.dtype), tf.cast(1 - share, one.dtype)

    @tf.custom_gradient
    def mixed(one, other):
        first, second = shares(forward)

        def gradient(upstream):
            first, second = shares(backward)
            return first * upstream, second * upstream

        return first * one + second * other, gradient

    return mixed(one, other)
