"""Frozen variables: nothing moves them, and nothing else depends on their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from updates import update_of

from tfsc.optimizers.adam import FusedAdamW
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.sgd import FusedSGD


def _variables(shapes=None, **arguments):
    shapes = shapes or {"stem": (), "head": ()}
    return [
        keras.Variable(np.ones(shape, np.float32), name=name, **arguments)
        for name, shape in shapes.items()
    ]


def _trained(optimizer, calls, gradients=(1.0, 1.0), variables=None):
    """Values after each call of `apply`, a row a call."""
    variables = variables or _variables()
    optimizer.build(variables)
    apply = tf.function(lambda *g: optimizer.apply(g, variables), autograph=False)
    rows = []
    for _ in range(calls):
        apply(*(tf.fill(v.shape, g) for g, v in zip(gradients, variables, strict=True)))
        rows.append([float(np.mean(variable)) for variable in variables])
    return np.array(rows)


def test_lookahead_does_not_move_what_is_frozen():
    """By hand: three steps of −0.1, then still; the other meets its slow weight at 1 − ½·0.5."""
    inner = FusedSGD(0.1, freeze_after={"stem": 3})
    rows = _trained(Lookahead(inner, every=5), 7)
    np.testing.assert_allclose(rows[:, 0], [0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], [0.9, 0.8, 0.7, 0.6, 0.75, 0.65, 0.55], rtol=1e-6)


def test_a_meeting_belongs_to_the_last_update_before_freezing():
    inner = FusedSGD(0.1, freeze_after={"stem": 4})
    rows = _trained(Lookahead(inner, every=2), 6)
    np.testing.assert_allclose(rows[:, 0], [0.9, 0.9, 0.8, 0.8, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], [0.9, 0.9, 0.8, 0.8, 0.7, 0.7], rtol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in lookahead"])
def test_a_frozen_gradient_is_no_part_of_the_global_norm(wrapped):
    """Gradients (4, 3), largest norm 1: the head's steps are 3/5 of the rate, then all of it."""
    optimizer = FusedSGD(0.1, global_clipnorm=1.0, freeze_after={"stem": 2})
    rows = _trained(Lookahead(optimizer, 100) if wrapped else optimizer, 4, (4.0, 3.0))
    np.testing.assert_allclose(rows[:, 0], [0.92, 0.84, 0.84, 0.84], rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], [0.94, 0.88, 0.78, 0.68], rtol=1e-6)


def test_a_frozen_gradient_that_is_not_finite_spoils_nothing():
    optimizer = FusedSGD(0.1, global_clipnorm=10.0, freeze_after={"stem": 0})
    rows = _trained(optimizer, 2, (np.nan, 1.0))
    np.testing.assert_allclose(rows, [[1, 0.9], [1, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_global_norm_of_rows_of_an_embedding(compiled):
    table, head = _variables({"stem": (3, 1), "head": ()})
    optimizer = FusedSGD(0.1, global_clipnorm=1.0, freeze_after={"stem": 1})
    optimizer.build([table, head])

    @tf.function(jit_compile=compiled)
    def apply():
        rows = tf.IndexedSlices(tf.constant([[4.0]]), tf.constant([1]), tf.constant([3, 1]))
        optimizer.apply([rows, tf.constant(3.0)], [table, head])

    apply()
    apply()
    np.testing.assert_allclose(table.numpy().ravel(), [1, 0.92, 1], rtol=1e-6)
    np.testing.assert_allclose(float(head), 1 - 0.06 - 0.1, rtol=1e-6)


def test_averages_do_not_overwrite_what_is_frozen():
    """EMA of ½, which overwrites at every second update and when training ends."""
    variables = _variables()
    optimizer = FusedSGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, freeze_after={"stem": 1}
    )
    rows = _trained(optimizer, 3, variables=variables)
    # head: .9; .8 → average (.9 + .8)/2 = .85; .75 → average .80
    np.testing.assert_allclose(rows, [[0.9, 0.9], [0.9, 0.85], [0.9, 0.75]], rtol=1e-6)
    average = optimizer._model_variables_moving_average[0]
    average.assign(5.0)
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose([float(v) for v in variables], [0.9, 0.8], rtol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in lookahead"])
def test_a_constraint_does_not_move_what_is_frozen(wrapped):
    class Halved(keras.constraints.Constraint):
        """Not idempotent, as MinMaxNorm with a rate below 1."""

        def __call__(self, w):
            return w / 2

    variables = _variables()
    for variable in variables:
        variable.constraint = Halved()
    optimizer = FusedSGD(0.0, freeze_after={"stem": 1})
    rows = _trained(Lookahead(optimizer, 100) if wrapped else optimizer, 3, variables=variables)
    each = 0.25 if wrapped else 0.5  # Keras applies it around each of both
    np.testing.assert_allclose(rows[:, 0], each)
    np.testing.assert_allclose(rows[:, 1], [each, each**2, each**3])


@pytest.mark.parametrize(
    ("own", "rests", "limits"),
    [
        ({"kernel": 2}, {}, (2, None)),
        ({}, {"bias": 3}, (None, 3)),
        ({"kernel": 2, "bias": 1}, {"bias": 3}, (2, 3)),
        ({"bias": 1}, {}, (None, None)),  # of the kernels only
    ],
)
def test_muon_freezes_its_kernels_and_rest_all_else(own, rests, limits):
    variables = _variables({"kernel": (1, 1, 2, 2), "bias": (2,)})
    rest = FusedSGD(0.1, freeze_after=rests)
    optimizer = Muon(0.1, freeze_after=own, rest=rest, renormalize=False)
    assert optimizer.limits(variables) == limits
    assert Lookahead(optimizer).limits(variables) == limits
    rows = _trained(optimizer, 4, variables=variables)
    for column, limit in zip(rows.T, limits, strict=True):
        assert len(set(column)) == (limit or 4)


def test_of_keras_optimizers_nothing_freezes():
    variables = _variables()
    for optimizer in (Lookahead(keras.optimizers.SGD(0.1)), FusedAdamW(0.1)):
        assert optimizer.frozen(variables, 10**6) == (False, False)
        assert optimizer.still(variables) == [None, None]


# --- under gradient accumulation ----------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in lookahead"])
def test_frozen_after_updates_not_batches(wrapped):
    """Two updates of four batches: a kernel to be frozen after 2 batches would never train."""
    optimizer = FusedSGD(0.1, freeze_after={"stem": 2}, gradient_accumulation_steps=4)
    rows = _trained(Lookahead(optimizer, 100) if wrapped else optimizer, 16)
    np.testing.assert_allclose(rows[3::4, 0], [0.9, 0.8, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(rows[3::4, 1], [0.9, 0.8, 0.7, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(rows[:3], 1.0)


OPTIONS = {
    "lookahead": (3, {"weight_decay": 0.1}),
    "average": (0, {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}),
    "global norm": (2, {"global_clipnorm": 0.5}),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", [FusedSGD, FusedAdamW])
def test_accumulated_batches_are_one_update_of_their_mean(kind, option):
    every, arguments = OPTIONS[option]
    arguments = arguments | {"freeze_after": {"stem": 4}}
    gradients = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
    ends = []
    for accumulate in (False, True):
        extra = {"gradient_accumulation_steps": 3} if accumulate else {}
        optimizer = kind(0.1, **arguments, **extra)
        optimizer = Lookahead(optimizer, every) if every else optimizer
        variables = _variables()
        optimizer.build(variables)
        apply = update_of(optimizer, variables, graph=accumulate)
        rows = []
        for of_update in gradients:
            for g in of_update if accumulate else of_update.mean(axis=0, keepdims=True):
                apply(*g)
            rows.append([float(v) for v in variables])
        optimizer.finalize_variable_values(variables)
        ends.append([*rows, [float(v) for v in variables]])
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
    stem = np.array(ends[1])[:, 0]
    assert len(set(stem[3:])) == 1 < len(set(stem[:4]))


def test_schedules_count_batches_so_that_an_epoch_stays_one():
    """As Keras' own: an update takes the values at its last batch, numbers 1 and 3 of 0, 1, …"""

    class Step(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.01 * tf.cast(step, tf.float32)

        def get_config(self):
            return {}

    accumulated = {"gradient_accumulation_steps": 2}
    for optimizer in (FusedSGD(Step(), **accumulated), keras.optimizers.SGD(Step(), **accumulated)):
        rows = _trained(optimizer, 4)
        np.testing.assert_allclose(rows[:, 0], [1, 0.99, 0.99, 0.96], rtol=1e-6)
    # m ← μ·m − 0.1·g with μ = 0.01, 0.03;  w ← w − 0.1·λ·w − 0.1 with λ likewise
    rows = _trained(FusedSGD(0.1, Step(), **accumulated), 4)
    np.testing.assert_allclose(rows[1::2, 0], [0.9, 0.9 - 0.1 - 0.03 * 0.1], rtol=1e-6)
    rows = _trained(FusedSGD(0.1, weight_decay=Step(), **accumulated), 4)
    first = 1 - 0.1 * 0.01 - 0.1
    second = first * (1 - 0.1 * 0.03) - 0.1
    np.testing.assert_allclose(rows[1::2, 0], [first, second], rtol=1e-6)
