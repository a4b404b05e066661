"""ResNetV2 of Atienza with the seeds' Changes 1–3: `resnet_v2`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from tfsc.layers.own_gradient import OwnGradient
from tfsc.models.parts import Parts


def resnet_v2(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (6, 6, 6),
    shortcut: Sequence[int] = (3,),
    pooling: str = "none",
    preactivation: str = "none",
    preactivation_bn: bool = True,
) -> keras.KerasTensor:
    """Features of a pre-activation residual network with bottleneck units.

    The defaults are seed 000's Changes 1+2: 2,170,890 trainable parameters with a dense layer, at
    32×32×3 and 10 classes; Atienza's ResNet56v2, of shortcut 1 and pooling "avg", has 1,663,338.

    Stem conv3×3/16–BN–act; then stacks of units conv1×1(f)–conv3×3(f)–conv1×1(F), each convolution
    after BN–act (but for the very first, whose input the stem has activated). Stack 0 has f = 16,
    F = 64; stack s has f = F of the stack before, F = 2·f, and stride 2 in its first 1×1. The first
    unit of a stack adds a convolution of its raw input, the others add the input itself. At the
    end BN–act–(average)–flatten. All convolutions have a bias and He-normal weights.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        units: residual units in each stack; (n, n, n) is Atienza's depth 9n + 2.
        shortcut: kernel size of each stack's projection, or one for all; Change 2 is 3 instead
            of 1.
        pooling: "avg" over the whole last map, or "none" (Change 1).
        preactivation: Change 3: "none", "downsampling" (all stacks but the first) or "all":
            [BN–]act–conv on the shortcut.
        preactivation_bn: whether that has a BatchNorm of its own.

    Source: Atienza, "Advanced Deep Learning with Keras", chapter 2, resnet_v2; seed 000.
    """
    conv = partial(parts.conv, initializer="he_normal", pointwise=True)

    def activate(x, name, normalize=True):
        if normalize:
            return parts.norm_act(x, f"{name}_bn", f"{name}_act")
        return parts.act(x, f"{name}_act")

    def projection(x, name, filters, kernel, stride, preactivate):
        if preactivate:
            x = activate(x, f"{name}_shortcut", normalize=preactivation_bn)
        x = conv(x, filters, kernel, f"{name}_shortcut_conv", stride)
        return OwnGradient(name=f"{name}_shortcut")(x)

    def unit(x, added, name, inner, filters, stride, activated):
        """One residual unit: the branch of its raw input x, and what is added to it."""
        y = x if activated else activate(x, f"{name}_pre1")
        y = conv(y, inner, 1, f"{name}_conv1", stride, passes=added is x)
        y = conv(activate(y, f"{name}_pre2"), inner, 3, f"{name}_conv2")
        y = conv(activate(y, f"{name}_pre3"), filters, 1, f"{name}_conv3")
        return parts.add(added, y, f"{name}_add")

    x = activate(conv(maps, 16, 3, "stem_conv"), "stem")
    inner = 16
    kernels = shortcut if len(shortcut) > 1 else tuple(shortcut) * len(units)
    for stack, (count, kernel) in enumerate(zip(units, kernels, strict=True)):
        filters, stride = (4 * inner, 1) if stack == 0 else (2 * inner, 2)
        preactivate = preactivation == "all" or (preactivation == "downsampling" and stack > 0)
        for index in range(count):
            name = f"stack{stack}_unit{index}"
            if index == 0:
                added = projection(x, name, filters, kernel, stride, preactivate)
                x = unit(x, added, name, inner, filters, stride, activated=stack == 0)
            else:
                x = unit(x, x, name, inner, filters, 1, activated=False)
        inner = filters

    x = activate(x, "head")
    if pooling == "avg":
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Flatten(name="flatten")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"kernel_initializer": "he_normal"}
