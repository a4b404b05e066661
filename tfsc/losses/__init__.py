"""Losses on logits: one a file, called with labels and logits."""

from tfsc.lazy import attributes

_NAMES = {"LOSSES": "catalog", "CrossEntropy": "cross_entropy", "build": "builder"}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
