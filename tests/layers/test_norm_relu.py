"""NormReLU: its arithmetic against NumPy in float64, its behaviour against the two layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from native_operations import digests_by_threads, needs_operations

from tfsc import models
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.norm_relu import NormReLU
from tfsc.layers.portable import portable
from tfsc.native import library

POLICIES = [("float32", tf.float32, 1e-6), ("mixed_bfloat16", tf.bfloat16, 3e-3)]
SIZES = st.tuples(*(st.integers(1, high) for high in (3, 9, 9, 150)))
EPSILON = 1e-3


def _example(sizes, dtype=tf.float32, seed=0, mean=3.0):
    """Maps and upstream gradients that dtype holds; gamma, beta."""
    rng = np.random.default_rng(seed)
    maps, upstream = (tf.cast(rng.normal(m, 2, sizes), dtype) for m in (mean, 0.5))
    return maps, upstream, rng.normal(1, 0.5, sizes[-1:]), rng.normal(0, 0.5, sizes[-1:])


def _layer(kind, sizes, gamma, beta, policy="float32", **arguments):
    layer = kind(dtype=policy, epsilon=EPSILON, momentum=0.75, **arguments)
    layer.build(sizes)
    layer.set_weights([gamma, beta, np.full(sizes[-1], 5.0), np.full(sizes[-1], 2.0)])
    return layer


def _step(layer, maps, upstream, training=True):
    """Outputs, gradients of maps, gamma and beta, moving mean and variance, in float64."""
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = layer(maps, training=training)
        outputs = outputs if isinstance(layer, NormReLU) else tf.nn.relu(outputs)
    assert outputs.dtype == maps.dtype
    found = tape.gradient(outputs, [maps, layer.gamma.value, layer.beta.value], upstream)
    found = [outputs, *found, layer.moving_mean.value, layer.moving_variance.value]
    return [tf.cast(value, tf.float64).numpy() for value in found]


def _normal(maps, gamma, beta):
    """γ and β as float32 holds them, 1/σ, x̂ = (x − mean)/σ, what ReLU is given: in float64."""
    x = tf.cast(maps, tf.float64).numpy()
    gamma, beta = (value.astype(np.float32).astype(np.float64) for value in (gamma, beta))
    axes = (0, 1, 2)
    inverse = 1 / np.sqrt(x.var(axes) + EPSILON)
    normal = (x - x.mean(axes)) * inverse
    return gamma, inverse, normal, gamma * normal + beta


def _exact(maps, upstream, gamma, beta):
    """The same by the formulas."""
    gamma, inverse, normal, z = _normal(maps, gamma, beta)
    x, dy = (tf.cast(value, tf.float64).numpy() for value in (maps, upstream))
    axes, count = (0, 1, 2), x.size // x.shape[-1]
    dz = dy * (z > 0)
    dbeta, dgamma = dz.sum(axes), (dz * normal).sum(axes)
    dx = gamma * inverse * (dz - dbeta / count - normal * dgamma / count)
    moving = 0.75 * 5 + 0.25 * x.mean(axes), 0.75 * 2 + 0.25 * x.var(axes)
    return [np.maximum(z, 0), dx, dgamma, dbeta, *moving]


def _assert_near(found, expected, error, scale=1.0):
    for mine, its in zip(found, expected, strict=True):
        room = error * (np.linalg.norm(its) + scale * np.sqrt(its.size))
        assert np.linalg.norm(mine - its) <= room


@needs_operations
@pytest.mark.parametrize(("policy", "dtype", "error"), POLICIES)
@given(SIZES, st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_it_is_the_formula(policy, dtype, error, sizes, seed):
    maps, upstream, gamma, beta = _example(sizes, dtype, seed)
    _, inverse, _, z = _normal(maps, gamma, beta)
    # On which side of ReLU's kink a value lies that is 0 within rounding is rounding's choice.
    upstream = tf.where(np.abs(z) < 1e-4, tf.zeros_like(upstream), upstream)
    found = _step(_layer(NormReLU, sizes, gamma, beta, policy), maps, upstream)
    # Of the gradient of two pixels almost all may cancel: dy · γ/σ is what it is a difference of,
    # and x − mean has lost the digits that both share.
    gain = np.abs(gamma * inverse).max() * np.abs(upstream).max()
    lost = (np.abs(maps) * inverse).max()
    scale = 1 + gain * (1 + lost)
    _assert_near(found, _exact(maps, upstream, gamma, beta), error, scale)


@needs_operations
@pytest.mark.parametrize(("policy", "dtype", "error"), POLICIES)
def test_many_pixels_and_a_mean_far_from_zero_cost_no_accuracy(policy, dtype, error):
    """Sums of squares about 0 would lose all of a variance of 4 beside a mean of 3,000."""
    sizes = (16, 32, 32, 20)
    mean = 3000 if dtype == tf.float32 else 30
    maps, upstream, gamma, beta = example = _example(sizes, dtype, mean=mean)
    found = _step(_layer(NormReLU, sizes, gamma, beta, policy), maps, upstream)
    outputs, *_, moving_mean, moving_variance = _exact(*example)
    # At 3,000 float32 holds the mean to 1.2e-4, maps have a deviation of 2.
    np.testing.assert_allclose(found[0], outputs, rtol=3 * error, atol=3 * error + 2e-4)
    np.testing.assert_allclose(found[-2], moving_mean, rtol=1e-6)
    np.testing.assert_allclose(found[-1], moving_variance, rtol=1e-5)


@needs_operations
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_it_does_what_the_two_layers_do(training, trainable):
    sizes = (4, 5, 6, 18)
    maps, upstream, gamma, beta = _example(sizes)
    steps = []
    for kind in (NormReLU, FusedBatchNormalization):
        layer = _layer(kind, sizes, gamma, beta)
        layer.trainable = trainable
        steps.append(_step(layer, maps, upstream, training))
    _assert_near(*steps, 1e-5)


@needs_operations
def test_a_nan_is_not_cut_off():
    maps, _, gamma, beta = _example((1, 2, 2, 3))
    maps = tf.tensor_scatter_nd_update(maps, [[0, 1, 1, 2]], [np.nan])
    outputs = _layer(NormReLU, maps.shape, gamma, beta)(maps, training=True).numpy()
    assert np.isnan(outputs[..., 2]).all() and np.isfinite(outputs[..., :2]).all()


@needs_operations
def test_no_images_give_no_outputs_and_gradients_of_zero():
    maps, upstream, gamma, beta = _example((0, 2, 2, 5))
    outputs, dx, dgamma, dbeta, *moving = _step(
        _layer(NormReLU, (1, 2, 2, 5), gamma, beta), maps, upstream
    )
    assert outputs.shape == dx.shape == (0, 2, 2, 5)
    assert not dgamma.any() and not dbeta.any()
    assert np.isnan(moving).all()  # as FusedBatchNormalization's


@needs_operations
def test_shapes_that_do_not_fit_are_refused():
    operations = library.load()
    maps, channels = tf.zeros([1, 2, 2, 3]), tf.zeros(3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be x .* Received: .*\[4\]"):
        operations.tfsc_norm_relu(
            x=maps, gamma=tf.zeros(4), beta=channels, mean=channels, variance=channels, epsilon=1.0
        )
    rest = {"gamma": channels, "beta": channels, "mean": channels, "epsilon": 1.0, "of_batch": True}
    for wrong in (
        {"dy": maps, "variance": tf.zeros(2)},
        {"dy": tf.zeros([1, 2, 1, 3]), "variance": channels},
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be dy and x .* Received"):
            operations.tfsc_norm_relu_gradient(x=maps, **wrong, **rest)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be x .* Received: \[3\]"):
        operations.tfsc_moments(x=channels)


@needs_operations
@pytest.mark.slow  # two processes; in short: test_train.py, whose runs have a thread for each core
def test_the_number_of_threads_does_not_change_a_bit():
    program = (
        "import hashlib, tensorflow as tf\n"
        "from tfsc.native import library\n"
        "x, dy = (tf.cast(tf.random.stateless_normal([30, 13, 13, 72], [1, k]), tf.bfloat16)\n"
        "         for k in range(2))\n"
        "operations = library.load()\n"
        "m, v = operations.tfsc_moments(x=x)\n"
        "rest = {'gamma': tf.ones(72), 'beta': tf.zeros(72), 'epsilon': 1e-3}\n"
        "rest |= {'mean': m, 'variance': v}\n"
        "y = operations.tfsc_norm_relu(x=x, **rest)\n"
        "d = operations.tfsc_norm_relu_gradient(dy=dy, x=x, of_batch=True, **rest)\n"
        "print(hashlib.sha256(b''.join(t.numpy().tobytes() for t in (y, m, v, *d))).hexdigest())\n"
    )
    assert len(digests_by_threads(program)) == 1


def _types(layer, sizes=(2, 3, 3, 4), dtype=tf.float32):
    """Types of the operations of its graph in training."""
    signature = tf.TensorSpec(sizes, dtype)
    function = tf.function(lambda maps: layer(maps, training=True))
    return {op.type for op in function.get_concrete_function(signature).graph.get_operations()}


@needs_operations
def test_for_other_machines_it_is_the_two_operations():
    layer = NormReLU()
    layer.build((None, 3, 3, 4))
    assert "TfscNormRelu" in _types(layer)
    with portable():
        types = _types(layer)
    assert {"FusedBatchNormV3", "Relu"} <= types and "TfscNormRelu" not in types


def test_without_the_operations_it_is_the_two_layers(monkeypatch):
    monkeypatch.setattr(library, "is_available", lambda: False)
    sizes = (4, 5, 6, 18)
    maps, upstream, gamma, beta = _example(sizes)
    steps = [
        _step(_layer(kind, sizes, gamma, beta), maps, upstream)
        for kind in (NormReLU, FusedBatchNormalization)
    ]
    for mine, its in zip(*steps, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_without_scale_and_center_they_are_1_and_0():
    maps, *_ = _example((4, 5, 6, 18))
    layers = [NormReLU(scale=False, center=False), FusedBatchNormalization()]
    outputs = [layer(maps, training=True) for layer in layers]
    np.testing.assert_allclose(outputs[0], tf.nn.relu(outputs[1]), atol=1e-5)


def test_it_survives_its_config():
    layer = NormReLU(epsilon=0.5, name="norm")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, NormReLU) and (copy.epsilon, copy.name) == (0.5, "norm")


def test_a_network_with_it_has_the_same_weights_and_logits():
    text, networks = "resnet_v2([1,1], shortcut=[1,3], pooling=avg)", []
    for fused in (False, True):
        keras.utils.set_random_seed(0)  # equal paths get equal weights
        networks.append(models.build(text, (8, 8, 3), 10, native=fused))
    plain, fused = networks
    assert {w.path for w in plain.weights} == {w.path for w in fused.weights}
    assert sum(isinstance(layer, NormReLU) for layer in fused.layers) == 7
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.float32)
    for training in (True, False):
        logits = [network(images, training=training) for network in networks]
        np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)
