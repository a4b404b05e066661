"""ResNetV2 of Atienza with the seeds' Changes 1–3: `resnet_v2`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, regularizers

from tfsc.layers.own_gradient import OwnGradient
from tfsc.layers.pointwise import PointwiseConv2D
from tfsc.layers.winograd import LEAST_CHANNELS, WinogradConv2D
from tfsc.models import parts


def resnet_v2(
    input_shape: tuple[int, int, int],
    classes: int,
    stack_units: Sequence[int] = (6, 6, 6),
    shortcut_kernels: Sequence[int] = (1, 1, 1),
    pooling: str = "avg",
    shortcut_preactivation: str = "none",
    shortcut_bn: bool = True,
    activation: str = "relu",
    l2: float = 0.0,
    mean: float | np.ndarray = 0.0,
    input_scale: float | np.ndarray = 1.0,
    whitening: np.ndarray | None = None,
    identity_init: bool = False,
    logit_scale: float = 1.0,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    winograd: bool = False,
    fused_norm: bool = False,
) -> keras.Model:
    """A functional pre-activation residual network with bottleneck units.

    The defaults are Atienza's ResNet56v2: 1,663,338 trainable parameters at 32×32×3, 10 classes.
    Stem conv3×3/16–BN–act; then stacks of units conv1×1(f)–conv3×3(f)–conv1×1(F), each convolution
    after BN–act (but for the very first, whose input the stem has activated). Stack 0 has f = 16,
    F = 64; stack s has f = F of the stack before, F = 2·f, and stride 2 in its first 1×1. The first
    unit of a stack adds a convolution of its raw input, the others add the input itself. Head:
    BN–act–(average)–flatten–dense. All convolutions have a bias and He-normal weights.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        stack_units: units in each stack; (n, n, n) is Atienza's depth 9n + 2.
        shortcut_kernels: kernel size of each stack's projection; Change 2 is 3 instead of 1.
        pooling: "avg" over the whole last map, or "none" (Change 1).
        shortcut_preactivation: Change 3: "none", "downsampling" (all stacks but the first) or
            "all": [BN–]act–conv on the shortcut.
        shortcut_bn: whether that pre-activation has a BatchNorm of its own.
        activation: name of a Keras activation.
        l2: penalty l2·Σw² on convolution kernels.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        input_scale: factor on what is left.
        bn_momentum: of BatchNorm's moving statistics.
        bn_epsilon: added to BatchNorm's variance.
        whitening: kernel of a convolution before the stem (see `whitening_kernel`), with an
            activation; only its bias trains. None: none.
        identity_init: whether filter i of a 3×3 convolution begins as the identity of channel i, as
            far as there are input channels.
        logit_scale: factor on the logits.
        dropout: rate before the dense layer.
        dropout_seed: of its masks.
        winograd: whether 3×3 convolutions of stride 1 and at least 16 input channels are
            `WinogradConv2D`.
        fused_norm: whether BatchNormalization with ReLU behind it is a `NormReLU`.

    Returns:
        `keras.Model` from images [n, height, width, channels] to float32 logits [n, classes].

    Raises:
        ValueError: if an argument is out of range, or the image too small for the stacks.

    Source: Atienza, "Advanced Deep Learning with Keras", chapter 2, resnet_v2; seed 000.
    """
    _check(input_shape, stack_units, shortcut_kernels, pooling, shortcut_preactivation)
    penalty = regularizers.L2(l2) if l2 else None

    def conv(x, filters, kernel, stride, name):
        layer = PointwiseConv2D if kernel == stride == 1 else layers.Conv2D
        if winograd and (kernel, stride) == (3, 1) and x.shape[-1] >= LEAST_CHANNELS:
            layer = WinogradConv2D
        return layer(
            filters,
            kernel,
            strides=stride,
            padding="same",
            kernel_initializer=parts.initializer("he_normal", identity_init and kernel == 3),
            kernel_regularizer=penalty,
            name=name,
        )(x)

    def activate(x, name, normalize=True):
        names = f"{name}_bn", f"{name}_act"
        if not normalize:
            return layers.Activation(activation, name=names[1])(x)
        numbers = {"momentum": bn_momentum, "epsilon": bn_epsilon}
        return parts.normalized(x, activation, names, fused_norm, **numbers)

    def unit(x, shortcut, name, filters, out_filters, stride, activated):
        """One residual unit: the branch of its raw input x, added to `shortcut`."""
        y = x if activated else activate(x, f"{name}_pre1")
        y = conv(y, filters, 1, stride, f"{name}_conv1")
        y = conv(activate(y, f"{name}_pre2"), filters, 3, 1, f"{name}_conv2")
        y = conv(activate(y, f"{name}_pre3"), out_filters, 1, 1, f"{name}_conv3")
        return layers.Add(name=f"{name}_add")([shortcut, y])

    def projection(x, name, out_filters, kernel, stride, preactivate):
        if preactivate:
            x = activate(x, f"{name}_shortcut", normalize=shortcut_bn)
        x = conv(x, out_filters, kernel, stride, f"{name}_shortcut_conv")
        return OwnGradient(name=f"{name}_shortcut")(x)

    inputs, x = parts.images(input_shape, mean, input_scale, whitening, activation)
    x = activate(conv(x, 16, 3, 1, "stem_conv"), "stem")

    filters = 16
    for stack, (units, kernel) in enumerate(zip(stack_units, shortcut_kernels, strict=True)):
        out_filters = 4 * filters if stack == 0 else 2 * filters
        stride = 1 if stack == 0 else 2
        preactivate = shortcut_preactivation == "all" or (
            shortcut_preactivation == "downsampling" and stack > 0
        )
        for index in range(units):
            name = f"stack{stack}_unit{index}"
            if index == 0:
                shortcut = projection(x, name, out_filters, kernel, stride, preactivate)
                activated = stack == 0
                x = unit(x, shortcut, name, filters, out_filters, stride, activated)
            else:
                x = unit(x, x, name, filters, out_filters, 1, activated=False)
        filters = out_filters

    x = activate(x, "head")
    x = layers.GlobalAveragePooling2D(name="pool")(x) if pooling == "avg" else x
    x = layers.Flatten(name="flatten")(x)
    head = {"kernel_initializer": "he_normal"}
    outputs = parts.logits(x, classes, dropout, dropout_seed, logit_scale, **head)
    return keras.Model(inputs, outputs, name="resnet_v2")


def _check(input_shape, stack_units, shortcut_kernels, pooling, shortcut_preactivation) -> None:
    if not stack_units or any(units < 1 for units in stack_units):
        raise ValueError(f"stack_units must be at least 1 each. Received: {stack_units}")
    if len(shortcut_kernels) != len(stack_units):
        raise ValueError(
            "shortcut_kernels must have one size for each stack. "
            f"Received: {shortcut_kernels} for {len(stack_units)} stacks"
        )
    if pooling not in ("avg", "none"):
        raise ValueError(f"pooling must be 'avg' or 'none'. Received: {pooling!r}")
    if shortcut_preactivation not in ("none", "downsampling", "all"):
        raise ValueError(
            "shortcut_preactivation must be 'none', 'downsampling' or 'all'. "
            f"Received: {shortcut_preactivation!r}"
        )
    if min(input_shape[:2]) < 2 ** (len(stack_units) - 1):
        raise ValueError(
            f"{len(stack_units)} stacks halve the image {len(stack_units) - 1} times. "
            f"Received: input_shape={input_shape}"
        )
