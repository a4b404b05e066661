"""`Lookahead` against NumPy in float64, alone, in a loss scale and as the Learner's optimizer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from updates import update_of

from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.schedules.segments import SegmentSchedule
from tfsc.training.learner import Learner

STEPS, RATE, MOMENTUM = 20, 0.1, 0.9


def reference(start, gradients, every, alpha):
    fast = slow = start
    m = 0.0
    for k, g in enumerate(gradients, 1):
        m = MOMENTUM * m - RATE * g
        fast = fast + m
        if k % every == 0:
            fast = slow = slow + alpha * (fast - slow)
    return fast, slow


def _drawn(steps=STEPS):
    rng = np.random.default_rng(0)
    return rng.normal(size=4), rng.normal(size=(steps, 4))


def _variable(start):
    return keras.Variable(start.astype(np.float32), name="w")


@pytest.mark.parametrize(("every", "alpha"), [(5, 0.5), (7, 0.8), (1, 0.3)])
def test_it_follows_numpy_for_twenty_steps(every, alpha):
    start, gradients = _drawn()
    weight = _variable(start)
    optimizer = Lookahead(FusedSGD(RATE, MOMENTUM), every, alpha)
    optimizer.build([weight])
    step = tf.function(lambda g: optimizer.apply([g], [weight]))
    for g in gradients:
        step(tf.constant(g, tf.float32))
    fast, slow = reference(start, gradients, every, alpha)
    np.testing.assert_allclose(weight.numpy(), fast, rtol=1e-5, atol=1e-6)
    (kept,) = [v for v in optimizer.variables if "slow" in v.path]
    np.testing.assert_allclose(kept.numpy(), slow, rtol=1e-5, atol=1e-6)
    assert int(optimizer.iterations) == STEPS


def test_it_can_be_compiled_around_muon():
    start, gradients = _drawn(4)
    ends = []
    for compiled in (True, False):
        weights = []
        for shape in ((1, 1, 2, 2), (4,)):
            weights.append(keras.Variable(start.reshape(shape).astype(np.float32), name="kernel"))
        optimizer = Lookahead(Muon(0.1, rest=FusedRMSprop(0.1)), every=2)
        optimizer.build(weights)
        step = update_of(optimizer, weights, graph=compiled, xla=True)
        for g in gradients:
            step(tf.constant(g.reshape(1, 1, 2, 2), tf.float32), tf.constant(g, tf.float32))
        ends.append([weight.numpy().ravel() for weight in weights])
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)


def test_steps_that_a_loss_scale_skips_do_not_count():
    start, gradients = _drawn(12)
    weight = _variable(start)
    optimizer = keras.optimizers.LossScaleOptimizer(
        Lookahead(FusedSGD(RATE, MOMENTUM), every=4), initial_scale=1024.0
    )
    assert float(optimizer.scale_loss(1.0)) == 1024
    optimizer.build([weight])
    step = tf.function(lambda g: optimizer.apply([g], [weight]))
    for k, g in enumerate(gradients):
        scale = float(optimizer.scale_loss(1.0))
        step(tf.constant(g * scale, tf.float32))
        if k in (3, 5):
            step(tf.constant([np.inf, 1, 1, 1], tf.float32))
    fast, _ = reference(start, gradients, 4, 0.5)
    np.testing.assert_allclose(weight.numpy(), fast, rtol=1e-5, atol=1e-6)
    assert int(optimizer.iterations) == 12
    assert float(optimizer.scale_loss(1.0)) == 256


def test_accumulated_gradients_are_one_step():
    start, gradients = _drawn(12)
    weight = _variable(start)
    inner = FusedSGD(RATE, MOMENTUM, gradient_accumulation_steps=2)
    optimizer = Lookahead(inner, every=3)
    for g in np.repeat(gradients, 2, axis=0):
        optimizer.apply([tf.constant(g, tf.float32)], [weight])
    fast, _ = reference(start, gradients, 3, 0.5)
    np.testing.assert_allclose(weight.numpy(), fast, rtol=1e-5, atol=1e-6)


def test_the_rate_is_the_inner_ones():
    optimizer = Lookahead(FusedSGD(0.25))
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate = 0.5
    assert float(optimizer.inner.learning_rate) == 0.5
    names = [variable.name for variable in optimizer.variables]
    assert names == ["iteration", "iteration", "learning_rate"]  # no rate of its own


def _learner():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(inputs)
    outputs = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(x))
    learner = Learner(keras.Model(inputs, outputs))
    schedule = SegmentSchedule("[1e-2,0]lin[1e-3,1]", steps_per_epoch=10)
    rest = FusedSGD(schedule, MOMENTUM, name="rest")
    muon = Muon(schedule, rest=rest, name="muon")
    learner.compile(Lookahead(muon, every=3, name="lookahead"), jit_compile=False)
    learner.optimizer.build(learner.network.trainable_variables)
    return learner, learner.train_step  # each graph would take a second to trace


def test_a_learner_goes_on_exactly_from_its_state():
    rng = np.random.default_rng(0)
    batches = [
        {
            "image": tf.constant(rng.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)),
            "label": tf.constant(rng.integers(0, 3, 8).astype(np.int32)),
            "number": tf.range(8, dtype=tf.int64),
        }
        for _ in range(8)
    ]
    learner, step = _learner()
    for batch in batches[:5]:
        step(batch)
    saved = {name: variable.numpy() for name, variable in learner.state().items()}
    rates = [float(step(batch)["learning_rate"]) for batch in batches[5:]]
    again, step_again = _learner()
    for name, variable in again.state().items():
        variable.assign(saved[name])
    assert [float(step_again(batch)["learning_rate"]) for batch in batches[5:]] == rates
    np.testing.assert_allclose(rates, [0.0055, 0.0046, 0.0037], rtol=1e-5)
    for name, variable in again.state().items():
        np.testing.assert_array_equal(variable, learner.state()[name], err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be a whole number from 1"),
        ({"every": 2.5}, "every must be a whole number from 1"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"alpha": 1.5}, "alpha must be above 0 and at most 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lookahead(FusedSGD(0.1), **arguments)


def test_a_loss_scale_within_is_refused():
    with pytest.raises(ValueError, match="inner must not have loss_scale_factor"):
        Lookahead(FusedSGD(0.1, loss_scale_factor=8.0))
