"""Residual networks without normalisation, by Fixup's initial weights: `fixup`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers

from tfsc.layers.scalar import ScalarBias, ScalarScale
from tfsc.layers.zero_channels import ZeroChannels
from tfsc.models.parts import Parts, torch_uniform


def fixup(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (9, 9, 9),
) -> keras.KerasTensor:
    """Features of a residual network of basic blocks without BatchNorm, however deep.

    The defaults are ResNet-56: 849,091 trainable parameters with a dense layer, at 32×32×3 and 10
    classes; (18, 18, 18) is ResNet-110 with 1,720,138. Stem act(conv3×3/16(x) + b); then stacks of
    blocks

        h = act(conv3×3(x + b₁) + b₂),   y = act(short(x) + s·conv3×3(h + b₃) + b₄)

    where b and s are one number each, 0 and 1 at first. Stack i is 16·2ⁱ wide, and has stride 2 in
    its first block unless it is the first: there short(x) is every other pixel of x + b₁, with
    zeros for the new channels; elsewhere it is x. At the end the average over the last maps, plus a
    number. Convolutions have no bias.

    Fixup's initial weights take the place of normalisation. Of L blocks the first convolutions are
    normal of variance 2/fan_out, divided by L (for branches of m layers by L to the 1/(m − 1)); the
    second ones and the dense layer are 0, so that a step of rate η changes what the network
    computes by O(η) at any depth. The stem's are PyTorch's default. The paper's rate for all b and
    s is a tenth: `--lr_factors=bias:0.1,scale:0.1`.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        units: blocks in each stack; (n, n, n) is the depth 6n + 2.

    Source: Zhang, Dauphin and Ma, "Fixup initialization: residual learning without normalization",
    2019, and cifar/models/fixup_resnet_cifar.py of their code.
    """

    def conv(x, filters, name, initializer, stride=1):
        return parts.conv(
            x,
            filters,
            3,
            name,
            stride,
            initializer=initializer,
            pad_all_sides=True,
            use_bias=False,
        )

    def plus(x, name):
        return ScalarBias(name=name)(x)

    def block(x, filters, stride, name):
        small = initializers.VarianceScaling(2 / sum(units), "fan_out", "untruncated_normal")
        y = moved = plus(x, f"{name}_bias1")
        y = plus(conv(y, filters, f"{name}_conv1", small, stride), f"{name}_bias2")
        y = plus(parts.act(y, f"{name}_act1"), f"{name}_bias3")
        y = ScalarScale(name=f"{name}_scale")(conv(y, filters, f"{name}_conv2", "zeros"))
        y = plus(y, f"{name}_bias4")
        if stride > 1:
            # Takes every other pixel, averages nothing.
            x = layers.AveragePooling2D(1, stride, name=f"{name}_shortcut")(moved)
            x = ZeroChannels(filters - x.shape[-1], name=f"{name}_zeros")(x)
        return parts.act(layers.Add(name=f"{name}_add")([x, y]), f"{name}_act2")

    x = plus(conv(maps, 16, "stem_conv", torch_uniform()), "stem_bias")
    x = parts.act(x, "stem_act")
    for stack, count in enumerate(units):
        for index in range(count):
            stride = 2 if stack and not index else 1
            x = block(x, 16 * 2**stack, stride, f"stack{stack}_unit{index}")
    return plus(layers.GlobalAveragePooling2D(name="pool")(x), "head_bias")


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": "zeros"}
