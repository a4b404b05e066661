"""The wide, shallow network of cifar10-airbench: `airbench`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfsc.layers.whitening import SIZE
from tfsc.models.parts import Parts, torch_uniform


def airbench(
    maps: keras.KerasTensor,
    parts: Parts,
    widths: Sequence[int] = (64, 256, 256),
    depth: int = 2,
    residual: bool = False,
) -> keras.KerasTensor:
    """Features of a few wide groups, each of which halves the maps at its beginning.

    The defaults are airbench94: at 32×32×3 and 10 classes, with a dense layer, 1,971,352 trainable
    parameters with a whitening stem, which adds a kernel of 288 numbers that does not train. Stem
    conv2×2/24 without padding–act; then groups

        x ← act(BN(maxpool2(conv3×3(x)))),  and depth − 1 times  x ← act(BN(conv3×3(x)))

    the last of these  x ← act(h + BN(conv3×3(x)))  in a residual group, where h is what the first
    made. At the end the maximum over the last maps (3×3 there). The 3×3 convolutions and the dense
    layer have no bias, BatchNorm has no scale. Weights are PyTorch's defaults, uniform within
    ±1/√fan_in, except the identity's. The stem is computed in float32 (see `Parts.whitened`), and
    so is the dense layer, which costs nothing.

    airbench95 has the widths (128, 384, 384); airbench96 (128, 384, 512), depth 3, residual groups,
    and a BatchNorm momentum of 0.9.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers; its whitening is the stem's kernel, without one the stem is an
            ordinary 2×2 convolution of 8·channels filters.
        widths: channels of each group.
        depth: convolutions in each group.
        residual: whether groups are residual; their depth is at least 2 then.

    Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and airbench94.py,
    airbench95.py and airbench96.py of its code.
    """

    def conv(x, width, name):
        return parts.conv(x, width, 3, name, initializer=torch_uniform(), use_bias=False)

    def norm_act(x, name):
        return parts.norm_act(x, f"{name}_bn", f"{name}_act", fused_act=True, scale=False)

    if parts.whitening is None:
        x = layers.Conv2D(
            2 * SIZE**2 * maps.shape[-1],
            SIZE,
            kernel_initializer=torch_uniform(),
            kernel_regularizer=parts.penalty(),
            dtype="float32",
            name="stem_conv",
        )(maps)
    else:
        x = parts.whitened(maps, "valid")
    x = parts.fused_act(x, "stem_act")
    for group, width in enumerate(widths):
        name = f"group{group}_conv1"
        x = layers.MaxPooling2D(2, name=f"group{group}_pool")(conv(x, width, name))
        x = first = norm_act(x, name)
        for index in range(2, depth + 1):
            name = f"group{group}_conv{index}"
            x = conv(x, width, name)
            if residual and index == depth:
                x = parts.norm(x, f"{name}_bn", scale=False)
                x = layers.Add(name=f"group{group}_add")([first, x])
                x = parts.fused_act(x, f"{name}_act")
            else:
                x = norm_act(x, name)
    x = layers.MaxPooling2D(x.shape[1:3], name="pool")(x)
    return layers.Flatten(name="flatten")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"use_bias": False, "kernel_initializer": torch_uniform(), "dtype": "float32"}
