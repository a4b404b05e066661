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
) -> keras.KerasTensor:
    """Features of a few wide groups, each of which halves the maps at its beginning.

    The defaults are airbench94: at 32×32×3 and 10 classes, with a dense layer, 1,971,352 trainable
    parameters with a whitening stem, which adds a kernel of 288 numbers that does not train. Stem
    conv2×2/24 without padding–act; then groups

        x ← act(BN(maxpool2(conv3×3(x)))),  and depth − 1 times  x ← act(BN(conv3×3(x)))

    At the end the maximum over the last maps (3×3 there). The 3×3 convolutions and the dense layer
    have no bias, BatchNorm has no scale. Weights are PyTorch's defaults, uniform within ±1/√fan_in,
    except the identity's. Depth 3 is airbench96 without its residual sums. The stem is computed in
    float32 (see `Parts.whitened`), and so is the dense layer, which costs nothing.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers; its whitening is the stem's kernel, without one the stem is an
            ordinary 2×2 convolution of 8·channels filters.
        widths: channels of each group.
        depth: convolutions in each group.

    Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and airbench94.py of
    its code.
    """
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
        for index in range(1, depth + 1):
            name = f"group{group}_conv{index}"
            x = parts.conv(x, width, 3, name, initializer=torch_uniform(), use_bias=False)
            if index == 1:
                x = layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
            x = parts.norm_act(x, f"{name}_bn", f"{name}_act", fused_act=True, scale=False)
    x = layers.MaxPooling2D(x.shape[1:3], name="pool")(x)
    return layers.Flatten(name="flatten")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"use_bias": False, "kernel_initializer": torch_uniform(), "dtype": "float32"}
