"""Wide residual networks of Zagoruyko & Komodakis: `wide_resnet`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import initializers, layers, regularizers

from tfsc.models import parts


def wide_resnet(
    input_shape: tuple[int, int, int],
    classes: int,
    stack_units: Sequence[int] = (4, 4, 4),
    width: int = 10,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    activation: str = "relu",
    l2: float = 0.0,
    mean: float | np.ndarray = 0.0,
    input_scale: float | np.ndarray = 1.0,
    whitening: np.ndarray | None = None,
    identity_init: bool = False,
    logit_scale: float = 1.0,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    winograd: bool = False,
    fused_norm: bool = False,
) -> keras.Model:
    """A functional pre-activation residual network of wide basic blocks.

    The defaults are WRN-28-10: 36,479,194 trainable parameters at 32×32×3, 10 classes. Stem
    conv3×3/16; then stacks of blocks

        y = x + conv3×3(act(BN(conv3×3(act(BN(x))))))

    Stack s is 16·2ˢ·width wide, and has stride 2 in its first block unless it is the first. Where a
    block changes the width, its shortcut is a 1×1 convolution of act(BN(x)), which both ways share.
    Head: BN–act–average over the last maps–dense. Convolutions have no bias, and normal weights of
    variance 2/fan_out. (The paper's dropout between the two convolutions is left out.)

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        stack_units: blocks in each stack; (n, n, n) is the depth 6n + 4.
        width: the factor k of WRN-d-k.
        bn_momentum, bn_epsilon: of BatchNorm; Torch's defaults.
        activation: name of a Keras activation.
        l2: penalty l2·Σw² on convolution kernels.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        input_scale: factor on what is left.
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

    Source: Zagoruyko & Komodakis, "Wide Residual Networks", and wide-resnet.lua of their code.
    """
    _check(input_shape, stack_units, width)

    def arguments(identity=False):
        # New for each layer: a shared initializer gives equal shapes equal weights.
        normal = initializers.VarianceScaling(2, "fan_out", "untruncated_normal")
        return {
            "use_bias": False,
            "kernel_initializer": parts.initializer(normal, identity),
            "kernel_regularizer": regularizers.L2(l2) if l2 else None,
        }

    def conv3x3(x, filters, stride, name):
        return parts.conv3x3(x, filters, stride, name, winograd, **arguments(identity_init))

    def activate(x, name):
        names = f"{name}_bn", f"{name}_act"
        numbers = {"momentum": bn_momentum, "epsilon": bn_epsilon}
        return parts.normalized(x, activation, names, fused_norm, **numbers)

    def block(x, filters, stride, name):
        shortcut, y = x, activate(x, f"{name}_pre1")
        if x.shape[-1] != filters:
            shortcut = layers.Conv2D(
                filters, 1, stride, name=f"{name}_shortcut_conv", **arguments()
            )(y)  # fmt: skip
        y = conv3x3(y, filters, stride, f"{name}_conv1")
        y = conv3x3(activate(y, f"{name}_pre2"), filters, 1, f"{name}_conv2")
        return layers.Add(name=f"{name}_add")([shortcut, y])

    inputs, x = parts.images(input_shape, mean, input_scale, whitening, activation)
    x = conv3x3(x, 16, 1, "stem_conv")
    for stack, units in enumerate(stack_units):
        for index in range(units):
            stride = 2 if stack and not index else 1
            x = block(x, 16 * 2**stack * width, stride, f"stack{stack}_unit{index}")

    x = layers.GlobalAveragePooling2D(name="pool")(activate(x, "head"))
    # Torch's nn.Linear: uniform within ±1/√fan_in.
    head = {"kernel_initializer": initializers.VarianceScaling(1 / 3, "fan_in", "uniform")}
    outputs = parts.logits(x, classes, dropout, dropout_seed, logit_scale, **head)
    return keras.Model(inputs, outputs, name="wide_resnet")


def _check(input_shape, stack_units, width) -> None:
    if not stack_units or any(units < 1 for units in stack_units):
        raise ValueError(f"stack_units must be at least 1 each. Received: {stack_units}")
    if width < 1:
        raise ValueError(f"width must be at least 1. Received: {width}")
    if min(input_shape[:2]) < 2 ** (len(stack_units) - 1):
        raise ValueError(
            f"{len(stack_units)} stacks halve the image {len(stack_units) - 1} times. "
            f"Received: input_shape={input_shape}"
        )
