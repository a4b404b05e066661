"""Every layer that a .keras file of tfsc may name: importing this registers them with Keras."""

from tfsc.layers import (  # noqa: F401
    activation,
    batch_statistics,
    depth,
    dropout,
    fused_add,
    fused_pointwise,
    identity_filters,
    local_response,
    norm,
    norm_relu,
    own_gradient,
    pointwise,
    scalar,
    shake,
    whitening,
    winograd,
    zero_channels,
)
