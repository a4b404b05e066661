"""Page's nine-layer residual network of DAWNBench: `resnet9`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfsc.models.parts import Parts, torch_uniform


def resnet9(
    maps: keras.KerasTensor,
    parts: Parts,
    widths: Sequence[int] = (64, 128, 256, 512),
    residual: Sequence[int] = (1, 3),
) -> keras.KerasTensor:
    """Features of a few wide layers, some with a residual block behind them.

    The defaults have 6,573,120 trainable parameters with a dense layer, at 32×32×3 and 10 classes.
    Layer 0, the stem, is c = act(BN(conv3×3(x))); each layer behind it

        x ← maxpool2(c(x)),  and in those named by `residual`  x ← x + c(c(x))

    At the end the maximum over the last maps (4×4 there). Convolutions and the dense layer have no
    bias; weights are PyTorch's defaults, uniform within ±1/√fan_in. Logits are divided by 8.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers.
        widths: channels of each layer.
        residual: numbers of the layers with a residual block, from 1.

    Source: Page, "How to train your ResNet", part 4, and dawn_utils.py of cifar10-fast.
    """

    def convolved(x, filters, name):
        x = parts.conv(x, filters, 3, f"{name}_conv", initializer=torch_uniform(), use_bias=False)
        return parts.norm_act(x, f"{name}_bn", f"{name}_act")

    x = convolved(maps, widths[0], "layer0")
    for index, width in enumerate(widths[1:], 1):
        name = f"layer{index}"
        x = layers.MaxPooling2D(2, name=f"{name}_pool")(convolved(x, width, name))
        if index in residual:
            y = convolved(convolved(x, width, f"{name}_res1"), width, f"{name}_res2")
            x = layers.Add(name=f"{name}_add")([x, y])
    return layers.GlobalMaxPooling2D(name="pool")(x)


def head(parts: Parts) -> dict[str, Any]:
    """Arguments of the dense layer."""
    return {"use_bias": False, "kernel_initializer": torch_uniform()}
