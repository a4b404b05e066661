"""Architectures: one a file, functional Keras models from raw 0–255 images to float32 logits.

`models.resnet_v2.resnet_v2(…)` builds one: each module has a function of its name.
"""

from tfsc.lazy import attributes

_MODULES = (
    "airbench",
    "caffe_cifar10",
    "resnet_smith",
    "resnet_v2",
    "wide_resnet",
    "input_statistics",
)

__all__ = [*_MODULES]

__getattr__, __dir__ = attributes(__name__, modules=_MODULES)
