"""Caffe's network for CIFAR-10 (cifar10_full): `caffe_cifar10`."""

from typing import Any

import keras
from keras import initializers, layers

from tfsc.layers.local_response import LocalResponse
from tfsc.models.parts import Parts


def caffe_cifar10(maps: keras.KerasTensor, parts: Parts) -> keras.KerasTensor:
    """Features of three convolutions with local response normalization, without BatchNorm.

    89,578 trainable parameters with a dense layer, at 32×32×3 and 10 classes:

        conv5×5/32–max–act–LRN–conv5×5/32–act–average–LRN–conv5×5/64–act–average

    Poolings are 3×3 of stride 2 and halve the size (32, 16, 8, 4). LRN is `LocalResponse` with
    n = 3, α = 5e-5, β = 0.75. Weights are normal with standard deviation 1e-4 in the first layer,
    which makes up for the range of raw pixels, and 0.01 in the others; biases begin at 0.

    The penalty l2·Σw² is on kernels and biases of convolutions, 250 times that on the dense layer's
    kernel and none on its bias, as Caffe's decay_mult has it. Caffe's weight_decay 0.004 is
    l2 = 0.002: its gradient is weight_decay·w.

    Args:
        maps: images [n, height, width, channels], Caffe's in the raw range 0–255.
        parts: builds the layers.

    Source: Caffe, examples/cifar10/cifar10_full_train_test.prototxt; Smith, "Cyclical Learning
    Rates for Training Neural Networks", table 3 (seed 004).
    """

    def conv(x, filters, deviation, name):
        return parts.conv(
            x,
            filters,
            5,
            name,
            initializer=initializers.RandomNormal(stddev=deviation),
            bias_regularizer=parts.penalty(),
        )

    def normalize(x, name):
        return LocalResponse(3, 5e-5, 0.75, name=name)(x)

    x = _pool(conv(maps, 32, 1e-4, "conv1"), layers.MaxPooling2D, "pool1")
    x = normalize(parts.act(x, "act1"), "norm1")
    x = parts.act(conv(x, 32, 0.01, "conv2"), "act2")
    x = normalize(_pool(x, layers.AveragePooling2D, "pool2"), "norm2")
    x = parts.act(conv(x, 64, 0.01, "conv3"), "act3")
    return layers.Flatten(name="flatten")(_pool(x, layers.AveragePooling2D, "pool3"))


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {
        "kernel_initializer": initializers.RandomNormal(stddev=0.01),
        "kernel_regularizer": parts.penalty(250),
    }


def _pool(x, kind, name: str):
    """Caffe's 3×3 pooling of stride 2 without padding: windows begin at 0, 2, 4, …

    At even sizes the last window sticks out by one pixel, which does not count: that is "same". At
    odd sizes none does, and "same" would begin at −1.
    """
    height, width = ("valid" if size % 2 else "same" for size in x.shape[1:3])
    if height == width:
        return kind(3, 2, height, name=name)(x)
    x = kind((3, 1), (2, 1), height, name=f"{name}_rows")(x)
    return kind((1, 3), (1, 2), width, name=name)(x)
