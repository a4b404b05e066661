"""Layers in NumPy's float64, written down from their definitions: references for networks."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv(x, kernel, bias=0.0, stride=1, before=1, after=1):
    """A convolution of maps [n, h, w, c], padded by so many zeros on all four sides."""
    x = np.pad(x.astype(np.float64), ((0, 0), (before, after), (before, after), (0, 0)))
    windows = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + bias


def pool(x, size, stride, reduce=np.mean):
    """Pooling whose windows begin at 0, stride, …; of the last what is inside counts (Caffe)."""
    rows, columns = (
        [slice(i * stride, i * stride + size) for i in range(math.ceil((n - size) / stride) + 1)]
        for n in x.shape[1:3]
    )
    return np.stack(
        [np.stack([reduce(x[:, r, c], axis=(1, 2)) for c in columns], 1) for r in rows], 1
    )


def norm(x, layer, epsilon):
    """A BatchNormalization in evaluation."""
    *gamma, beta, mean, variance = (np.float64(w) for w in layer.get_weights())
    gamma = gamma[0] if gamma else 1.0  # a layer may have no scale
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x):
    return np.maximum(x, 0)


def randomized(network, seed=0):
    """Give a network weights and statistics at which every mistake shows; returns it."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if len(weight.shape) == 1:  # biases, scales, offsets, statistics: none 0, none equal
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            deviation = np.prod(weight.shape[:-1]) ** -0.5
            weight.assign(rng.normal(0, deviation, weight.shape))
    return network
