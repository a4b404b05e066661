"""`build`: a network of its text, from raw images to logits."""

import sys
from typing import Any

import keras
import numpy as np

from tfsc.layers.deep_graphs import deep_graphs
from tfsc.models.catalog import NETWORKS, size_fault
from tfsc.models.parts import Parts, scaled_images
from tfsc.text.family import Call


def build(
    network: str | Call,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    mean: float | np.ndarray = 0.0,
    scale: float | np.ndarray = 1.0,
    whitening: np.ndarray | None = None,
    l2: float = 0.0,
    dropout_seed: int = 0,
    native: bool = False,
    winograd: bool = False,
) -> keras.Model:
    """A functional model: scale·(x/255 − mean), the network's features, dropout, dense layer.

        build("resnet_v2([1,1,1], shortcut=3)", (32, 32, 3), 10)

    Args:
        network: text of one of `NETWORKS`, or what that has read.
        input_shape: (height, width, channels) of raw images, uint8 or float 0–255.
        classes: number of logits.
        mean: subtracted after scaling to 0–1; a number, [channels] or [height, width, channels].
        scale: factor on what is left; 255 leaves raw pixels less their mean. A number or
            [channels].
        whitening: kernel of a convolution before the network (see `whitening_kernel`), with an
            activation; only its bias trains. airbench has it as its stem. None: none.
        l2: penalty l2·Σw² on convolution kernels.
        dropout_seed: of what layers draw: dropout's masks, stochastic depth, Shake-Shake.
        native: whether BatchNormalization with ReLU behind it is a `NormReLU`, and a 1×1
            convolution one operation with what stands around it, in C++.
        winograd: whether 3×3 convolutions of stride 1 and at least 16 input channels are
            `WinogradConv2D`, in C++.

    Returns:
        `keras.Model` from images [n, height, width, channels] to float32 logits [n, classes].

    Raises:
        TextSyntaxError: if the text breaks a rule.
        ValueError: if the image's size does not suit the network.
    """
    call = NETWORKS.parse(network) if isinstance(network, str) else network
    if fault := size_fault(call, *input_shape[:2]):
        raise ValueError(f"{call} {fault}. Received: input_shape={input_shape}")
    shared = {name: value for name, value in call.arguments if name in Parts.__dataclass_fields__}
    own = {name: value for name, value in call.arguments if name not in shared}
    parts = Parts(
        **shared,
        l2=l2,
        dropout_seed=dropout_seed,
        whitening=whitening,
        native=native,
        winograd=winograd,
    )
    inputs, maps = scaled_images(input_shape, mean, scale)
    if whitening is not None and not call.kind.takes_whitening:
        maps = parts.fused_act(parts.whitened(maps, "same"), "whitening_act")
    function = NETWORKS.builder(call.family)
    features = function(maps, parts, **own)
    outputs = parts.logits(features, classes, **_head(function, parts))
    with deep_graphs():
        return keras.Model(inputs, outputs, name=call.family)


def _head(function: Any, parts: Parts) -> dict[str, Any]:
    """What a network's file says of the dense layer behind it."""
    head = getattr(sys.modules[function.__module__], "head", None)
    return head(parts) if head else {}
