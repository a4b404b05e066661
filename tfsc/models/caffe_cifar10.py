"""Caffe's network for CIFAR-10 (cifar10_full): `caffe_cifar10`."""

import keras
import numpy as np
from keras import initializers, layers, regularizers

from tfsc.layers.local_response import LocalResponse
from tfsc.models import parts

LEAST_SIZE = 8  # three poolings halve the image


def caffe_cifar10(
    input_shape: tuple[int, int, int],
    classes: int,
    activation: str = "relu",
    l2: float = 0.0,
    mean: float | np.ndarray = 0.0,
    input_scale: float | np.ndarray = 255.0,
    whitening: np.ndarray | None = None,
    identity_init: bool = False,
    logit_scale: float = 1.0,
    dropout: float = 0.0,
    dropout_seed: int = 0,
) -> keras.Model:
    """Three convolutions with local response normalization, without BatchNorm.

    89,578 trainable parameters at 32×32×3, 10 classes:

        conv5×5/32–max–act–LRN–conv5×5/32–act–average–LRN–conv5×5/64–act–average–dense

    Poolings are 3×3 of stride 2 and halve the size (32, 16, 8, 4). LRN is `LocalResponse` with
    n = 3, α = 5e-5, β = 0.75. Weights are normal with standard deviation 1e-4 in the first layer,
    which makes up for the range of raw pixels, and 0.01 in the others; biases begin at 0.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        activation: name of a Keras activation.
        l2: penalty l2·Σw² on kernels and biases of convolutions, 250 times that on the dense
            layer's kernel and none on its bias, as Caffe's decay_mult has it. Caffe's weight_decay
            0.004 is l2 = 0.002: its gradient is weight_decay·w.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        input_scale: factor on what is left; 255 is Caffe's raw range.
        whitening: kernel of a convolution before the first (see `whitening_kernel`), with an
            activation; only its bias trains. None: none.
        identity_init: whether filter i of a 5×5 convolution begins as the identity of channel i, as
            far as there are input channels.
        logit_scale: factor on the logits.
        dropout: rate before the dense layer.
        dropout_seed: of its masks.

    Returns:
        `keras.Model` from images [n, height, width, channels] to float32 logits [n, classes].

    Raises:
        ValueError: if the image is smaller than 8×8.

    Source: Caffe, examples/cifar10/cifar10_full_train_test.prototxt; Smith, "Cyclical Learning
    Rates for Training Neural Networks", table 3 (seed 004).
    """
    if min(input_shape[:2]) < LEAST_SIZE:
        raise ValueError(
            f"caffe_cifar10 needs images of at least {LEAST_SIZE}×{LEAST_SIZE}. "
            f"Received: input_shape={input_shape}"
        )

    def conv(x, filters, deviation, name):
        return layers.Conv2D(
            filters,
            5,
            padding="same",
            kernel_initializer=parts.initializer(
                initializers.RandomNormal(stddev=deviation), identity_init
            ),
            kernel_regularizer=regularizers.L2(l2) if l2 else None,
            bias_regularizer=regularizers.L2(l2) if l2 else None,
            name=name,
        )(x)

    def activate(x, name):
        return layers.Activation(activation, name=name)(x)

    inputs, x = parts.images(input_shape, mean, input_scale, whitening, activation)
    x = _pool(conv(x, 32, 1e-4, "conv1"), layers.MaxPooling2D, "pool1")
    x = LocalResponse(3, 5e-5, 0.75, name="norm1")(activate(x, "act1"))
    x = activate(conv(x, 32, 0.01, "conv2"), "act2")
    x = LocalResponse(3, 5e-5, 0.75, name="norm2")(_pool(x, layers.AveragePooling2D, "pool2"))
    x = activate(conv(x, 64, 0.01, "conv3"), "act3")
    x = layers.Flatten(name="flatten")(_pool(x, layers.AveragePooling2D, "pool3"))
    outputs = parts.logits(
        x,
        classes,
        dropout,
        dropout_seed,
        logit_scale,
        kernel_initializer=initializers.RandomNormal(stddev=0.01),
        kernel_regularizer=regularizers.L2(250 * l2) if l2 else None,
    )
    return keras.Model(inputs, outputs, name="caffe_cifar10")


def _pool(x, kind, name: str):
    """Caffe's 3×3 pooling of stride 2 without padding: windows begin at 0, 2, 4, …

    At even sizes the last window sticks out by one pixel, which does not count: that is "same". At
    odd sizes none does, and "same" would begin at −1.
    """
    height, width = ("valid" if size % 2 else "same" for size in x.shape[1:3])
    if height == width:
        return kind(3, 2, height, name=name)(x)
    x = kind((3, 1), (2, 1), height, name=f"{name}_rows")(x)
    return kind((1, 3), (1, 2), width, name=name)(x)
