"""Averages of the weights: what follows them through a run."""

from tfsc.lazy import attributes

_NAMES = {"AVERAGES": "catalog", "Averaging": "averaging", "build": "builder"}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
