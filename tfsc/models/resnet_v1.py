"""The first residual networks for CIFAR-10, of basic blocks: `resnet_v1`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from tfsc.layers.zero_channels import ZeroChannels
from tfsc.models.parts import Parts


def resnet_v1(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (3, 3, 3),
    shortcut: str = "zeros",
) -> keras.KerasTensor:
    """Features of a residual network of basic blocks, the activation behind each sum.

    The defaults are ResNet-20: 269,722 trainable parameters with a dense layer, at 32×32×3 and 10
    classes; (9, 9, 9) is ResNet-56 with 853,018 (the paper rounds them to 0.27 M and 0.85 M). Stem
    conv3×3/16–BN–act; then stacks of blocks

        y = act(x + BN(conv3×3(act(BN(conv3×3(x))))))

    Stack s is 16·2ˢ wide, and has stride 2 in its first block unless it is the first. Where a block
    changes the width, the shortcut is every other pixel of x, with zeros for the new channels
    (the paper's option A), or a 1×1 convolution of stride 2 and BatchNorm (option B). At the end
    the average over the last maps. Convolutions have no bias; all weights are He-normal.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        units: blocks in each stack; (n, n, n) is the depth 6n + 2.
        shortcut: "zeros" (A, without parameters) or "projection" (B).

    Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", section 4.2.
    """
    conv = partial(parts.conv, initializer="he_normal", pad_all_sides=True, use_bias=False)

    def shortened(x, filters, stride, name):
        if x.shape[-1] == filters:
            return x
        if shortcut == "projection":
            return parts.norm(
                conv(x, filters, 1, f"{name}_shortcut_conv", stride), f"{name}_shortcut_bn"
            )
        x = layers.AveragePooling2D(1, stride, name=f"{name}_shortcut")(
            x
        )  # takes, averages nothing
        return ZeroChannels(filters - x.shape[-1], name=f"{name}_zeros")(x)

    def block(x, filters, stride, name):
        y = conv(x, filters, 3, f"{name}_conv1", stride)
        y = parts.norm_act(y, f"{name}_bn1", f"{name}_act1")
        y = parts.norm(conv(y, filters, 3, f"{name}_conv2"), f"{name}_bn2")
        y = layers.Add(name=f"{name}_add")([shortened(x, filters, stride, name), y])
        return parts.act(y, f"{name}_act2")

    x = parts.norm_act(conv(maps, 16, 3, "stem_conv"), "stem_bn", "stem_act")
    for stack, count in enumerate(units):
        for index in range(count):
            stride = 2 if stack and not index else 1
            x = block(x, 16 * 2**stack, stride, f"stack{stack}_unit{index}")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": "he_normal"}
