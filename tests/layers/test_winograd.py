"""WinogradConv2D: its arithmetic against NumPy, its errors against the exact convolution."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from native_operations import NO_BFLOAT16, WHY, digests_by_threads, needs_bfloat16, needs_operations

from tfsc.layers.portable import portable
from tfsc.layers.winograd import WinogradConv2D
from tfsc.native import library

OPERATIONS = None if WHY else library.load()
BEST = tf.float32 if NO_BFLOAT16 else tf.bfloat16  # that products can be had of

SIZES = st.tuples(*(st.integers(1, high) for high in (3, 11, 11, 70, 70)))
POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)  # and ∞


@functools.cache
def _matrices():
    """Aᵀ, G, Bᵀ of F(4, 3) from the points, by Cook's and Toom's formula, in float64."""
    others = [[q for q in POINTS if q != p] for p in POINTS]
    scales = [np.prod([p - q for q in rest]) for p, rest in zip(POINTS, others, strict=True)]
    a = np.array([[p**i for p in POINTS] + [float(i == 3)] for i in range(4)])
    g = np.array(
        [[p**j / f for j in range(3)] for p, f in zip(POINTS, scales, strict=True)] + [[0, 0, 1]]
    )
    rows = [np.append(np.poly(rest)[::-1], 0) for rest in others]
    b = np.array([*rows, np.poly(POINTS)[::-1]])
    return a, g, b


def _tiles(maps, size, before):
    """[n, rows, columns, size, size, channels]: windows 4 apart, 0 outside."""
    _, height, width, _ = maps.shape
    rows, columns = -(-height // 4), -(-width // 4)
    after = [4 * count + size - 4 - before - side
             for count, side in ((rows, height), (columns, width))]  # fmt: skip
    padded = np.pad(maps, [(0, 0), (before, after[0]), (before, after[1]), (0, 0)])
    return np.stack([
        np.stack([padded[:, 4 * i : 4 * i + size, 4 * j : 4 * j + size] for j in range(columns)], 1)
        for i in range(rows)
    ], 1)  # fmt: skip


def _rounded(values, dtype):
    return tf.cast(tf.cast(values, dtype), tf.float64).numpy()


def _points(matrix, tiles, dtype):
    return _rounded(np.einsum("ah,bw,...hwc->...abc", matrix, matrix, tiles), dtype)


def _reference(maps, kernel, dtype=tf.bfloat16):
    """The convolution by F(4×4, 3×3) in float64, rounded where winograd.cc rounds."""
    a, g, b = _matrices()
    filters = _rounded(np.einsum("ah,bw,hwio->abio", g, g, kernel), dtype)
    sums = np.einsum("nrcabi,abio->nrcabo", _points(b, _tiles(maps, 6, 1), dtype), filters)
    outputs = np.einsum("ya,xb,nrcabo->nrycxo", a, a, sums)
    n, rows, _, columns, _, out = outputs.shape
    return outputs.reshape(n, 4 * rows, 4 * columns, out)[:, : maps.shape[1], : maps.shape[2]]


def _reference_kernel_gradient(maps, upstream, dtype=tf.bfloat16):
    a, g, b = _matrices()
    inputs = _points(b, _tiles(maps, 6, 1), dtype)
    gradients = _points(a.T, _tiles(upstream, 4, 0), dtype)
    sums = np.einsum("nrcabi,nrcabo->abio", inputs, gradients)
    return np.einsum("ah,bw,abio->hwio", g, g, sums)


def _example(sizes, seed=0):
    """Maps and upstream gradients that bfloat16 holds, a kernel that it does not."""
    n, height, width, into, out = sizes
    rng = np.random.default_rng(seed)
    maps = _rounded(np.maximum(rng.normal(size=(n, height, width, into)), -0.5), tf.bfloat16)
    kernel = (rng.normal(size=(3, 3, into, out)) / np.sqrt(9 * into)).astype(np.float32)
    return maps, kernel, _rounded(rng.normal(size=(n, height, width, out)), tf.bfloat16)


def _error(found, expected):
    """‖found − expected‖/‖expected‖."""
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)


def _conv(maps, kernel, bias=None, dtype=BEST):
    bias = np.zeros(kernel.shape[-1], np.float32) if bias is None else bias
    outputs = OPERATIONS.tfsc_winograd_conv(x=tf.cast(maps, dtype), filters=kernel, bias=bias)
    return tf.cast(outputs, tf.float64)


def _kernel_gradient(maps, upstream, dtype=BEST):
    return OPERATIONS.tfsc_winograd_conv_filter_gradient(
        x=tf.cast(maps, dtype), dy=tf.cast(upstream, dtype)
    )


def test_the_matrices_are_those_of_the_source():
    """Bᵀ's, G's and Aᵀ's products give a convolution of one row, and 6 points are all there are."""
    a, g, b = _matrices()
    signal, filters = np.array([3.0, -1, 4, 1, -5, 9]), np.array([2.0, 7, -1])
    expected = [signal[i : i + 3] @ filters for i in range(4)]
    np.testing.assert_allclose(a @ ((g @ filters) * (b @ signal)), expected, atol=1e-12)


@needs_operations
@pytest.mark.parametrize(
    ("dtype", "error"), [pytest.param(tf.bfloat16, 0.004, marks=needs_bfloat16), (tf.float32, 2e-6)]
)
@given(SIZES, st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_outputs_are_numpys_but_for_their_own_rounding(dtype, error, sizes, seed):
    """bfloat16's own is 0.0017; a point between two numbers may be rounded the other way."""
    maps, kernel, _ = _example(sizes, seed)
    bias = np.linspace(-2, 2, sizes[-1], dtype=np.float32)
    expected = _reference(maps, kernel, dtype) + bias
    found = _conv(maps, kernel, bias, dtype)
    scale = np.abs(expected).max() + 1e-6
    np.testing.assert_allclose(found, expected, rtol=3 * error, atol=5 * error * scale)
    assert _error(found, expected) < error


@needs_operations
@pytest.mark.parametrize(
    ("dtype", "error"), [pytest.param(tf.bfloat16, 0.002, marks=needs_bfloat16), (tf.float32, 5e-6)]
)
@given(SIZES, st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_kernel_gradients_are_numpys(dtype, error, sizes, seed):
    maps, _, upstream = _example(sizes, seed)
    expected = _reference_kernel_gradient(maps, upstream, dtype)
    assert _error(_kernel_gradient(maps, upstream, dtype), expected) < error


@needs_operations
@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [
        pytest.param(tf.bfloat16, 0.005, 0.015, marks=needs_bfloat16),
        (tf.float32, 1e-7, 3e-6),
    ],
)
@pytest.mark.parametrize("sizes", [(4, 31, 31, 24, 64), (40, 7, 7, 256, 256), (2, 15, 15, 64, 256)])
def test_errors_against_the_exact_convolution_are_small(sizes, dtype, least, most):
    """airbench's shapes, in the kernel's gradient several chunks of tiles and parts of them."""
    maps, kernel, upstream = _example(sizes)
    with tf.GradientTape() as tape:
        variable = tf.Variable(kernel, dtype=tf.float64)
        exact = tf.nn.conv2d(maps, variable, 1, "SAME")
    gradient = tape.gradient(exact, variable, upstream)
    assert least < _error(_conv(maps, kernel, dtype=dtype), exact) < most
    assert least < _error(_kernel_gradient(maps, upstream, dtype), gradient) < most


@needs_operations
def test_no_images_give_no_outputs_and_a_gradient_of_zero():
    kernel = np.ones((3, 3, 2, 5), np.float32)
    assert _conv(np.zeros((0, 4, 4, 2)), kernel).shape == (0, 4, 4, 5)
    gradient = _kernel_gradient(np.zeros((0, 4, 4, 2)), np.zeros((0, 4, 4, 5)))
    np.testing.assert_array_equal(gradient, np.zeros((3, 3, 2, 5)))


@needs_operations
def test_a_nan_reaches_its_tile_and_no_other():
    maps, kernel, _ = _example((1, 12, 12, 3, 5))
    maps[0, 5, 5, 1] = np.nan
    bad = np.isnan(_conv(maps, kernel)).any(axis=(0, 3))
    assert bad[4:7, 4:7].all() and not bad[:, 8:].any() and not bad[:4, :].all()


@needs_operations
def test_what_an_earlier_call_left_in_memory_reaches_nothing():
    """Tiles at lower and right edges have points that nobody computes."""
    maps, kernel, upstream = _example((2, 7, 6, 20, 20))
    outputs, gradient = _conv(maps, kernel), _kernel_gradient(maps, upstream)
    bad = np.full((2, 8, 8, 20), np.nan)
    assert np.isnan(_conv(bad, kernel)).all() and np.isnan(_kernel_gradient(bad, bad)).all()
    np.testing.assert_array_equal(_conv(maps, kernel), outputs)
    np.testing.assert_array_equal(_kernel_gradient(maps, upstream), gradient)


@needs_operations
@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: _conv(np.zeros((1, 4, 4, 2)), np.zeros((5, 5, 2, 3), np.float32)), "filters"),
        (lambda: _conv(np.zeros((1, 4, 4, 2)), np.zeros((3, 3, 1, 3), np.float32)), "filters"),
        (
            lambda: _conv(np.zeros((1, 4, 4, 2)), np.zeros((3, 3, 2, 3), np.float32), np.zeros(2)),
            "bias",
        ),
        (lambda: _kernel_gradient(np.zeros((1, 4, 4, 2)), np.zeros((1, 4, 5, 3))), "dy"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, rule):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"must be x .*{rule}.* Received"):
        call()


@needs_operations
@pytest.mark.slow  # two processes; in short: test_train.py, whose runs have a thread for each core
def test_the_number_of_threads_does_not_change_a_bit():
    program = (
        "import hashlib, tensorflow as tf\n"
        "from tfsc.native import library\n"
        "maps = tf.cast(tf.random.stateless_normal([9, 13, 13, 40], [1, 2]), tf.bfloat16)\n"
        "kernel = tf.random.stateless_normal([3, 3, 40, 72], [3, 4])\n"
        "y = library.load().tfsc_winograd_conv(x=maps, filters=kernel, bias=tf.zeros(72))\n"
        "dw = library.load().tfsc_winograd_conv_filter_gradient(x=maps, dy=y)\n"
        "print(hashlib.sha256(y.numpy().tobytes() + dw.numpy().tobytes()).hexdigest())\n"
    )
    assert len(digests_by_threads(program)) == 1


def _layer(dtype="mixed_bfloat16", **arguments):
    layer = WinogradConv2D(6, dtype=dtype, **arguments)
    layer.build((None, 9, 9, 5))
    return layer


def _types(layer, dtype=tf.bfloat16):
    """Types of the operations of its graph."""
    signature = tf.TensorSpec([2, 9, 9, 5], dtype)
    graph = tf.function(lambda maps: layer(maps)).get_concrete_function(signature).graph
    return {operation.type for operation in graph.get_operations()}


@needs_operations
@pytest.mark.parametrize(
    ("policy", "dtype", "error"),
    [
        pytest.param("mixed_bfloat16", tf.bfloat16, 0.006, marks=needs_bfloat16),
        ("float32", tf.float32, 3e-6),
    ],
)
def test_the_layer_computes_the_operation_bias_and_activation(policy, dtype, error):
    """The kernel is not rounded before the transform."""
    maps, kernel, _ = _example((2, 9, 9, 5, 6))
    layer = _layer(policy, activation="relu")
    bias = np.linspace(-1, 1, 6, dtype=np.float32)
    layer.set_weights([kernel, bias])
    outputs = layer(tf.cast(maps, dtype))
    assert outputs.dtype == dtype
    expected = np.maximum(_reference(maps, kernel, dtype) + bias, 0)
    assert _error(tf.cast(outputs, tf.float64), expected) < error


@needs_operations
@pytest.mark.parametrize(
    ("policy", "dtype", "error"),
    [
        pytest.param("mixed_bfloat16", tf.bfloat16, 0.015, marks=needs_bfloat16),
        ("float32", tf.float32, 3e-6),
    ],
)
@pytest.mark.parametrize("use_bias", [False, True])
def test_the_layers_gradients_are_near_the_exact_ones(policy, dtype, error, use_bias):
    maps, kernel, upstream = _example((8, 9, 9, 5, 6))
    bias = [np.linspace(-1, 1, 6, dtype=np.float32)][:use_bias]
    layer = _layer(policy, use_bias=use_bias)
    layer.set_weights([kernel, *bias])
    x = tf.constant(maps, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
    sources = [x, *(weight.value for weight in layer.trainable_weights)]
    found = tape.gradient(outputs, sources, tf.cast(upstream, dtype))
    x, variables = tf.constant(maps), [tf.Variable(w, dtype=tf.float64) for w in [kernel, *bias]]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = tf.nn.conv2d(x, variables[0], 1, "SAME")
        outputs = outputs + variables[1] if use_bias else outputs
    exact = tape.gradient(outputs, [x, *variables], tf.constant(upstream))
    assert [gradient.dtype for gradient in found] == [dtype, *[tf.float32] * (1 + use_bias)]
    for mine, its in zip(found, exact, strict=True):
        assert _error(tf.cast(mine, tf.float64), its) < error


@needs_operations
def test_for_other_machines_it_is_the_ordinary_convolution():
    policies = {"float32": tf.float32} if NO_BFLOAT16 else {"mixed_bfloat16": tf.bfloat16}
    for policy, dtype in ({"float32": tf.float32} | policies).items():
        assert "TfscWinogradConv" in _types(_layer(policy), dtype)
        with portable():
            types = _types(_layer(policy), dtype)
        assert "Conv2D" in types and "TfscWinogradConv" not in types


def test_without_the_operations_it_is_keras_own_layer(monkeypatch):
    monkeypatch.setattr(library, "is_available", lambda *_: False)
    maps, kernel, _ = _example((2, 9, 9, 5, 6))
    layers = WinogradConv2D(6), keras.layers.Conv2D(6, 3, padding="same")
    for layer in layers:
        layer.build((None, 9, 9, 5))
        layer.set_weights([kernel, np.arange(6.0)])
    mine, its = (layer(tf.constant(maps, tf.float32)) for layer in layers)
    np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-6)


def test_it_survives_its_config():
    layer = _layer(use_bias=False, name="conv")
    copy = WinogradConv2D.from_config(layer.get_config())
    assert (copy.filters, copy.use_bias, copy.name) == (6, False, "conv")


@pytest.mark.parametrize(
    "arguments",
    [{"kernel_size": 5}, {"strides": 2}, {"padding": "valid"}, {"dilation_rate": 2}, {"groups": 2}],
)
def test_what_it_cannot_do_is_refused(arguments):
    with pytest.raises(ValueError, match="WinogradConv2D needs a 3×3 kernel"):
        WinogradConv2D(6, **arguments)
