"""Patch whitening: a first convolution computed from the images, not trained."""

import keras
import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

SIZE = 2  # side of the patches
EPSILON = 5e-4  # of airbench, whose images are divided by their standard deviation
_CHUNK = 250  # images whose patches lie in memory at once


def whitening_kernel(images: np.ndarray, size: int = SIZE, epsilon: float = EPSILON) -> np.ndarray:
    """Filters whose outputs on these images are uncorrelated, with mean squares of 1.

        M = mean over all patches p of p·pᵀ,  M·vₖ = λₖ·vₖ,  wₖ = vₖ/√(λₖ + ε)

    The eigenvectors come in descending order of λ, then all of them negated, so that half-waves of
    both signs pass a rectifier. The sign of vₖ, which is arbitrary, is that which makes its largest
    component positive. In float64. (The patches' mean is not subtracted: images are centred.)

    Args:
        images: [n, height, width, channels], as the convolution will see them.
        size: of the square patches.
        epsilon: ε, limits how much faint directions are amplified.

    Returns:
        float32 [size, size, channels, 2·size²·channels], a convolution's kernel.

    Raises:
        ValueError: if there are no images, or they are smaller than a patch.

    Source: Page, "How to train your ResNet 8", https://myrtle.ai; Jordan, cifar10-airbench.
    """
    if images.ndim != 4 or not len(images) or min(images.shape[1:3]) < size:
        raise ValueError(
            f"images must be [n, height, width, channels], n ≥ 1, at least {size}×{size}. "
            f"Received: shape={images.shape}"
        )
    channels = images.shape[3]
    length = size * size * channels
    moment, count = np.zeros((length, length)), 0
    for first in range(0, len(images), _CHUNK):
        chunk = images[first : first + _CHUNK].astype(np.float64)
        # [n, rows, columns, channels, size, size]
        patches = sliding_window_view(chunk, (size, size), axis=(1, 2))
        flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, length)
        moment += flat.T @ flat
        count += len(flat)
    values, vectors = np.linalg.eigh(moment / count)
    values, vectors = values[::-1], vectors[:, ::-1]  # ascending so far
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(length)])
    filters = vectors / np.sqrt(np.maximum(values, 0) + epsilon)
    kernel = np.concatenate([filters, -filters], axis=1)
    return kernel.reshape(size, size, channels, 2 * length).astype(np.float32)


@keras.saving.register_keras_serializable("tfsc")
class WhiteningConv2D(keras.layers.Layer):
    """A convolution whose kernel never trains; its bias does.

    The kernel is a weight like any other, saved and restored, but no optimizer sees it: it has no
    gradient and no decay. It is zero until `set_kernel`.

    Args:
        filters: number of output channels.
        size: of the square kernel.
        padding: "valid", or "same": maps as large as the image.

    Example:
        >>> layer = WhiteningConv2D(24, 2)
        >>> layer.build((None, 32, 32, 3))
        >>> layer.set_kernel(whitening_kernel(images))
    """

    def __init__(self, filters: int, size: int = SIZE, padding: str = "valid", **kwargs):
        super().__init__(**kwargs)
        if filters < 1 or size < 1:
            raise ValueError(
                f"filters and size must be at least 1. Received: filters={filters}, size={size}"
            )
        if padding not in ("valid", "same"):
            raise ValueError(f"padding must be 'valid' or 'same'. Received: {padding!r}")
        self.filters, self.size, self.padding = filters, size, padding

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.built = True

    def set_kernel(self, kernel: np.ndarray) -> None:
        """Give it its filters, [size, size, channels, filters]."""
        self.kernel.assign(kernel)

    def call(self, inputs):
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return tf.nn.bias_add(tf.nn.conv2d(inputs, kernel, 1, self.padding.upper()), bias)

    def compute_output_shape(self, input_shape):
        count, height, width, _ = input_shape
        border = self.size - 1 if self.padding == "valid" else 0
        return (count, height - border, width - border, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "size": self.size,
            "padding": self.padding,
        }
