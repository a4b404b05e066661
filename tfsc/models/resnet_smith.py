"""The residual network of super-convergence: `resnet_smith`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers

from tfsc.layers.zero_channels import ZeroChannels
from tfsc.models.parts import Parts


def resnet_smith(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (9, 9, 9),
    bias: str = "all",
    downsampling: str = "caffe",
) -> keras.KerasTensor:
    """Features of a residual network of basic blocks with shortcuts that have no parameters.

    The defaults are Smith & Topin's ResNet-56: 808,682 trainable parameters with a dense layer, at
    32×32×3 and 10 classes. Stem conv3×3/16–BN–act; then stacks of blocks

        y = act(x + BN(conv3×3(act(BN(conv3×3(x))))))

    The first block of every stack but the first has stride 2 and its input's width w: the shortcut
    is an average pooling, and w channels of zeros are concatenated after the activation, so that
    the blocks behind it are 2·w wide. At the end the average over the last maps. Normal weights of
    variance 2/fan_in (Caffe's msra) in convolutions, uniform ones of variance 1/fan_in (Caffe's
    xavier) in the dense layer. Smith & Topin have a BatchNorm momentum of 0.999 in runs of 80,000
    steps.

    Args:
        maps: images [n, height, width, channels]; the original's in the raw range 0–255.
        parts: builds the layers.
        units: blocks in each stack; (n, n, n) is the depth 6n + 2.
        bias: which convolutions have a bias: "all", "standard" (not those of the blocks that
            halve the maps; seed 002's code) or "none" (806,746 parameters).
        downsampling: "caffe": average pooling 3×3, and convolutions of stride 2 padded by one pixel
            on all sides; "tensorflow" (seed 002's code): pooling 2×2, and padded below and on the
            right only.

    Source: Smith & Topin, "Super-Convergence", appendix A, and Resnet56Cifar.prototxt of their
    code; seed 002.
    """
    as_caffe = downsampling == "caffe"

    def conv(x, filters, stride, name, has_bias):
        return parts.conv(
            x,
            filters,
            3,
            name,
            stride,
            initializer=initializers.VarianceScaling(2, "fan_in", "untruncated_normal"),
            pad_all_sides=as_caffe,
            use_bias=has_bias,
        )

    def block(x, filters, stride, name):
        has_bias = bias == "all" or (bias == "standard" and stride == 1)
        y = conv(x, filters, stride, f"{name}_conv1", has_bias)
        y = parts.norm_act(y, f"{name}_bn1", f"{name}_act1")
        y = parts.norm(conv(y, filters, 1, f"{name}_conv2", has_bias), f"{name}_bn2")
        if stride > 1:
            # "same" leaves out what is outside the image, as Caffe does.
            size, padding = (3, "same") if as_caffe else (2, "valid")
            x = layers.AveragePooling2D(size, 2, padding, name=f"{name}_shortcut")(x)
        return parts.act(layers.Add(name=f"{name}_add")([x, y]), f"{name}_act2")

    x = conv(maps, 16, 1, "stem_conv", bias != "none")
    x = parts.norm_act(x, "stem_bn", "stem_act")
    filters = 16
    for stack, count in enumerate(units):
        for index in range(count):
            name = f"stack{stack}_unit{index}"
            if stack and not index:
                x = block(x, filters, 2, name)
                x = ZeroChannels(filters, name=f"{name}_zeros")(x)
                filters *= 2
            else:
                x = block(x, filters, 1, name)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": "lecun_uniform"}
