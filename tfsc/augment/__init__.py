"""Augmentation: Keras layers that run in the training graph, in float32, without state.

Every layer is called with images and their global sample numbers; what it does to an image
depends on (seed, sample number), or on (seed, example, epoch), alone: not on the batch the image is
in, the device, or XLA.
"""

from tfsc.lazy import attributes

_NAMES = {
    "RandomShift": "shift",
    "ReflectCrop": "crop",
    "RandomFlip": "flip",
    "AlternatingFlip": "flip",
    "SeparableAugmentation": "separable",
    "SeparableChain": "separable",
    "AUGMENTATIONS": "catalog",
    "build": "builder",
}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
