"""`SampleDropout`: dropout whose mask belongs to the sample."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
import tensorflow as tf

from tfsc import random

_NUMBERS: ContextVar[tf.Tensor | None] = ContextVar("sample numbers", default=None)


@contextmanager
def sample_numbers(numbers: tf.Tensor) -> Iterator[None]:
    """Tell the layers called inside which samples they work on: int64 [batch], global numbers."""
    token = _NUMBERS.set(numbers)
    try:
        yield
    finally:
        _NUMBERS.reset(token)


def told_numbers() -> tf.Tensor | None:
    """The numbers of the samples at work, int64 [batch]; None outside of `sample_numbers`."""
    return _NUMBERS.get()


@keras.saving.register_keras_serializable("tfsc")
class SampleDropout(keras.layers.Dropout):
    """Dropout keyed by (seed, sample number, feature): no state, whatever the batch or replica.

    In training each feature is 0 with probability `rate` and otherwise divided by 1 − rate. Inside
    `sample_numbers` (the Learner's step) the mask of a sample is a function of its number; outside
    of it the layer is Keras' Dropout, whose masks come from a counter. Keras' own masks depend on
    the place in the batch, and all replicas draw the same.

    Args:
        rate: 0 ≤ rate < 1, used to a precision of 2⁻¹⁶.
        seed: of the masks, 0 ≤ seed < 2³².
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs):
        super().__init__(rate, seed=seed, **kwargs)

    def call(self, inputs, training=False):
        numbers = told_numbers()
        if not training or not self.rate or numbers is None:
            return super().call(inputs, training=training)
        kept = round((1 - self.rate) * 2**16)
        features = inputs.shape[1:].num_elements()
        draws = random.sixteen_bits(self.seed, random.DROPOUT, numbers, features)
        mask = tf.reshape(draws < kept, tf.shape(inputs))
        return tf.where(mask, inputs * tf.cast(2**16 / kept, inputs.dtype), 0)
