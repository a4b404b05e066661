"""The residual network of super-convergence: `resnet_smith`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import initializers, layers, regularizers

from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.zero_channels import ZeroChannels
from tfsc.models import parts


def resnet_smith(
    input_shape: tuple[int, int, int],
    classes: int,
    stack_units: Sequence[int] = (9, 9, 9),
    conv_bias: str = "all",
    downsampling: str = "caffe",
    bn_momentum: float = 0.95,
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
    """A functional residual network of basic blocks with shortcuts that have no parameters.

    The defaults are Smith & Topin's ResNet-56: 808,682 trainable parameters at 32×32×3, 10 classes.
    Stem conv3×3/16–BN–act; then stacks of blocks

        y = act(x + BN(conv3×3(act(BN(conv3×3(x))))))

    The first block of every stack but the first has stride 2 and its input's width w: the shortcut
    is an average pooling, and w channels of zeros are concatenated after the activation, so that
    the blocks behind it are 2·w wide. Head: average over the last maps–dense. Normal weights of
    variance 2/fan_in (Caffe's msra) in convolutions, uniform ones of variance 1/fan_in (Caffe's
    xavier) in the dense layer.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        stack_units: blocks in each stack; (n, n, n) is the depth 6n + 2.
        conv_bias: which convolutions have a bias: "all", "standard" (not those of the blocks that
            halve the maps; seed 002's code) or "none" (806,746 parameters).
        downsampling: "caffe": average pooling 3×3, and convolutions of stride 2 padded by one pixel
            on all sides; "tensorflow" (seed 002's code): pooling 2×2, and padded below and on the
            right only.
        bn_momentum: of the moving statistics; Smith & Topin have 0.999 in runs of 80,000 steps.
        bn_epsilon: added to the variance.
        activation: name of a Keras activation.
        l2: penalty l2·Σw² on convolution kernels.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        input_scale: factor on what is left; 255 for the raw range of the original.
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
        ValueError: if an argument is out of range, or the image's size does not suit the stacks.

    Source: Smith & Topin, "Super-Convergence", appendix A, and Resnet56Cifar.prototxt of their
    code; seed 002.
    """
    _check(input_shape, stack_units, conv_bias, downsampling)
    penalty = regularizers.L2(l2) if l2 else None

    def conv(x, filters, stride, name, bias):
        arguments = {
            "use_bias": bias,
            # New for each layer: a shared object gives equal shapes equal weights.
            "kernel_initializer": parts.initializer(
                initializers.VarianceScaling(2, "fan_in", "untruncated_normal"), identity_init
            ),
            "kernel_regularizer": penalty,
        }
        if stride > 1 and downsampling == "tensorflow":
            return layers.Conv2D(filters, 3, stride, "same", name=name, **arguments)(x)
        return parts.conv3x3(x, filters, stride, name, winograd, **arguments)

    numbers = {"momentum": bn_momentum, "epsilon": bn_epsilon}

    def normalize_and_activate(x, norm, act):
        return parts.normalized(x, activation, (norm, act), fused_norm, **numbers)

    def block(x, filters, stride, name):
        bias = conv_bias == "all" or (conv_bias == "standard" and stride == 1)
        y = conv(x, filters, stride, f"{name}_conv1", bias)
        y = normalize_and_activate(y, f"{name}_bn1", f"{name}_act1")
        y = conv(y, filters, 1, f"{name}_conv2", bias)
        y = FusedBatchNormalization(name=f"{name}_bn2", **numbers)(y)
        if stride > 1:
            # "same" leaves out what is outside the image, as Caffe does.
            size, padding = (3, "same") if downsampling == "caffe" else (2, "valid")
            x = layers.AveragePooling2D(size, 2, padding, name=f"{name}_shortcut")(x)
        x = layers.Add(name=f"{name}_add")([x, y])
        return layers.Activation(activation, name=f"{name}_act2")(x)

    inputs, x = parts.images(input_shape, mean, input_scale, whitening, activation)
    x = conv(x, 16, 1, "stem_conv", conv_bias != "none")
    x = normalize_and_activate(x, "stem_bn", "stem_act")

    filters = 16
    for stack, units in enumerate(stack_units):
        for index in range(units):
            name = f"stack{stack}_unit{index}"
            if stack and not index:
                x = block(x, filters, 2, name)
                x = ZeroChannels(filters, name=f"{name}_zeros")(x)
                filters *= 2
            else:
                x = block(x, filters, 1, name)

    x = layers.GlobalAveragePooling2D(name="pool")(x)
    head = {"kernel_initializer": "lecun_uniform"}
    outputs = parts.logits(x, classes, dropout, dropout_seed, logit_scale, **head)
    return keras.Model(inputs, outputs, name="resnet_smith")


def _check(input_shape, stack_units, conv_bias, downsampling) -> None:
    if not stack_units or any(units < 1 for units in stack_units):
        raise ValueError(f"stack_units must be at least 1 each. Received: {stack_units}")
    if conv_bias not in ("all", "standard", "none"):
        raise ValueError(f"conv_bias must be 'all', 'standard' or 'none'. Received: {conv_bias!r}")
    if downsampling not in ("caffe", "tensorflow"):
        raise ValueError(
            f"downsampling must be 'caffe' or 'tensorflow'. Received: {downsampling!r}"
        )
    factor = 2 ** (len(stack_units) - 1)
    if min(input_shape[:2]) < factor:
        raise ValueError(
            f"{len(stack_units)} stacks halve the image {len(stack_units) - 1} times. "
            f"Received: input_shape={input_shape}"
        )
    if downsampling == "tensorflow" and any(size % factor for size in input_shape[:2]):
        raise ValueError(
            f"downsampling='tensorflow' needs image sizes that {factor} divides with "
            f"{len(stack_units)} stacks. Received: input_shape={input_shape}"
        )
