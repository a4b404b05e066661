"""`Parts`: builds what networks share, in the way that a run wants them."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import initializers, layers, regularizers

from tfsc.layers.activation import FusedActivation
from tfsc.layers.dropout import SampleDropout
from tfsc.layers.fused_add import FusedAdd
from tfsc.layers.fused_pointwise import FusedPointwiseConv2D
from tfsc.layers.identity_filters import IdentityFilters
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.norm_relu import NormReLU
from tfsc.layers.pointwise import PointwiseConv2D
from tfsc.layers.whitening import WhiteningConv2D
from tfsc.layers.winograd import LEAST_CHANNELS, WinogradConv2D


@dataclass(frozen=True)
class Parts:
    """Builds layers for one network, which is a function of maps and this.

    Args:
        activation: name of a Keras activation.
        dropout: rate before the dense layer.
        bn_momentum: of BatchNorm's moving statistics.
        bn_epsilon: added to BatchNorm's variance.
        identity_init: whether filter i of a convolution of more than 1×1 begins as the identity of
            channel i, as far as there are input channels.
        logit_scale: factor on the logits.
        l2: penalty l2·Σw² on convolution kernels.
        dropout_seed: of what layers draw: dropout's masks, stochastic depth, Shake-Shake.
        whitening: kernel of a first convolution (see `whitening_kernel`), of which only the bias
            trains; None: none.
        native: whether BatchNormalization with ReLU behind it is a `NormReLU`, a 1×1 convolution a
            `FusedPointwiseConv2D` and a sum behind it a `FusedAdd`, in C++.
        winograd: whether 3×3 convolutions of stride 1 and at least 16 input channels are
            `WinogradConv2D`, in C++.
    """

    activation: str = "relu"
    dropout: float = 0.0
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    identity_init: bool = False
    logit_scale: float = 1.0
    l2: float = 0.0
    dropout_seed: int = 0
    whitening: np.ndarray | None = None
    native: bool = False
    winograd: bool = False

    def penalty(self, factor: float = 1.0) -> regularizers.Regularizer | None:
        """The penalty on a kernel, times `factor`; None without one."""
        return regularizers.L2(factor * self.l2) if self.l2 else None

    def conv(
        self,
        maps: keras.KerasTensor,
        filters: int,
        kernel: int,
        name: str,
        stride: int = 1,
        *,
        initializer: initializers.Initializer | str,
        pad_all_sides: bool = False,
        pointwise: bool = False,
        passes: bool = False,
        **arguments: Any,
    ) -> keras.KerasTensor:
        """A convolution whose outputs are ⌈size/stride⌉ on a side.

        Args:
            maps: [n, height, width, channels].
            filters: number of output channels.
            kernel: its size, odd.
            name: of the layer; a padding's is `<name>_pad`.
            stride: 1 or 2.
            initializer: of the kernel, or of what the identity leaves; a new one for each layer,
                as a shared object gives equal shapes equal weights.
            pad_all_sides: with stride 2, pad a pixel on all sides, as Caffe and Torch do. At even
                sizes Keras' "same" pads below and on the right only: the windows lie one pixel
                further on.
            pointwise: whether one of 1×1 and stride 1 is a `PointwiseConv2D`.
            passes: whether `add` also adds the maps that this one begins with; no more than a
                hint, which makes their gradient cheaper.
            arguments: of `keras.layers.Conv2D`.
        """
        if self.identity_init and kernel > 1:
            initializer = IdentityFilters(initializer)
        arguments = {
            "kernel_initializer": initializer,
            "kernel_regularizer": self.penalty(),
            **arguments,
        }
        if stride > 1 and pad_all_sides:
            maps = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(maps)
            return layers.Conv2D(filters, kernel, stride, "valid", name=name, **arguments)(maps)
        if self.winograd and (kernel, stride) == (3, 1) and maps.shape[-1] >= LEAST_CHANNELS:
            return WinogradConv2D(filters, name=name, **arguments)(maps)
        if self.native and kernel == stride == 1:
            return FusedPointwiseConv2D(filters, name=name, passes=passes, **arguments)(maps)
        kind = PointwiseConv2D if pointwise and kernel == stride == 1 else layers.Conv2D
        return kind(filters, kernel, strides=stride, padding="same", name=name, **arguments)(maps)

    def add(
        self, residual: keras.KerasTensor, branch: keras.KerasTensor, name: str
    ) -> keras.KerasTensor:
        """The sum of both."""
        kind = FusedAdd if self.native else layers.Add
        return kind(name=name)([residual, branch])

    def norm(self, maps: keras.KerasTensor, name: str, **arguments: Any) -> keras.KerasTensor:
        """BatchNormalization, with these arguments of Keras'."""
        return FusedBatchNormalization(name=name, **self._numbers(arguments))(maps)

    def act(self, maps: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The activation."""
        return layers.Activation(self.activation, name=name)(maps)

    def fused_act(self, maps: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The activation, its gradient of one operation; GELU's keeps its input alone."""
        return FusedActivation(self.activation, name=name)(maps)

    def norm_act(
        self,
        maps: keras.KerasTensor,
        norm: str,
        act: str,
        fused_act: bool = False,
        **arguments: Any,
    ) -> keras.KerasTensor:
        """BatchNormalization and the activation, in one layer of the first name where they can be.

        Args:
            maps: [n, height, width, channels].
            norm, act: names of the layers.
            fused_act: whether the activation is `fused_act`.
            arguments: of `keras.layers.BatchNormalization`.
        """
        if self.native and self.activation == "relu":
            return NormReLU(name=norm, **self._numbers(arguments))(maps)
        maps = self.norm(maps, norm, **arguments)
        return self.fused_act(maps, act) if fused_act else self.act(maps, act)

    def _numbers(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"momentum": self.bn_momentum, "epsilon": self.bn_epsilon, **arguments}

    def whitened(self, maps: keras.KerasTensor, padding: str) -> keras.KerasTensor:
        """The convolution `whitening`, with its kernel; not without one.

        In float32: filters of faint directions amplify their input up to 45 times, and with it
        what bfloat16 would round off.
        """
        if self.whitening is None:
            raise ValueError("there is no whitening to build a convolution of")
        size, _, _, filters = self.whitening.shape
        layer = WhiteningConv2D(filters, size, padding, dtype="float32", name="whitening")
        outputs = layer(maps)
        layer.set_kernel(self.whitening)
        return outputs

    def logits(
        self, features: keras.KerasTensor, classes: int, **arguments: Any
    ) -> keras.KerasTensor:
        """Float32 logits of features [n, d]: dropout, dense layer, factor.

        Args:
            features: what the network has made of the images.
            classes: number of logits.
            arguments: of `keras.layers.Dense`.
        """
        if self.dropout:
            features = SampleDropout(self.dropout, self.dropout_seed, name="dropout")(features)
        x = layers.Dense(classes, name="logits", **arguments)(features)
        # The loss needs float32; only the multiplication itself is in the policy's precision.
        x = layers.Activation("linear", dtype="float32", name="float32_logits")(x)
        if self.logit_scale == 1:
            return x
        return layers.Rescaling(self.logit_scale, dtype="float32", name="logit_scale")(x)


def torch_uniform() -> initializers.Initializer:
    """PyTorch's default for kernels: uniform within ±1/√fan_in. A new one for each layer."""
    return initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def scaled_images(
    input_shape: tuple[int, int, int],
    mean: float | np.ndarray = 0.0,
    scale: float | np.ndarray = 1.0,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """A network's input and its first maps: scale·(x/255 − mean), in float32.

    Args:
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        mean: of images scaled to 0–1; a number, [channels] or [height, width, channels].
        scale: range of the pixels; 255 leaves them as they are. A number or [channels].

    Returns:
        The `keras.Input`, and the output of the layer `scale`.
    """
    inputs = keras.Input(input_shape, dtype="float32", name="image")
    # In float32: bfloat16 would round pixels before the mean is gone.
    offset = -scale * np.asarray(mean, np.float32)
    scaled = layers.Rescaling(scale / 255, offset=offset, dtype="float32", name="scale")
    return inputs, scaled(inputs)
