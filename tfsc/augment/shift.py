"""`RandomShift`: a sub-pixel translation of each image by its own distance."""

import keras
import tensorflow as tf

from tfsc import random
from tfsc.augment.separable import SeparableAugmentation


@keras.saving.register_keras_serializable("tfsc")
class RandomShift(SeparableAugmentation):
    """Shift each image down and right by distances drawn from U(−factor, factor)·size.

    Bilinear, with the nearest edge pixel beyond the border: output row i reads the input at
    clip(i − t, 0, height − 1). Same result as `keras.layers.RandomTranslation(fill_mode="nearest")`
    and as ImageDataGenerator's `width_shift_range`/`height_shift_range` for the same distances.

    Example:
        >>> shift = RandomShift(0.07, seed=0)
        >>> dataset.batch(64).enumerate().map(
        ...     lambda k, batch: (shift(batch[0], k * 64 + tf.range(64, dtype=tf.int64)), batch[1]))

    Args:
        factor: largest distance as a fraction of height and width, 0 ≤ factor ≤ 1.
        seed: of the draws.

    Source: seeds 000 and 001 (shift 0.07).
    """

    def __init__(self, factor: float, seed: int = 0, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1. Received: {factor}")
        self.factor = factor

    def distances(self, sample_numbers, height: int, width: int):
        """Shift down and right in pixels, two float32 [n]."""
        down, right = random.uniform_pair(self.seed, random.SHIFT, sample_numbers)
        return (
            (2 * down - 1) * (self.factor * height),
            (2 * right - 1) * (self.factor * width),
        )

    def matrices(self, sample_numbers, height, width):
        down, right = self.distances(sample_numbers, height, width)
        return shift_matrix(down, height), shift_matrix(right, width)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def shift_matrix(distance: tf.Tensor, size: int) -> tf.Tensor:
    """Linear interpolation at clip(i − distance, 0, size − 1) as matrices [n, size, size].

    Row i has the weight max(0, 1 − |source − j|) in column j: two neighbours that sum to 1.
    """
    place = tf.range(size, dtype=tf.float32)
    source = tf.clip_by_value(place[None, :] - distance[:, None], 0.0, size - 1.0)
    return tf.nn.relu(1.0 - tf.abs(source[:, :, None] - place[None, None, :]))
