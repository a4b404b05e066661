"""What networks take of the training images: their mean and the deviation of their channels."""

import numpy as np


def image_mean(images: np.ndarray, center: str) -> np.ndarray:
    """Mean of uint8 images after scaling to 0–1: per "pixel", per "channel", or 0 for "none"."""
    if center == "none":
        return np.float32(0)
    axes = 0 if center == "pixel" else (0, 1, 2)
    return (images.mean(axes, dtype=np.float64) / 255).astype(np.float32)


def image_scale(images: np.ndarray, factor: float, scale_by: str) -> float | np.ndarray:
    """What centred images are multiplied by: `factor`, over each channel's standard deviation.

    Args:
        images: uint8 [n, height, width, channels].
        factor: a number.
        scale_by: "none", or "channel_std" of the images after scaling to 0–1.
    """
    if scale_by == "none":
        return factor
    # In parts: NumPy's std makes a float64 copy of all images.
    squares = sum(
        np.square(images[first : first + 1000], dtype=np.int64).sum((0, 1, 2))
        for first in range(0, len(images), 1000)
    )
    mean = images.mean((0, 1, 2), dtype=np.float64)
    variance = squares / (images.size // images.shape[-1]) - mean**2
    deviation = np.sqrt(np.maximum(variance, 0)) / 255
    # A channel that is the same everywhere is 0 once it is centred, whatever the factor.
    return (factor / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
