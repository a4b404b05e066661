"""`RandomFlip`: mirror each image left-right with probability one half."""

import keras
import tensorflow as tf

from tfsc import random
from tfsc.augment.separable import SeparableAugmentation


@keras.saving.register_keras_serializable("tfsc")
class RandomFlip(SeparableAugmentation):
    """Mirror each image left-right with probability 1/2.

    Args:
        seed: of the draws.
    """

    def flipped(self, sample_numbers):
        """Which images are mirrored, bool [n]."""
        draw, _ = random.uniform_pair(self.seed, random.FLIP, sample_numbers)
        return draw < 0.5

    def matrices(self, sample_numbers, height, width):
        straight = tf.eye(width)
        mirrored = tf.reverse(straight, [1])
        flipped = self.flipped(sample_numbers)[:, None, None]
        return None, tf.where(flipped, mirrored, straight)
