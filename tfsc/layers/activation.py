"""`FusedActivation`: GELU and SiLU in one pass over the maps."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tfsc.layers.portable import is_portable


@keras.saving.register_keras_serializable("tfsc")
class FusedActivation(keras.layers.Activation):
    """`keras.layers.Activation`; "gelu" and "silu" are compiled, forward and backward.

        gelu:  y = x·Φ(x),   dy/dx = Φ(x) + x·φ(x)      (exact, as Keras' default and PyTorch's)
        silu:  y = x·σ(x),   dy/dx = σ(x)·(1 + x·(1 − σ(x)))

    TensorFlow spells these in a dozen operations, each a pass over the maps, in bfloat16 each
    rounded: in airbench's step they took longer than all convolutions. Here only x is kept, and the
    arithmetic is float32.

    Args:
        activation: as in `keras.layers.Activation`.
    """

    def call(self, inputs):
        rule = _RULES.get(self.activation)
        if rule is None:
            return super().call(inputs)
        forward, compiled = rule
        return forward(inputs) if is_portable() else compiled(inputs)


def _gelu(x):
    z = tf.cast(x, tf.float32)
    return tf.cast(z * _normal(z), x.dtype)


def _gelu_gradient(x, upstream):
    z = tf.cast(x, tf.float32)
    slope = _normal(z) + z * tf.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return tf.cast(tf.cast(upstream, tf.float32) * slope, x.dtype)


def _normal(z):
    """Φ, the distribution function."""
    return 0.5 * (1.0 + tf.math.erf(z / math.sqrt(2)))


def _silu(x):
    z = tf.cast(x, tf.float32)
    return tf.cast(z * tf.sigmoid(z), x.dtype)


def _silu_gradient(x, upstream):
    z = tf.cast(x, tf.float32)
    share = tf.sigmoid(z)
    slope = share * (1.0 + z * (1.0 - share))
    return tf.cast(tf.cast(upstream, tf.float32) * slope, x.dtype)


def _compiled(forward: Callable, backward: Callable) -> Callable:
    forward, backward = (
        tf.function(f, jit_compile=True, autograph=False) for f in (forward, backward)
    )

    @tf.custom_gradient
    def activation(x):
        return forward(x), lambda upstream: backward(x, upstream)

    return activation


_RULES = {
    keras.activations.gelu: (_gelu, _compiled(_gelu, _gelu_gradient)),
    keras.activations.silu: (_silu, _compiled(_silu, _silu_gradient)),
}
