"""Keras layers that networks are built of."""

from tfsc.lazy import attributes

_NAMES = {
    "BatchStatistics": "batch_statistics",
    "FusedActivation": "activation",
    "FusedAdd": "fused_add",
    "FusedBatchNormalization": "norm",
    "FusedPointwiseConv2D": "fused_pointwise",
    "IdentityFilters": "identity_filters",
    "LocalResponse": "local_response",
    "NormReLU": "norm_relu",
    "OwnGradient": "own_gradient",
    "PointwiseConv2D": "pointwise",
    "SampleDropout": "dropout",
    "ScalarBias": "scalar",
    "ScalarScale": "scalar",
    "ShakeShake": "shake",
    "StochasticDepth": "depth",
    "WhiteningConv2D": "whitening",
    "whitening_kernel": "whitening",
    "WinogradConv2D": "winograd",
    "ZeroChannels": "zero_channels",
}
_MODULES = ("portable",)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = attributes(__name__, _NAMES, modules=_MODULES)
