"""Augmentation: Keras layers that run in the training graph, in float32, without state.

Every layer is called with images and their global sample numbers; what it does to an image
depends on (seed, sample number) alone: not on the batch the image is in, the device, or XLA.
"""

from tfsc.augment.flip import RandomFlip
from tfsc.augment.separable import SeparableChain
from tfsc.augment.shift import RandomShift


def build(shift: float, flip: bool, seed: int) -> SeparableChain:
    """The seeds' augmentation: a sub-pixel shift, then a left-right flip, in one pass."""
    layers = []
    if shift > 0:
        layers.append(RandomShift(shift, seed=seed))
    if flip:
        layers.append(RandomFlip(seed=seed))
    return SeparableChain(layers)
