"""Fused optimizers against Keras' own, and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.optimizers.fused import FusedAdam, FusedAdamW, FusedSGD
from tfsc.schedules.segments import SegmentSchedule

STEPS = 20
SHAPES = {"conv/kernel": (3, 3, 4, 5), "conv/bias": (5,), "norm/gamma": (5,)}
PAIRS = {
    "adam": (FusedAdam, keras.optimizers.Adam, {}),
    "adam clipped": (FusedAdam, keras.optimizers.Adam, {"global_clipnorm": 0.5}),
    "adamw": (FusedAdamW, keras.optimizers.AdamW, {"weight_decay": 0.19}),
    "adamw betas": (
        FusedAdamW,
        keras.optimizers.AdamW,
        {"weight_decay": 5.0, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "sgd": (FusedSGD, keras.optimizers.SGD, {}),
    "momentum": (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "weight_decay": 0.5}),
    "nesterov": (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "accumulated": (FusedAdamW, keras.optimizers.AdamW, {"gradient_accumulation_steps": 3}),
}


def _train(optimizer, exclude=None):
    """The variables after 20 updates in a graph, by name."""
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=shape).astype(np.float32), name=name.replace("/", "_"))
        for name, shape in SHAPES.items()
    ]
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=exclude)
    optimizer.build(variables)

    @tf.function
    def step(*gradients):
        optimizer.apply(gradients, variables)

    for _ in range(STEPS):
        step(*(rng.normal(size=v.shape).astype(np.float32) for v in variables))
    return {variable.name: variable.numpy() for variable in variables}


def _schedule():
    return SegmentSchedule("[1e-2,0]lin[3e-2,1]cos[1e-4,2]", steps_per_epoch=STEPS // 2)


@pytest.mark.parametrize("case", PAIRS)
def test_it_follows_keras_for_twenty_steps(case):
    ours, theirs, arguments = PAIRS[case]
    mine, keras_own = (_train(kind(_schedule(), **arguments)) for kind in (ours, theirs))
    for name in mine:
        np.testing.assert_allclose(mine[name], keras_own[name], rtol=2e-5, atol=2e-6)


def test_what_is_excluded_does_not_decay():
    arguments = {"weight_decay": 5.0}
    with_all, without = (
        _train(FusedAdamW(_schedule(), **arguments), exclude) for exclude in (None, ["bias"])
    )
    reference = _train(keras.optimizers.AdamW(_schedule(), **arguments), ["bias"])
    assert not np.allclose(with_all["conv_bias"], without["conv_bias"], atol=1e-3)
    for name in without:
        np.testing.assert_allclose(without[name], reference[name], rtol=2e-5, atol=2e-6)


def test_the_schedule_is_evaluated_once_a_step():
    calls = []

    class Counted(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            calls.append(step)
            return 1e-3

        def get_config(self):
            return {}

    optimizer = FusedAdamW(Counted(), weight_decay=0.1)
    variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(4)]
    optimizer.build(variables)
    calls.clear()
    tf.function(lambda: optimizer.apply([tf.ones(3)] * 4, variables)).get_concrete_function()
    assert len(calls) == 1


def test_rows_of_an_embedding_are_updated():
    variable = keras.Variable(np.ones((4, 2), np.float32))
    optimizer = FusedSGD(0.5, momentum=0.9)
    optimizer.build([variable])
    rows = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([2]), tf.constant([4, 2]))
    optimizer.apply([rows], [variable])
    np.testing.assert_array_equal(variable.numpy()[:, 0], [1, 1, 0.5, 1])


@pytest.mark.parametrize("kind", [FusedAdam, FusedAdamW])
def test_amsgrad_is_refused(kind):
    with pytest.raises(ValueError, match="amsgrad"):
        kind(1e-3, amsgrad=True)


@pytest.mark.parametrize("kind", [FusedAdam, FusedAdamW, FusedSGD])
def test_it_survives_serialisation(kind):
    optimizer = kind(_schedule(), weight_decay=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is kind
    assert again.get_config() == optimizer.get_config()
