"""Three-branch residual networks of Shake-Shake regularization: `shake_shake`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers

from tfsc.layers.shake import ShakeShake
from tfsc.models.parts import Parts, torch_uniform


def shake_shake(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (4, 4, 4),
    width: int = 32,
    forward: str = "shake",
    backward: str = "shake",
    level: str = "image",
) -> keras.KerasTensor:
    """Features of a residual network with two branches a block, mixed at random in training.

    The defaults are 26 2×32d, Shake-Shake-Image: 2,923,162 trainable parameters with a dense layer,
    at 32×32×3 and 10 classes; width 64 has 11,653,978, and 96 has 26,192,922. Stem conv3×3/16–BN;
    then stacks of blocks

        y = short(x) + α·b₁(x) + (1 − α)·b₂(x),   b(x) = BN(conv3×3(act(BN(conv3×3(act(x))))))

    with α as `ShakeShake` has it. Stack s is width·2ˢ wide, and has stride 2 in its first block
    unless it is the first. Where a block changes the width, short(x) is BN of two halves of the
    channels: conv1×1 of every other pixel of act(x), and conv1×1 of the pixels one further up and
    to the left (0 beyond the border); in the first stack, whose stride is 1, of all pixels. At the
    end act–average over the last maps. Convolutions have no bias, and normal weights of variance
    2/fan_out.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers; its dropout seed is Shake-Shake's, too.
        units: blocks in each stack; (n, n, n) is the depth 6n + 2.
        width: of the first stack, even; d of 2×d.
        forward: whether α is drawn ("shake") or ½ ("even").
        backward: whether the share on the way back is drawn anew ("shake"), ½ ("even") or α
            ("keep").
        level: whether each image has draws of its own ("image") or all of a batch have the same
            ("batch").

    Source: Gastaldi, "Shake-Shake regularization", 2017, and models/shakeshake.lua of its code.
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

    def branch(x, filters, stride, name):
        y = conv(x, filters, 3, f"{name}_conv1", stride)
        y = parts.norm_act(y, f"{name}_bn1", f"{name}_act")
        return parts.norm(conv(y, filters, 3, f"{name}_conv2"), f"{name}_bn2")

    def shortened(x, filters, stride, name):
        shifted = layers.Cropping2D(((0, 1), (0, 1)), name=f"{name}_crop")(x)
        shifted = layers.ZeroPadding2D(((1, 0), (1, 0)), name=f"{name}_shift")(shifted)
        halves = []
        for index, half in enumerate((x, shifted), 1):
            # Takes every other pixel, averages nothing.
            taken = layers.AveragePooling2D(1, stride, name=f"{name}_take{index}")(half)
            halves.append(conv(taken, filters // 2, 1, f"{name}_conv{index}"))
        return parts.norm(layers.Concatenate(name=f"{name}_halves")(halves), f"{name}_bn")

    def block(x, filters, stride, number, name):
        activated = parts.act(x, f"{name}_act")
        if x.shape[-1] != filters:
            x = shortened(activated, filters, stride, f"{name}_shortcut")
        branches = [branch(activated, filters, stride, f"{name}_branch{i}") for i in (1, 2)]
        y = ShakeShake(forward, backward, level, number, parts.dropout_seed, name=f"{name}_shake")(
            branches
        )
        return layers.Add(name=f"{name}_add")([x, y])

    x = parts.norm(conv(maps, 16, 3, "stem_conv"), "stem_bn")
    for stack, count in enumerate(units):
        for index in range(count):
            stride, number = 2 if stack and not index else 1, sum(units[:stack]) + index
            x = block(x, width * 2**stack, stride, number, f"stack{stack}_unit{index}")
    return layers.GlobalAveragePooling2D(name="pool")(parts.act(x, "head_act"))


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": torch_uniform()}
