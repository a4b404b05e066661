"""`ReflectCrop`: a whole-pixel translation of each image, mirrored at the border."""

import keras
import tensorflow as tf

from tfsc import random
from tfsc.augment.separable import SeparableAugmentation


@keras.saving.register_keras_serializable("tfsc")
class ReflectCrop(SeparableAugmentation):
    """Pad each image by `size` pixels on all sides, mirrored, and cut its own size out anywhere.

    Output row i reads row i + d of the input, d drawn from −size, …, size; −1 is row 1, and the
    row behind the last is the last but one: the edge itself is not repeated. Columns likewise.
    Pixels keep their values to the bit.

    Args:
        size: largest translation in pixels, from 0, and below the image's height and width.
        seed: of the draws.

    Raises:
        ValueError: if `size` is negative; when called, if an image is too small for it.

    Source: Page, "How to train your ResNet"; cifar10-airbench (2 pixels). NumPy's and PyTorch's
    padding "reflect".
    """

    def __init__(self, size: int, seed: int = 0, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if size < 0:
            raise ValueError(f"size must be at least 0. Received: {size}")
        self.size = size

    def distances(self, sample_numbers):
        """How far below and to the right the input is read, in pixels, two int32 [n]."""
        draws = random.uniform_pair(self.seed, random.CROP, sample_numbers)
        return tuple(tf.cast(draw * (2 * self.size + 1), tf.int32) - self.size for draw in draws)

    def matrices(self, sample_numbers, height, width):
        if min(height, width) <= self.size:
            raise ValueError(
                f"size must be below height and width. Received: size={self.size}, images of "
                f"{height}×{width}"
            )
        down, right = self.distances(sample_numbers)
        return reflect_matrix(down, height), reflect_matrix(right, width)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def reflect_matrix(distance: tf.Tensor, size: int) -> tf.Tensor:
    """Matrices [n, size, size] whose row i has a 1 where i + distance lies, mirrored at the ends.

    Args:
        distance: int32 [n], from −(size − 1) to size − 1.
        size: of the axis.
    """
    source = tf.abs(tf.range(size)[None, :] + distance[:, None])
    source = (size - 1) - tf.abs((size - 1) - source)
    return tf.one_hot(source, size)
