"""The wide, shallow network of cifar10-airbench: `airbench`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import initializers, layers, regularizers

from tfsc.layers.activation import FusedActivation
from tfsc.layers.whitening import SIZE
from tfsc.models import parts


def least_size(widths: Sequence[int]) -> int:
    """Side of the smallest images that so many groups can halve."""
    return 2 ** len(widths) + 1


def airbench(
    input_shape: tuple[int, int, int],
    classes: int,
    widths: Sequence[int] = (64, 256, 256),
    group_depth: int = 2,
    whitening: np.ndarray | None = None,
    identity_init: bool = True,
    logit_scale: float = 1 / 9,
    bn_momentum: float = 0.6,
    bn_epsilon: float = 1e-12,
    activation: str = "gelu",
    l2: float = 0.0,
    mean: float | np.ndarray = 0.0,
    input_scale: float | np.ndarray = 1.0,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    winograd: bool = False,
    fused_norm: bool = False,
) -> keras.Model:
    """A functional network of a few wide groups, each of which halves the maps at its beginning.

    The defaults are airbench94: at 32×32×3 and 10 classes 1,971,352 trainable parameters with
    `whitening`, which adds a kernel of 288 numbers that does not train. Stem conv2×2/24 without
    padding–act; then groups

        x ← act(BN(maxpool2(conv3×3(x)))),  and group_depth − 1 times  x ← act(BN(conv3×3(x)))

    Head: maximum over the last maps (3×3 there)–dense–logits·logit_scale. The 3×3 convolutions and
    the dense layer have no bias, BatchNorm has no scale. Weights are PyTorch's defaults, uniform
    within ±1/√fan_in, except the identity's. Depth 3 is airbench96 without its residual sums.

    The stem is computed in float32 (see `parts.whitened`), and so is the dense layer, which costs
    nothing.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        widths: channels of each group.
        group_depth: convolutions in each group.
        whitening: kernel of the stem (see `whitening_kernel`), which then never trains, only its
            bias; None: an ordinary 2×2 convolution of 8·channels filters.
        identity_init: whether filter i of a 3×3 convolution begins as the identity of channel i, as
            far as there are input channels.
        logit_scale: factor on the logits.
        bn_momentum, bn_epsilon: of BatchNorm.
        activation: name of a Keras activation; "gelu" is the exact one, x·Φ(x), as in PyTorch.
        l2: penalty l2·Σw² on the kernels of the convolutions that train.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        input_scale: factor on what is left; a number or [channels].
        dropout: rate before the dense layer.
        dropout_seed: of its masks.
        winograd: whether 3×3 convolutions of stride 1 are `WinogradConv2D`.
        fused_norm: whether BatchNormalization with ReLU behind it is a `NormReLU`.

    Returns:
        `keras.Model` from images [n, height, width, channels] to float32 logits [n, classes].

    Raises:
        ValueError: if an argument is out of range, or the image too small for the groups.

    Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and airbench94.py of
    its code.
    """
    _check(input_shape, widths, group_depth)

    def arguments():
        # New for each layer: a shared initializer gives equal shapes equal weights.
        return {"kernel_regularizer": regularizers.L2(l2) if l2 else None}

    def conv(x, filters, name):
        return parts.conv3x3(
            x,
            filters,
            1,
            name,
            winograd,
            use_bias=False,
            kernel_initializer=parts.initializer(_torch_uniform(), identity_init),
            **arguments(),
        )

    def activate(x, name):
        numbers = {"momentum": bn_momentum, "epsilon": bn_epsilon, "scale": False}
        names = f"{name}_bn", f"{name}_act"
        return parts.normalized(x, activation, names, fused_norm, FusedActivation, **numbers)

    inputs, x = parts.images(input_shape, mean, input_scale)
    if whitening is None:
        x = layers.Conv2D(
            2 * SIZE**2 * input_shape[2],
            SIZE,
            kernel_initializer=_torch_uniform(),
            dtype="float32",
            name="stem_conv",
            **arguments(),
        )(x)
    else:
        x = parts.whitened(x, whitening, "valid")
    x = FusedActivation(activation, name="stem_act")(x)
    for group, width in enumerate(widths):
        for index in range(1, group_depth + 1):
            name = f"group{group}_conv{index}"
            x = conv(x, width, name)
            if index == 1:
                x = layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
            x = activate(x, name)

    x = layers.MaxPooling2D(x.shape[1:3], name="pool")(x)
    outputs = parts.logits(
        layers.Flatten(name="flatten")(x),
        classes,
        dropout,
        dropout_seed,
        logit_scale,
        use_bias=False,
        kernel_initializer=_torch_uniform(),
        dtype="float32",
    )
    return keras.Model(inputs, outputs, name="airbench")


def _torch_uniform() -> initializers.Initializer:
    """Uniform within ±1/√fan_in."""
    return initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def _check(input_shape, widths, group_depth) -> None:
    if not widths or any(width < 1 for width in widths):
        raise ValueError(f"widths must be at least 1 each. Received: {widths}")
    if group_depth < 1:
        raise ValueError(f"group_depth must be at least 1. Received: {group_depth}")
    if min(input_shape[:2]) < least_size(widths):
        raise ValueError(
            f"{len(widths)} groups need images of at least {least_size(widths)} pixels a side. "
            f"Received: input_shape={input_shape}"
        )
