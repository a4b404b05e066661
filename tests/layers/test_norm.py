"""FusedBatchNormalization against the layer of Keras whose results it promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.layers import norm
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.norm_relu import NormReLU

SHAPE = (4, 6, 5, 3)


def _maps(seed=0, shape=SHAPE):
    # Means and deviations that differ between channels, far from the initial statistics.
    rng = np.random.default_rng(seed)
    scale, offset = np.array([0.5, 2, 10]), np.array([-3, 0, 20])
    return (rng.normal(size=shape) * scale[: shape[-1]] + offset[: shape[-1]]).astype(np.float32)


def _pair(**arguments):
    """Keras' layer and ours with the same, uncommon weights."""
    layers = (
        keras.layers.BatchNormalization(**arguments),
        FusedBatchNormalization(**arguments),
    )
    rng = np.random.default_rng(9)
    for layer in layers:
        layer.build((None, *SHAPE[1:]))
    weights = [rng.uniform(0.5, 2, w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def _steps(layers, maps, training=True, jit=False):
    """Each layer's output, and gradients of a loss for the inputs and every trainable weight."""
    upstream = tf.constant(np.random.default_rng(5).normal(size=maps.shape), tf.float32)

    def step(layer, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(upstream * tf.cast(y, tf.float32))
        return y, tape.gradient(loss, [x, *[w.value for w in layer.trainable_weights]])

    # One function of both: each that XLA compiles takes a while.
    both = tf.function(lambda x: [step(layer, x) for layer in layers], jit_compile=jit)
    return both(tf.constant(maps))


def _assert_same(stock, fused, rtol, atol):
    np.testing.assert_allclose(
        tf.cast(fused, tf.float32), tf.cast(stock, tf.float32), rtol=rtol, atol=atol
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_keras(scale, center, training, jit):
    stock, fused = _pair(scale=scale, center=center, momentum=0.9, epsilon=1e-2)
    (stock_y, stock_grads), (fused_y, fused_grads) = _steps((stock, fused), _maps(), training, jit)
    assert fused_y.dtype == tf.float32
    _assert_same(stock_y, fused_y, 1e-4, 1e-5)
    assert len(fused_grads) == 1 + scale + center
    for one, other in zip(stock_grads, fused_grads, strict=True):
        _assert_same(one, other, 1e-4, 1e-4)
    for one, other in zip(stock.weights, fused.weights, strict=True):
        assert one.name == other.name
        _assert_same(one.value, other.value, 1e-5, 1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_moving_statistics_agree_after_several_steps_and_serve_inference(jit):
    stock, fused = _pair(momentum=0.7)
    both = tf.function(
        lambda x: [layer(x, training=True) for layer in (stock, fused)], jit_compile=jit
    )
    for seed in range(8):
        both(tf.constant(_maps(seed)))
    # 0.7⁸ = 6 % of the initial values are left: an error of the update would show.
    _assert_same(stock.moving_mean.value, fused.moving_mean.value, 1e-4, 1e-5)
    _assert_same(stock.moving_variance.value, fused.moving_variance.value, 1e-4, 1e-5)
    _assert_same(stock(_maps(99), training=False), fused(_maps(99), training=False), 1e-4, 1e-5)


def test_the_moving_variance_is_the_biased_one():
    layer = FusedBatchNormalization(momentum=0.0)
    maps = _maps(shape=(2, 1, 2, 3))  # 4 values a channel: Bessel's correction would be a third
    layer(maps, training=True)
    np.testing.assert_allclose(layer.moving_variance, maps.var((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, maps.mean((0, 1, 2)), rtol=1e-4)


def test_inference_leaves_the_statistics_alone():
    _, layer = _pair()
    before = layer.get_weights()
    layer(_maps())
    layer(_maps(), training=False)
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_layer_uses_its_moving_statistics_even_in_training():
    stock, fused = _pair()
    stock.trainable = fused.trainable = False
    before = fused.get_weights()
    result = fused(_maps(), training=True)
    _assert_same(stock(_maps(), training=True), result, 1e-4, 1e-5)
    np.testing.assert_array_equal(result, fused(_maps(), training=False))
    for one, other in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("training", [True, False])
def test_mixed_bfloat16_keeps_maps_in_16_bits_and_variables_in_32(training, jit):
    keras.config.set_dtype_policy("mixed_bfloat16")
    stock, fused = _pair(momentum=0.5)
    (stock_y, stock_grads), (fused_y, fused_grads) = _steps((stock, fused), _maps(), training, jit)
    assert fused_y.dtype == tf.bfloat16
    assert {w.dtype for w in fused.weights} == {"float32"}
    # bfloat16 has 8 bits: 20 + noise is rounded to 1/16 before either layer sees it.
    _assert_same(stock_y, fused_y, 0.02, 0.05)
    for one, other in zip(stock_grads, fused_grads, strict=True):
        _assert_same(one, other, 0.03, 0.2)
    for one, other in zip(stock.weights, fused.weights, strict=True):
        _assert_same(one.value, other.value, 1e-3, 1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_a_single_value_a_channel_gives_the_offset_and_no_nan(jit, policy):
    keras.config.set_dtype_policy(policy)
    stock, fused = _pair(momentum=0.5)
    maps = _maps(shape=(1, 1, 1, 3))
    both = (stock, fused)
    for layer, (y, gradients) in zip(both, _steps(both, maps, jit=jit), strict=True):
        # The value is its own mean.
        np.testing.assert_allclose(
            tf.cast(y, tf.float32).numpy().ravel(), layer.beta, rtol=0.01, atol=1e-5
        )
        assert all(np.isfinite(tf.cast(g, tf.float32)).all() for g in gradients)
    _assert_same(stock.moving_mean.value, fused.moving_mean.value, 1e-3, 1e-4)
    _assert_same(stock.moving_variance.value, fused.moving_variance.value, 1e-3, 1e-4)


CLIPPING = {"rmax": 3.0, "rmin": 0.3, "dmax": 5.0}


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"axis": 1}, SHAPE),
        ({"axis": -2}, SHAPE),
        ({"renorm": True, "renorm_clipping": CLIPPING}, SHAPE),
        ({"synchronized": True}, SHAPE),
        ({}, (4, 3)),
        ({}, (4, 5, 3)),
        ({"axis": 1}, (4, 2, 5, 5, 3)),
    ],
)
@pytest.mark.parametrize("kind", [FusedBatchNormalization, NormReLU])
def test_what_the_fused_operation_lacks_is_as_in_keras(kind, arguments, shape):
    stock, ours = keras.layers.BatchNormalization(**arguments), kind(**arguments)
    maps = np.random.default_rng(3).normal(2, 3, shape).astype(np.float32)
    for training in (True, False):
        expected = stock(maps, training=training)
        expected = tf.nn.relu(expected) if kind is NormReLU else expected
        _assert_same(expected, ours(maps, training=training), 1e-4, 1e-5)
    for one, other in zip(stock.weights, ours.weights, strict=True):
        _assert_same(one.value, other.value, 1e-5, 1e-6)
    again = kind.from_config(ours.get_config())
    assert again.get_config() == ours.get_config()


def test_a_mask_counts_as_in_keras():
    stock, ours = _pair(momentum=0.5)
    mask = tf.constant(np.random.default_rng(3).integers(0, 2, SHAPE[:3]), tf.bool)
    for training in (True, False):
        expected = stock(_maps(), training=training, mask=mask)
        _assert_same(expected, ours(_maps(), training=training, mask=mask), 1e-5, 1e-6)
    _assert_same(stock.moving_mean.value, ours.moving_mean.value, 1e-5, 1e-6)


def test_float64_stays_float64():
    stock, ours = (
        kind(dtype="float64") for kind in (keras.layers.BatchNormalization, FusedBatchNormalization)
    )
    maps = _maps().astype(np.float64)
    assert ours(maps, training=True).dtype == tf.float64
    np.testing.assert_allclose(ours(maps, training=True), stock(maps, training=True), rtol=1e-9)


def test_the_last_axis_may_be_called_3():
    maps = _maps()
    np.testing.assert_array_equal(
        FusedBatchNormalization(axis=3)(maps, training=True),
        FusedBatchNormalization()(maps, training=True),
    )


def test_round_trips_through_its_configuration():
    layer = FusedBatchNormalization(
        momentum=0.6, epsilon=1e-5, scale=False, beta_initializer="ones", name="mine"
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is FusedBatchNormalization
    assert again.get_config() == layer.get_config()
    maps = _maps()
    np.testing.assert_array_equal(again(maps, training=True), layer(maps, training=True))


class _Replica:
    """As MirroredStrategy's context: every replica's values are known to the test.

    Args:
        moments: of all replicas together, in the order in which they are asked for.
    """

    num_replicas_in_sync = 2

    def __init__(self, *moments):
        self.moments = iter(moments)

    def all_reduce(self, operation, value):
        assert operation == "MEAN"
        return tf.reshape(next(self.moments), value.shape)


def _moments(maps, axes):
    return maps.mean(axes), maps.var(axes)


def test_in_several_replicas_the_statistics_are_those_of_the_whole_batch():
    """Two halves through the replicas' path, with all_reduce as a mean over both."""
    whole = FusedBatchNormalization(momentum=0.9)
    whole.build((None, *SHAPE[1:]))
    maps = tf.constant(_maps())
    expected = whole(maps, training=True)
    layer = FusedBatchNormalization(momentum=0.9)
    layer.build((None, *SHAPE[1:]))
    replica = _Replica(*_moments(_maps(), (0, 1, 2)))
    mean, variance, half = layer._across_replicas(maps[:2], tf.ones([3]), tf.zeros([3]), replica)
    layer._move(mean, variance)
    _assert_same(expected[:2], half, 1e-5, 1e-5)
    _assert_same(whole.moving_mean.value, layer.moving_mean.value, 1e-5, 1e-6)
    _assert_same(whole.moving_variance.value, layer.moving_variance.value, 1e-5, 1e-6)


def test_so_they_are_in_keras_passes_which_take_no_mask_there(monkeypatch):
    maps = np.random.default_rng(0).normal(2, 3, (4, 3, 5)).astype(np.float32)
    whole, layer = (FusedBatchNormalization(axis=1, momentum=0.9) for _ in range(2))
    expected = whole(maps, training=True)
    layer.build(maps.shape)
    replica = _Replica(*_moments(maps, (0, 2)))
    monkeypatch.setattr(norm, "one_of_several", lambda: replica)
    _assert_same(expected[:2], layer.call(tf.constant(maps[:2]), training=True), 1e-5, 1e-5)
    _assert_same(whole.moving_mean.value, layer.moving_mean.value, 1e-5, 1e-6)
    _assert_same(whole.moving_variance.value, layer.moving_variance.value, 1e-5, 1e-6)
    with pytest.raises(ValueError, match="no mask in several replicas"):
        layer.call(tf.constant(maps), training=True, mask=tf.ones(maps.shape[:2], tf.bool))
