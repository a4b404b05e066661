"""ResNet-RS for CIFAR-10, as seed 003 has it: `resnet_rs`."""

from collections.abc import Sequence

import keras
from keras import initializers, layers

from tfsc.layers.batch_statistics import BatchStatistics
from tfsc.layers.depth import StochasticDepth
from tfsc.models.parts import Parts

_EXPANSION = 4


def resnet_rs(
    maps: keras.KerasTensor,
    parts: Parts,
    units: Sequence[int] = (3, 4, 6, 3),
    stem_width: int = 128,
    stem_stride: int = 2,
    se_ratio: float = 0.25,
    se_reduction: int | None = None,
    depth_rate: float = 0.0,
    version: str = "fixed",
) -> keras.KerasTensor:
    """Features of a residual network of bottlenecks with squeeze-and-excitation.

    The defaults are seed 003's ResNet-RS 50: 34,630,218 trainable parameters with a dense layer,
    at 32×32×3 and 10 classes; 33,878,666 with a stem width of 64, and 33,663,402 with 32. Stem, of
    width w, each convolution with BN–act behind it:

        conv3×3/w of the stem's stride – conv3×3/w – conv3×3/2w – conv3×3/2w of stride 2

    Then stacks of bottlenecks, f = 64·2ˢ, the stride on the 3×3 (2 in the first unit of every stack
    but the first):

        y = act(short(x) + depth(SE(BN(conv1×1/4f(act(BN(conv3×3/f(act(BN(conv1×1/f(x)))))))))))
        SE(z) = z·σ(conv1×1/4f(act(conv1×1/r(mean(z)))))

    Where the size or the width changes, short(x) is BN(conv1×1/4f(average 2×2 of x)), as in
    ResNet-D; windows that stick out average what is inside. At the end the average over the last
    maps. Convolutions have no bias, but for SE's, which begin at 0; weights are normal of variance
    2/fan_out. The last BatchNorm of each branch begins with γ = 0, so that units begin as their
    shortcuts.

    Args:
        maps: images [n, height, width, channels].
        parts: builds the layers; its dropout seed is stochastic depth's, too.
        units: bottlenecks in each stack; (3, 4, 6, 3) is ResNet-RS 50, (3, 4, 23, 3) 101.
        stem_width: w.
        stem_stride: of the stem's first convolution: 1 is the report's experiment 5.1 (b).
        se_ratio: r/4f; 0: no SE.
        se_reduction: 4f/r instead, such as the report's 16; None: by `se_ratio`.
        depth_rate: of stochastic depth: stack s has depth_rate·(s + 2)/(stacks + 1), that is
            rate·(s + 2)/5 in the paper's four.
        version: "fixed", or "faithful" to the code behind seed 003's figures: γ = 0 lies in the
            second BatchNorm of three, whose ReLU then passes nothing on in either direction, so
            that of a branch β of the last BatchNorm and, behind it, SE alone ever learn; and
            BatchNorm takes the batch's statistics in evaluation, too (see `BatchStatistics`).

    Source: Purushotama, "ResnetRS: Experimenting with training, scaling strategies and
    architectural changes" (seed 003) and its code; Bello et al., "Revisiting ResNets: Improved
    Training and Scaling Strategies".
    """
    is_faithful = version == "faithful"
    gamma_2, gamma_3 = ("zeros", "ones") if is_faithful else ("ones", "zeros")

    def conv(x, filters, kernel, name, stride=1, **arguments):
        return parts.conv(
            x,
            filters,
            kernel,
            name,
            stride,
            initializer=initializers.VarianceScaling(2, "fan_out", "untruncated_normal"),
            pad_all_sides=kernel > 1,
            **{"use_bias": False, **arguments},
        )

    def norm(x, name, **arguments):
        if not is_faithful:
            return parts.norm(x, name, **arguments)
        numbers = {"momentum": parts.bn_momentum, "epsilon": parts.bn_epsilon}
        return BatchStatistics(name=name, **numbers, **arguments)(x)

    def norm_act(x, name, **arguments):
        if not is_faithful:
            return parts.norm_act(x, f"{name}_bn", f"{name}_act", **arguments)
        return parts.act(norm(x, f"{name}_bn", **arguments), f"{name}_act")

    def excited(x, name):
        channels = x.shape[-1]
        reduced = channels // se_reduction if se_reduction else int(channels * se_ratio)
        reduced = max(reduced, 1)
        y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
        y = parts.act(conv(y, reduced, 1, f"{name}_conv1", use_bias=True), f"{name}_act")
        y = conv(y, channels, 1, f"{name}_conv2", use_bias=True, activation="sigmoid")
        return layers.Multiply(name=name)([x, y])

    def shortened(x, filters, stride, name):
        if stride == 1 and x.shape[-1] == filters:
            return x
        if stride > 1:
            x = layers.AveragePooling2D(2, stride, "same", name=f"{name}_pool")(x)
        return norm(conv(x, filters, 1, f"{name}_conv"), f"{name}_bn")

    def unit(x, inner, stride, rate, number, name):
        filters = _EXPANSION * inner
        y = norm_act(conv(x, inner, 1, f"{name}_conv1"), f"{name}_1")
        y = conv(y, inner, 3, f"{name}_conv2", stride)
        y = norm_act(y, f"{name}_2", gamma_initializer=gamma_2)
        y = conv(y, filters, 1, f"{name}_conv3")
        y = norm(y, f"{name}_3_bn", gamma_initializer=gamma_3)
        if se_ratio or se_reduction:
            y = excited(y, f"{name}_se")
        if rate:
            y = StochasticDepth(rate, number, parts.dropout_seed, name=f"{name}_depth")(y)
        y = layers.Add(name=f"{name}_add")([shortened(x, filters, stride, f"{name}_shortcut"), y])
        return parts.act(y, f"{name}_act")

    x = maps
    stem = ((1, stem_stride), (1, 1), (2, 1), (2, 2))
    for index, (factor, stride) in enumerate(stem, 1):
        x = conv(x, factor * stem_width, 3, f"stem_conv{index}", stride)
        x = norm_act(x, f"stem_{index}")
    for stack, count in enumerate(units):
        rate = depth_rate * (stack + 2) / (len(units) + 1)
        for index in range(count):
            stride, number = 2 if stack and not index else 1, sum(units[:stack]) + index
            x = unit(x, 64 * 2**stack, stride, rate, number, f"stack{stack}_unit{index}")
    return layers.GlobalAveragePooling2D(name="pool")(x)
