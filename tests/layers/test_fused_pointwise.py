"""FusedPointwiseConv2D and what it is fused with: against NumPy in float64 and the plain layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from native_operations import digests_by_threads, needs_bfloat16, needs_operations

from tfsc import models
from tfsc.layers import fusion
from tfsc.layers.fused_add import FusedAdd
from tfsc.layers.fused_pointwise import FusedPointwiseConv2D
from tfsc.layers.norm_relu import NormReLU
from tfsc.layers.portable import portable
from tfsc.native import library

# Errors as a root of the mean square, in units of that of the exact numbers.
POLICIES = [
    pytest.param("float32", tf.float32, 2e-6, marks=needs_operations),
    pytest.param("mixed_bfloat16", tf.bfloat16, 1e-2, marks=needs_bfloat16),
]
CHANNELS = st.sampled_from([1, 3, 16, 24, 32, 48, 64, 70, 128])
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), CHANNELS)
EPSILON = 1e-3


class _Unit:
    """x + conv(normrelu(x)) or what of it is wanted."""

    def __init__(self, policy, channels, filters, normalize, passes):
        self.norm = NormReLU(dtype=policy, epsilon=EPSILON) if normalize else None
        self.conv = FusedPointwiseConv2D(filters, dtype=policy, passes=passes)
        self.add = FusedAdd(dtype=policy)
        rng = np.random.default_rng(1)
        shape = (None, None, None, channels)
        self.conv.build(shape)
        self.conv.set_weights(
            [rng.normal(0, channels**-0.5, (1, 1, channels, filters)), rng.normal(0, 1, filters)]
        )
        if normalize:
            self.norm.build(shape)
            self.norm.gamma.assign(rng.normal(1, 0.3, channels))
            self.norm.beta.assign(rng.normal(0, 0.3, channels))

    def variables(self):
        norm = [self.norm.gamma, self.norm.beta] if self.norm else []
        return [*norm, self.conv.kernel, self.conv.bias]

    def __call__(self, maps, residual=None):
        x = self.norm(maps, training=True) if self.norm else maps
        y = self.conv(x, training=True)
        return y if residual is None else self.add([residual, y])


def _exact(maps, upstream, unit, residual):
    """Outputs, and gradients of maps, variables and residual, in float64."""

    def double(value):
        return tf.cast(value, tf.float64)

    maps, upstream = double(maps), double(upstream)
    variables = [double(v.value) for v in unit.variables()]
    residual = None if residual is None else double(residual)
    watched = [maps, *variables, *([] if residual is None else [residual])]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        x = maps
        if unit.norm:
            gamma, beta, *_ = variables
            mean, variance = tf.nn.moments(maps, [0, 1, 2])
            z = gamma * (maps - mean) / tf.sqrt(variance + EPSILON) + beta
            x = tf.nn.relu(z)
            unit.kink = tf.reduce_any(tf.abs(z) < 1e-4)
        kernel, bias = variables[-2:]
        y = tf.einsum("nhwi,io->nhwo", x, kernel[0, 0]) + bias
        y = y if residual is None else y + residual
    return [y, *tape.gradient(y, watched, upstream)]


def _found(maps, upstream, unit, residual):
    variables = [v.value for v in unit.variables()]
    watched = [maps, *variables, *([] if residual is None else [residual])]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        if residual is not None:
            tape.watch(residual)
        y = unit(maps, residual)
    return [y, *tape.gradient(y, watched, upstream)], y


def _maps(sizes, dtype, seed=0, mean=1.0):
    rng = np.random.default_rng(seed)
    return tf.cast(rng.normal(mean, 2, sizes), dtype)


def _assert_near(found, expected, error, scale):
    for mine, its in zip(found, expected, strict=True):
        mine, its = tf.cast(mine, tf.float64).numpy(), its.numpy()
        room = error * (np.linalg.norm(its) + scale * np.sqrt(its.size))
        assert np.linalg.norm(mine - its) <= room


@pytest.mark.parametrize(("policy", "dtype", "error"), POLICIES)
@pytest.mark.parametrize("residual", [False, True])
@given(SIZES, CHANNELS)
@settings(max_examples=15, deadline=None)
def test_without_a_norm_it_is_a_product(policy, dtype, error, residual, sizes, filters):
    unit = _Unit(policy, sizes[-1], filters, normalize=False, passes=False)
    maps, upstream = _maps(sizes, dtype), _maps((*sizes[:3], filters), dtype, 1)
    added = _maps((*sizes[:3], filters), dtype, 2) if residual else None
    found, y = _found(maps, upstream, unit, added)
    assert y.dtype == dtype
    # Sums over all pixels may cancel: an upstream gradient of 2 and as many pixels are their scale.
    scale = 4 * np.sqrt(np.prod(sizes[:3]))
    _assert_near(found, _exact(maps, upstream, unit, added), error, scale)
    # And its statistics those of its outputs.
    moments = fusion.noted(y, fusion.Moments)
    mean, variance = tf.nn.moments(tf.cast(y, tf.float64), [0, 1, 2])
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("policy", "dtype", "error"), POLICIES)
@pytest.mark.parametrize("sizes", [(2, 7, 5, 24), (3, 16, 16, 64), (2, 9, 8, 130)])
def test_behind_a_norm_and_before_a_sum_it_is_the_formula(policy, dtype, error, sizes):
    filters = 48
    unit = _Unit(policy, sizes[-1], filters, normalize=True, passes=False)
    maps, upstream = _maps(sizes, dtype), _maps((*sizes[:3], filters), dtype, 1)
    added = _maps((*sizes[:3], filters), dtype, 2)
    found, _ = _found(maps, upstream, unit, added)
    scale = 4 * np.sqrt(np.prod(sizes[:3])) * (100 if unit.norm and dtype == tf.float32 else 1)
    _assert_near(found, _exact(maps, upstream, unit, added), error, scale)


@needs_operations
@pytest.mark.parametrize("passes", [False, True])
def test_the_gradient_of_what_it_passes_joins_its_own(passes):
    unit = _Unit("float32", 32, 32, normalize=True, passes=passes)
    maps, upstream = _maps((2, 6, 6, 32), tf.float32), _maps((2, 6, 6, 32), tf.float32, 1)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = unit(maps, maps)
    found = tape.gradient(outputs, maps, upstream)
    expected = _exact(maps, upstream, unit, maps)
    want = expected[1] + expected[-1]
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=2e-3)
    assert fusion.noted(maps, fusion.Passed) is None  # it was taken


@needs_operations
def test_what_a_graph_has_noted_on_maps_from_outside_is_not_taken_outside():
    unit = _Unit("float32", 16, 16, normalize=True, passes=True)
    maps = _maps((1, 3, 3, 16), tf.float32)

    @tf.function
    def without_a_sum():
        return unit(maps)

    without_a_sum()
    assert fusion.taken(maps) is maps
    np.testing.assert_allclose(unit(maps, maps), unit(maps) + maps, atol=1e-5)
    inside = tf.function(lambda: unit(maps, maps))
    np.testing.assert_allclose(inside(), unit(maps) + maps, atol=1e-5)


@needs_operations
def test_of_a_unit_nothing_is_left_but_two_operations():
    """What each layer computes alone is not in the graph that runs."""
    unit = _Unit("float32", 16, 16, normalize=True, passes=False)

    @tf.function
    def outputs(maps):
        return unit(maps, maps)

    graph = outputs.get_concrete_function(tf.TensorSpec((2, 4, 4, 16))).graph
    needed, reached = [*graph.outputs, *graph.control_outputs], set()
    needed = [getattr(one, "op", one) for one in needed]
    while needed:
        if (operation := needed.pop()) not in reached:
            reached.add(operation)
            needed += [tensor.op for tensor in operation.inputs] + operation.control_inputs

    def ours(operations):
        return sorted(one.type for one in operations if one.type.startswith("Tfsc"))

    assert ours(reached) == ["TfscMoments", "TfscPointwise"]
    assert "TfscNormRelu" in ours(graph.get_operations())


@needs_operations
def test_a_frozen_norm_is_a_constant_line():
    unit = _Unit("float32", 16, 8, normalize=True, passes=False)
    unit.norm.trainable = False
    unit.norm.moving_mean.assign(np.full(16, 0.5))
    unit.norm.moving_variance.assign(np.full(16, 4.0))
    maps, upstream = _maps((2, 3, 3, 16), tf.float32), _maps((2, 3, 3, 8), tf.float32, 1)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        found = unit(maps)
    gradient = tape.gradient(found, maps, upstream)
    scale = unit.norm.gamma.numpy() / np.sqrt(4 + EPSILON)
    z = (maps - 0.5) * scale + unit.norm.beta
    kernel = unit.conv.kernel.numpy()[0, 0]
    np.testing.assert_allclose(found, np.maximum(z, 0) @ kernel + unit.conv.bias, atol=1e-4)
    want = (upstream @ kernel.T) * (z.numpy() > 0) * scale
    np.testing.assert_allclose(gradient, want, rtol=1e-4, atol=1e-5)


@needs_operations
def test_no_images_give_no_outputs_and_gradients_of_zero():
    unit = _Unit("float32", 16, 8, normalize=True, passes=False)
    maps, upstream = tf.zeros((0, 3, 3, 16)), tf.zeros((0, 3, 3, 8))
    (outputs, dx, *rest), _ = _found(maps, upstream, unit, None)
    assert outputs.shape == (0, 3, 3, 8) and dx.shape == maps.shape
    assert not any(np.any(value) for value in rest)


@needs_operations
def test_shapes_that_do_not_fit_are_refused():
    pointwise = library.load().tfsc_pointwise
    maps, none = tf.zeros([1, 2, 2, 3]), tf.zeros([0])
    given = {
        "x": maps, "kernel": tf.zeros([1, 1, 3, 4]), "gamma": none, "beta": none, "mean": none,
        "variance": none, "bias": tf.zeros(4), "residual": tf.zeros([0, 0, 0, 0]), "epsilon": 0.1,
        "moments": False,
    }  # fmt: skip
    pointwise(**given)
    for wrong, message in (
        ({"kernel": tf.zeros([1, 1, 4, 4])}, r"must be x .* Received: \[1,2,2,3\], \[1,1,4,4\]"),
        ({"gamma": tf.zeros(3)}, r"or an empty gamma. Received"),
        ({"bias": tf.zeros(3)}, r"must be bias \[out\] .* Received: \[3\]"),
        ({"residual": tf.zeros([1, 2, 2, 3])}, r"must be bias .* and \[1,2,2,3\] for 4 outputs"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            pointwise(**given | wrong)


@needs_operations
@pytest.mark.slow  # two processes; in short: test_train.py, whose runs have a thread for each core
def test_the_number_of_threads_does_not_change_a_bit():
    program = (
        "import hashlib, tensorflow as tf\n"
        "from tfsc.native import library\n"
        "x, dy = (tf.random.stateless_normal([30, 13, 13, 72], [1, k]) for k in range(2))\n"
        "kernel = tf.random.stateless_normal([1, 1, 72, 72], [2, 0])\n"
        "operations = library.load()\n"
        "m, v = operations.tfsc_moments(x=x)\n"
        "rest = {'gamma': tf.ones(72), 'beta': tf.zeros(72), 'epsilon': 1e-3, 'kernel': kernel}\n"
        "rest |= {'mean': m, 'variance': v, 'residual': dy}\n"
        "y = operations.tfsc_pointwise(x=x, bias=tf.ones(72), moments=True, **rest)\n"
        "d = operations.tfsc_pointwise_gradient(dy=dy, x=x, of_batch=True, **rest)\n"
        "print(hashlib.sha256(b''.join(t.numpy().tobytes() for t in (*y, *d))).hexdigest())\n"
    )
    assert len(digests_by_threads(program)) == 1


def _types(layer):
    signature = tf.TensorSpec((2, 3, 3, 4))
    function = tf.function(lambda maps: layer(maps, training=True))
    return {op.type for op in function.get_concrete_function(signature).graph.get_operations()}


def test_for_other_machines_it_is_a_convolution(monkeypatch):
    layer = FusedPointwiseConv2D(5)
    layer.build((None, 3, 3, 4))
    with portable():
        assert "Conv2D" in _types(layer) and "TfscPointwise" not in _types(layer)
    monkeypatch.setattr(library, "is_available", lambda products: False)
    assert "Conv2D" in _types(layer)
    maps = _maps((2, 3, 3, 4), tf.float32)
    expected = maps @ layer.kernel.numpy()[0, 0] + layer.bias
    np.testing.assert_allclose(layer(maps), expected, atol=1e-5)


def test_an_activation_and_no_bias():
    layer = FusedPointwiseConv2D(5, activation="relu", use_bias=False)
    maps = _maps((2, 3, 3, 4), tf.float32)
    outputs = layer(maps)
    np.testing.assert_allclose(outputs, np.maximum(maps @ layer.kernel.numpy()[0, 0], 0), atol=1e-5)
    assert fusion.noted(outputs, fusion.Sum) is None


@pytest.mark.parametrize("wrong", [{"kernel_size": 3}, {"strides": 2}, {"groups": 2}])
def test_another_convolution_is_refused(wrong):
    with pytest.raises(ValueError, match=r"needs kernel size 1, .*Received"):
        FusedPointwiseConv2D(4, **wrong)


def test_it_survives_its_config():
    layer = FusedPointwiseConv2D(4, passes=True, name="conv")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, FusedPointwiseConv2D) and copy.passes and copy.name == "conv"


@pytest.mark.parametrize(("policy", "dtype", "error"), POLICIES)
def test_a_network_of_bottleneck_units_has_the_same_losses_and_gradients(policy, dtype, error):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        networks = []
        for native in (False, True):
            keras.utils.set_random_seed(0)  # equal paths get equal weights
            networks.append(models.build("resnet_v2([2,2])", (16, 16, 3), 10, native=native))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    found = []
    for network in networks:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(images, training=True)))
        weights = {w.path: w for w in network.trainable_weights}
        gradients = tape.gradient(loss, weights)
        found.append((float(loss), {path: value.numpy() for path, value in gradients.items()}))
    (plain_loss, plain), (loss, mine) = found
    room = 1e-4 if dtype == tf.float32 else 3e-2
    assert loss == pytest.approx(plain_loss, rel=room)
    whole = np.sqrt(sum(np.sum(np.square(value)) for value in plain.values()))
    apart = np.sqrt(sum(np.sum(np.square(plain[path] - mine[path])) for path in plain))
    # Signs in front of the ReLUs tip over where rounding differs.
    assert apart <= (2e-2 if dtype == tf.float32 else 0.3) * whole
