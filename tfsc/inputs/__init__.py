"""What a network is given: images centred, scaled and whitened by the training set."""

from tfsc.lazy import attributes

_NAMES = {
    "INPUTS": "catalog",
    "Inputs": "builder",
    "build": "builder",
    "image_mean": "statistics",
    "image_deviation": "statistics",
}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
