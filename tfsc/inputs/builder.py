"""`build`: what a network's first layers take of the training images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tfsc.inputs.catalog import INPUTS
from tfsc.inputs.statistics import image_deviation, image_mean
from tfsc.layers.whitening import EPSILON, whitening_kernel
from tfsc.text.family import Call


@dataclass(frozen=True)
class Inputs:
    """factor·(x/255 − mean), and the whitening of that.

    Attributes:
        mean: of images scaled to 0–1; a number, [channels] or [height, width, channels].
        factor: of what is left.
        deviation: that it is divided by; a number or [channels].
        whitening: kernel of a first convolution; None: none.
    """

    mean: float | np.ndarray | np.float32 = 0.0
    factor: float = 1.0
    deviation: float | np.ndarray = 1.0
    whitening: np.ndarray | None = None

    @property
    def scale(self) -> float | np.ndarray:
        """What centred images are multiplied by."""
        if isinstance(self.deviation, np.ndarray):
            return (self.factor / self.deviation).astype(np.float32)
        return self.factor / self.deviation


def build(steps: str | Iterable[Call], images: np.ndarray) -> Inputs:
    """Follow the steps of an input.

        build("standardize whiten", images)

    Args:
        steps: text of several of `INPUTS`, or what they have read.
        images: the training set, uint8 [n, height, width, channels].
    """
    inputs = Inputs()
    for call in INPUTS.parse_several(steps) if isinstance(steps, str) else steps:
        inputs = INPUTS.builder(call.family)(inputs, images, **dict(call.arguments))
    return inputs


def center(inputs: Inputs, images: np.ndarray, mean: str = "pixel") -> Inputs:
    """Subtract the images' mean of each "pixel" or "channel"."""
    return replace(inputs, mean=image_mean(images, mean))


def standardize(inputs: Inputs, images: np.ndarray, mean: str = "channel") -> Inputs:
    """Subtract a mean and divide by each channel's standard deviation."""
    return replace(inputs, mean=image_mean(images, mean), deviation=image_deviation(images))


def scale(inputs: Inputs, images: np.ndarray, factor: float) -> Inputs:
    """Multiply by `factor`."""
    return replace(inputs, factor=factor)


def whiten(inputs: Inputs, images: np.ndarray, count: int = 5000) -> Inputs:
    """Compute the kernel of a whitening convolution from the first so many images."""
    chosen = images[:count].astype(np.float32) / 255
    # ε of images whose range is 1.
    epsilon = EPSILON * inputs.factor**2
    kernel = whitening_kernel((chosen - inputs.mean) * inputs.scale, epsilon=epsilon)
    return replace(inputs, whitening=kernel)
