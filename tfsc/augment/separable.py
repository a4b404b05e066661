"""Augmentations that act on rows and columns apart: x ← A_y · x · A_xᵀ, two matrices per image."""

import keras
import tensorflow as tf

from tfsc.native import library


class SeparableAugmentation(keras.layers.Layer):
    """Base of augmentations that are linear in the image and act on each axis by a matrix.

    Two small matrix products apply any chain of them, on every device, XLA or not, with gradients;
    a gather per pixel would be slower and `keras.layers.RandomTranslation` does not compile.
    Subclasses give `matrices`.

    Args:
        seed: of the draws, 0 ≤ seed < 2³².
        native: whether the products are one operation in C++ that multiplies only what is not 0
            (see `tfsc.native.library`), for CPUs, without XLA and gradients; where it
            cannot be had, they are products. Images are the same but for rounding: each side
            sums as its processor's instructions do.

    Attributes:
        by_visit: whether it must be called with visits as well.
    """

    by_visit = False

    def __init__(self, seed: int = 0, native: bool = False, **kwargs):
        # Pixel values 0–255 with fractions need more than bfloat16's 8 bits.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be from 0 to 2**32 - 1. Received: {seed}")
        self.seed, self.native = seed, native
        # Hundreds of small operations a batch, on whatever device: compiled, they are one.
        self._compiled_matrices = tf.function(self.matrices, jit_compile=True, autograph=False)
        self.built = True  # no weights; under a tf.distribute strategy `fit` asks before any call

    def matrices(
        self, sample_numbers: tf.Tensor, height: int, width: int, *visits: tf.Tensor
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """A_y [n, height, height] and A_x [n, width, width]; None for the identity.

        Visits are given only to those that are `by_visit`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define matrices()")

    def call(self, images, sample_numbers, visits=None):
        """Augment images [n, height, width, channels] (any dtype; float32 out).

        Args:
            images: the batch.
            sample_numbers: int64 [n]; an image's draws depend on its number and the seed alone.
            visits: int64 [n], the images' examples and epochs (see
                `tfsc.data.example_and_epoch`); used if it is `by_visit`.

        Raises:
            ValueError: if visits are missing.
        """
        height, width, channels = images.shape[1:]
        if self.by_visit and visits is None:
            raise ValueError(f"{type(self).__name__} needs visits. Received: None")
        extra = (visits,) if self.by_visit else ()
        a_y, a_x = self._compiled_matrices(sample_numbers, height, width, *extra)
        if self.native and library.is_available():
            return _native(images, a_y, a_x)
        images = tf.cast(images, tf.float32)
        if a_x is None:
            return images if a_y is None else _rows(a_y, images)
        # Matrices of an image are [height, width·channels] in memory. The first product leaves
        # [width, channels·height], on whose rows the second acts: one transposition instead of two.
        if a_y is None:
            turned = tf.transpose(tf.reshape(images, [-1, height, width * channels]), [0, 2, 1])
        else:
            rows = tf.reshape(images, [-1, height, width * channels])
            turned = tf.matmul(rows, a_y, transpose_a=True, transpose_b=True)
        turned = tf.matmul(a_x, tf.reshape(turned, [-1, width, channels * height]))
        turned = tf.reshape(turned, [-1, width * channels, height])
        return tf.reshape(tf.transpose(turned, [0, 2, 1]), [-1, height, width, channels])

    def compute_output_shape(self, images_shape, *_):
        return images_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed, "native": self.native}


@keras.saving.register_keras_serializable("tfsc")
class SeparableChain(SeparableAugmentation):
    """Several separable augmentations, the first applied first, in one pass over the images.

    An empty chain only casts to float32.
    """

    def __init__(self, layers, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)
        self.by_visit = any(layer.by_visit for layer in self.layers)

    def matrices(self, sample_numbers, height, width, *visits):
        total_y = total_x = None
        for layer in self.layers:
            extra = visits if layer.by_visit else ()
            a_y, a_x = layer.matrices(sample_numbers, height, width, *extra)
            total_y, total_x = _product(a_y, total_y), _product(a_x, total_x)
        return total_y, total_x

    def get_config(self):
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config.pop("layers")]
        return cls(layers, **config)


def _native(images: tf.Tensor, a_y: tf.Tensor | None, a_x: tf.Tensor | None) -> tf.Tensor:
    """A_y · x · A_xᵀ in C++."""
    if images.dtype != tf.uint8:
        images = tf.cast(images, tf.float32)
    identity = tf.zeros([0])
    matrices = {"a_y": identity if a_y is None else a_y, "a_x": identity if a_x is None else a_x}
    return library.load().tfsc_separable(x=images, **matrices)


def _rows(a_y: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Each image's rows combined by its matrix."""
    height, width, channels = images.shape[1:]
    rows = tf.matmul(a_y, tf.reshape(images, [-1, height, width * channels]))
    return tf.reshape(rows, [-1, height, width, channels])


def _product(left: tf.Tensor | None, right: tf.Tensor | None) -> tf.Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return tf.matmul(left, right)
