"""What networks share: `images` first, `conv3x3`, `normalized`, and `logits` at their end."""

from typing import Any

import keras
import numpy as np
from keras import initializers, layers

from tfsc.layers.activation import FusedActivation
from tfsc.layers.dropout import SampleDropout
from tfsc.layers.identity_filters import IdentityFilters
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.norm_relu import NormReLU
from tfsc.layers.whitening import WhiteningConv2D
from tfsc.layers.winograd import LEAST_CHANNELS, WinogradConv2D


def images(
    input_shape: tuple[int, int, int],
    mean: float | np.ndarray,
    scale: float | np.ndarray = 1.0,
    whitening: np.ndarray | None = None,
    activation: str = "linear",
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """A network's input and what its first layer sees: scale·(x/255 − mean), in float32.

    With `whitening` that is act(conv(…) + b): maps as large as the image, of a convolution that
    trains nothing but b.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        mean: of images scaled to 0–1; a number, [channels] or [height, width, channels].
        scale: range of the pixels; 255 leaves them as they are. A number or [channels].
        whitening: kernel of that convolution (see `whitening_kernel`); None: none.
        activation: behind it, name of a Keras activation.

    Returns:
        The `keras.Input`, and the output of the layer `scale` or `whitening_act`.
    """
    inputs = keras.Input(input_shape, dtype="float32", name="image")
    # In float32: bfloat16 would round pixels before the mean is gone.
    offset = -scale * np.asarray(mean, np.float32)
    scaled = layers.Rescaling(scale / 255, offset=offset, dtype="float32", name="scale")
    x = scaled(inputs)
    if whitening is not None:
        x = FusedActivation(activation, name="whitening_act")(whitened(x, whitening, "same"))
    return inputs, x


def whitened(x: keras.KerasTensor, kernel: np.ndarray, padding: str) -> keras.KerasTensor:
    """The layer `whitening`, a `WhiteningConv2D`, with this kernel.

    In float32: filters of faint directions amplify their input up to 45 times, and with it what
    bfloat16 would round off.
    """
    size, _, _, filters = kernel.shape
    layer = WhiteningConv2D(filters, size, padding, dtype="float32", name="whitening")
    outputs = layer(x)
    layer.set_kernel(kernel)
    return outputs


def initializer(
    rest: initializers.Initializer | str, identity: bool
) -> initializers.Initializer | str:
    """`rest`, or the identity where a convolution has filters for it."""
    return IdentityFilters(rest) if identity else rest


def conv3x3(
    x: keras.KerasTensor,
    filters: int,
    stride: int,
    name: str,
    winograd: bool = False,
    **arguments: Any,
) -> keras.KerasTensor:
    """A 3×3 convolution with one pixel of padding on all sides, as Caffe and Torch have it.

    At stride 2 and even sizes Keras' "same" pads below and on the right only: the windows lie one
    pixel further on.

    Args:
        x: maps [n, height, width, channels].
        filters: number of output channels.
        stride: 1 or 2.
        name: of the layer; the padding's is `<name>_pad`.
        winograd: whether one of stride 1 and at least 16 channels of x is a `WinogradConv2D`.
        arguments: of `keras.layers.Conv2D`.
    """
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    elif winograd and x.shape[-1] >= LEAST_CHANNELS:
        return WinogradConv2D(filters, name=name, **arguments)(x)
    padding = "valid" if stride > 1 else "same"
    return layers.Conv2D(filters, 3, stride, padding, name=name, **arguments)(x)


def normalized(
    x: keras.KerasTensor,
    activation: str,
    names: tuple[str, str],
    fused: bool = False,
    layer: type[layers.Activation] = layers.Activation,
    **arguments: Any,
) -> keras.KerasTensor:
    """BatchNormalization and an activation.

    Args:
        x: maps [n, height, width, channels].
        activation: name of a Keras activation.
        names: of the two layers.
        fused: whether ReLU and the normalization are one layer, `NormReLU`, of the first name.
        layer: of the activation otherwise.
        arguments: of `keras.layers.BatchNormalization`.
    """
    norm, act = names
    if fused and activation == "relu":
        return NormReLU(name=norm, **arguments)(x)
    x = FusedBatchNormalization(name=norm, **arguments)(x)
    return layer(activation, name=act)(x)


def logits(
    x: keras.KerasTensor,
    classes: int,
    dropout: float = 0.0,
    dropout_seed: int = 0,
    scale: float = 1.0,
    **arguments: Any,
) -> keras.KerasTensor:
    """Float32 logits of features [n, d]: dropout, dense layer, factor.

    Args:
        x: features.
        classes: number of logits.
        dropout: rate.
        dropout_seed: of its masks.
        scale: factor on the dense layer's outputs.
        arguments: of `keras.layers.Dense`.
    """
    if dropout:
        x = SampleDropout(dropout, dropout_seed, name="dropout")(x)
    x = layers.Dense(classes, name="logits", **arguments)(x)
    # The loss needs float32; only the multiplication itself is in the policy's precision.
    x = layers.Activation("linear", dtype="float32", name="float32_logits")(x)
    if scale == 1:
        return x
    return layers.Rescaling(scale, dtype="float32", name="logit_scale")(x)
