"""Statistics of training images: their mean and the deviation of their channels."""

import numpy as np


def image_mean(images: np.ndarray, of: str) -> np.ndarray | np.float32:
    """Mean of uint8 images after scaling to 0–1: per "pixel", per "channel", or 0 for "none"."""
    if of == "none":
        return np.float32(0)
    axes = 0 if of == "pixel" else (0, 1, 2)
    return (images.mean(axes, dtype=np.float64) / 255).astype(np.float32)


def image_deviation(images: np.ndarray) -> np.ndarray:
    """Standard deviation of each channel of uint8 images after scaling to 0–1, float64.

    Args:
        images: [n, height, width, channels].

    Returns:
        [channels]; 1 for a channel that is the same everywhere, which is 0 once it is centred,
        whatever divides it.
    """
    # In parts: NumPy's std makes a float64 copy of all images.
    squares = sum(
        np.square(images[first : first + 1000], dtype=np.int64).sum((0, 1, 2))
        for first in range(0, len(images), 1000)
    )
    mean = images.mean((0, 1, 2), dtype=np.float64)
    variance = squares / (images.size // images.shape[-1]) - mean**2
    deviation = np.sqrt(np.maximum(variance, 0)) / 255
    return np.where(deviation > 0, deviation, 1.0)
