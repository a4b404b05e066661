"""Wide residual networks of Zagoruyko & Komodakis: `wide_resnet`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers

from tfsc.models.parts import Parts, torch_uniform


def wide_resnet(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (4, 4, 4),
    width: int = 10,
) -> keras.KerasTensor:
    """Features of a pre-activation residual network of wide basic blocks.

    The defaults are WRN-28-10: 36,479,194 trainable parameters with a dense layer, at 32×32×3 and
    10 classes. Stem conv3×3/16; then stacks of blocks

        y = x + conv3×3(act(BN(conv3×3(act(BN(x))))))

    Stack s is 16·2ˢ·width wide, and has stride 2 in its first block unless it is the first. Where a
    block changes the width, its shortcut is a 1×1 convolution of act(BN(x)), which both ways share.
    At the end BN–act–average over the last maps. Convolutions have no bias, and normal weights of
    variance 2/fan_out. (The paper's dropout between the two convolutions is left out.)

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        units: blocks in each stack; (n, n, n) is the depth 6n + 4.
        width: the factor k of WRN-d-k.

    Source: Zagoruyko & Komodakis, "Wide Residual Networks", and wide-resnet.lua of their code.
    """

    def conv(x, filters, kernel, name, stride=1):
        return parts.conv(
            x,
            filters,
            kernel,
            name,
            stride,
            initializer=initializers.VarianceScaling(2, "fan_out", "untruncated_normal"),
            pad_all_sides=kernel > 1,
            use_bias=False,
        )

    def activate(x, name):
        return parts.norm_act(x, f"{name}_bn", f"{name}_act")

    def block(x, filters, stride, name):
        shortcut, y = x, activate(x, f"{name}_pre1")
        if x.shape[-1] != filters:
            shortcut = conv(y, filters, 1, f"{name}_shortcut_conv", stride)
        y = conv(y, filters, 3, f"{name}_conv1", stride)
        y = conv(activate(y, f"{name}_pre2"), filters, 3, f"{name}_conv2")
        return layers.Add(name=f"{name}_add")([shortcut, y])

    x = conv(maps, 16, 3, "stem_conv")
    for stack, count in enumerate(units):
        for index in range(count):
            stride = 2 if stack and not index else 1
            x = block(x, 16 * 2**stack * width, stride, f"stack{stack}_unit{index}")
    return layers.GlobalAveragePooling2D(name="pool")(activate(x, "head"))


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer: Torch's nn.Linear, uniform within ±1/√fan_in."""
    return {"kernel_initializer": torch_uniform()}
