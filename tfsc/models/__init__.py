"""Architectures: one a file, a function from maps to features; `build` makes a model of a text.

    models.build("resnet_v2([6,6,6], shortcut=3)", (32, 32, 3), classes=10)

`tfsc.models.catalog` has the families and their parameters; what they share is `Parts`.
"""

from tfsc.lazy import attributes

_NAMES = {"NETWORKS": "catalog", "Parts": "parts", "build": "builder", "scaled_images": "parts"}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
