"""Pre-activation residual networks of basic blocks, as mixup was measured on: `preact_resnet`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfsc.models.parts import Parts, torch_uniform


def preact_resnet(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (2, 2, 2, 2),
    width: int = 64,
    shortcut: str = "activated",
) -> keras.KerasTensor:
    """Features of a residual network of basic blocks, BatchNorm and activation before each sum.

    The defaults are the PreAct ResNet-18 of mixup's code: 11,171,274 trainable parameters with a
    dense layer, at 32×32×3 and 10 classes. Stem conv3×3–BN–act; then stacks of blocks

        a = act(BN(x)),   y = short(a) + conv3×3(act(BN(conv3×3(a))))

    Stack s is width·2ˢ wide, and has stride 2 in its first block unless it is the first. Where a
    block changes the width, short is a 1×1 convolution of that stride; elsewhere it passes a on. At
    the end the average over the last maps, with no BatchNorm before it. Convolutions have no bias;
    weights are PyTorch's defaults, uniform within ±1/√fan_in.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        units: blocks in each stack; (2, 2, 2, 2) is the depth 18.
        width: of the first stack.
        shortcut: "activated": as above and in mixup's code; "raw": a block that keeps the width
            passes x on instead of a, as He et al. have it.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization", and models/resnet.py of
    facebookresearch/mixup-cifar10; He et al., "Identity mappings in deep residual networks".
    """

    def conv(x, filters, kernel, name, stride=1):
        return parts.conv(
            x,
            filters,
            kernel,
            name,
            stride,
            initializer=torch_uniform(),
            pad_all_sides=kernel > 1,
            use_bias=False,
        )

    def activate(x, name):
        return parts.norm_act(x, f"{name}_bn", f"{name}_act")

    def block(x, filters, stride, name):
        y = activate(x, f"{name}_pre1")
        if x.shape[-1] != filters:
            short = conv(y, filters, 1, f"{name}_shortcut_conv", stride)
        else:
            short = y if shortcut == "activated" else x
        y = conv(y, filters, 3, f"{name}_conv1", stride)
        y = conv(activate(y, f"{name}_pre2"), filters, 3, f"{name}_conv2")
        return layers.Add(name=f"{name}_add")([short, y])

    x = activate(conv(maps, width, 3, "stem_conv"), "stem")
    for stack, count in enumerate(units):
        for index in range(count):
            stride = 2 if stack and not index else 1
            x = block(x, width * 2**stack, stride, f"stack{stack}_unit{index}")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": torch_uniform()}
