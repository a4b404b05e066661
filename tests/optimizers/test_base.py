"""What every optimizer of tfsc shares: Keras' options, groups by path, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from updates import update_of

from tfsc.optimizers.adadelta import FusedAdadelta
from tfsc.optimizers.adagrad import FusedAdagrad
from tfsc.optimizers.adam import FusedAdam, FusedAdamW
from tfsc.optimizers.lion import Lion
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.schedules.segments import SegmentSchedule

STEPS = 20
SHAPES = {"conv_kernel": (3, 3, 4, 5), "conv_bias": (5,), "norm_gamma": (5,)}
AVERAGED = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 7}
PAIRS = {
    "adamw": (
        FusedAdamW,
        keras.optimizers.AdamW,
        {"weight_decay": 5.0, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "sgd": (
        FusedSGD,
        keras.optimizers.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.5, "global_clipnorm": 0.5},
    ),
    "averaged": (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, **AVERAGED}),
    "amsgrad": (FusedAdam, keras.optimizers.Adam, {"amsgrad": True, "beta_2": 0.6}),
    "amsgrad with decay": (
        FusedAdamW,
        keras.optimizers.AdamW,
        {"amsgrad": True, "beta_2": 0.6, "weight_decay": 5.0, "epsilon": 1e-3},
    ),
    "accumulated": (
        FusedAdamW,
        keras.optimizers.AdamW,
        {"weight_decay": 0.2, "gradient_accumulation_steps": 3},
    ),
}
KINDS = (FusedSGD, FusedAdam, FusedAdamW, FusedRMSprop, FusedAdagrad, FusedAdadelta, Lion, Muon)


def _schedule():
    return SegmentSchedule("[1e-2,0]lin[3e-2,1]cos[1e-4,2]", steps_per_epoch=STEPS // 2)


def _train(optimizer, exclude=None):
    """The variables after 20 updates in a graph, by name."""
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=shape).astype(np.float32), name=name)
        for name, shape in SHAPES.items()
    ]
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=exclude)
    optimizer.build(variables)

    step = tf.function(lambda *each: optimizer.apply(each, variables), autograph=False)

    for _ in range(STEPS):
        step(*(rng.normal(size=v.shape).astype(np.float32) for v in variables))
    return {variable.name: variable.numpy() for variable in variables}


@pytest.mark.parametrize("case", PAIRS)
def test_it_follows_keras_for_twenty_steps(case):
    ours, theirs, arguments = PAIRS[case]
    mine, keras_own = (_train(kind(_schedule(), **arguments)) for kind in (ours, theirs))
    for name in mine:
        np.testing.assert_allclose(mine[name], keras_own[name], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", [FusedAdam, FusedAdamW])
def test_amsgrad_survives_serialisation_and_its_state_a_file(kind, tmp_path):
    optimizer = kind(0.1, amsgrad=True)
    model, again, ones = _saved_and_loaded(optimizer, tmp_path)
    assert again.optimizer.amsgrad
    assert again.optimizer.get_config() == optimizer.get_config()
    for each in (model, again):
        each.optimizer.apply([0.1 * one for one in ones], each.trainable_variables)
    hats = [v.path for v in optimizer.variables if "velocity_hat" in v.path]
    assert len(hats) == len(model.trainable_variables)
    for one, other in zip(optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    for one, other in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_amsgrad_can_be_compiled_by_xla():
    ends = []
    for compiled in (True, False):
        weight = keras.Variable(np.ones(3, np.float32))
        optimizer = FusedAdam(0.1, amsgrad=True)
        optimizer.build([weight])
        step = update_of(optimizer, [weight], graph=compiled, xla=True)
        for gradient in (1.0, -0.1, 0.1):
            step(tf.fill([3], gradient))
        ends.append(weight.numpy())
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_what_keras_is_told_to_exclude_does_not_decay():
    without, decayed = (
        _train(FusedAdamW(_schedule(), weight_decay=5.0), names) for names in (["bias"], None)
    )
    reference = _train(keras.optimizers.AdamW(_schedule(), weight_decay=5.0), ["bias"])
    assert not np.allclose(decayed["conv_bias"], without["conv_bias"], atol=1e-3)
    for name in without:
        np.testing.assert_allclose(without[name], reference[name], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("decoupled", [True, False])
def test_a_factor_of_the_decay_makes_up_for_one_of_the_rate(decoupled):
    """With rate ×64 and decay ÷64, a variable without gradient goes the way of all others."""
    ours, plain = (keras.Variable(np.ones(3), name=name) for name in ("beta", "bias"))
    arguments = {"lr_factors": {"beta": 64.0}, "wd_factors": {"beta": 1 / 64}}
    optimizer = FusedSGD(0.01, 0.5, weight_decay=0.1, decoupled=decoupled, **arguments)
    optimizer.build([ours, plain])
    for _ in range(3):
        optimizer.apply([tf.zeros(3), tf.zeros(3)])
    np.testing.assert_allclose(ours, plain, rtol=1e-6)
    assert plain.numpy()[0] < 1 - 2.9e-3


@pytest.mark.parametrize("kind", [FusedSGD, FusedAdamW, Muon])
def test_frozen_variables_stay_and_the_others_go_on(kind):
    """A rate of 0 would leave momentum and decay."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype(np.float32) for shape in SHAPES.values()]
    gradients = [[rng.normal(size=v.shape).astype(np.float32) for v in values] for _ in range(4)]

    def steps(count, graph=False, **arguments):
        variables = [keras.Variable(v, name=n) for n, v in zip(SHAPES, values, strict=True)]
        if kind is Muon:
            arguments["rest"] = FusedSGD(0.1, 0.9, weight_decay=0.1, **arguments)
        optimizer = kind(0.1, weight_decay=0.1, **arguments)
        optimizer.build(variables)
        apply = update_of(optimizer, variables, graph, xla=kind is FusedSGD)
        for gradient in gradients[:count]:
            apply(*gradient)
        return [variable.numpy() for variable in variables]

    frozen = steps(4, graph=True, freeze_after={"conv_kernel": 2, "conv_bias": 1})
    np.testing.assert_allclose(frozen[0], steps(2)[0], rtol=1e-6)
    np.testing.assert_allclose(frozen[1], steps(1)[1], rtol=1e-6)
    np.testing.assert_allclose(frozen[2], steps(4)[2], rtol=1e-6)


def test_schedules_are_evaluated_once_a_step():
    calls = []

    class Counted(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            calls.append(step)
            return 1e-3

        def get_config(self):
            return {}

    optimizer = FusedSGD(Counted(), Counted(), weight_decay=Counted(), lr_factors={"variable": 2.0})
    variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(4)]
    optimizer.build(variables)
    calls.clear()
    tf.function(lambda: optimizer.apply([tf.ones(3)] * 4, variables)).get_concrete_function()
    assert len(calls) == 3


def test_rows_of_an_embedding_are_updated():
    variable = keras.Variable(np.ones((4, 2), np.float32))
    optimizer = FusedSGD(0.5, momentum=0.9)
    optimizer.build([variable])
    rows = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([2]), tf.constant([4, 2]))
    optimizer.apply([rows], [variable])
    np.testing.assert_array_equal(variable.numpy()[:, 0], [1, 1, 0.5, 1])


def test_a_group_without_variables_is_refused_when_built():
    optimizer = FusedSGD(0.1, no_decay=["bais"])
    with keras.name_scope("dense"):
        bias = keras.Variable(0.0, name="bias")
    with pytest.raises(ValueError, match=r"no_decay must name groups .* such as dense/bias\. Rec"):
        optimizer.build([bias])
    with pytest.raises(ValueError, match="several texts"):
        FusedSGD(0.1, no_decay="bias")


@pytest.mark.parametrize("kind", KINDS)
def test_it_survives_serialisation(kind):
    groups = {"no_decay": ("bn", "bias"), "lr_factors": {"head": 2.0, "bias": 0.5, "bn": 3.0}}
    groups |= {"wd_factors": {"head": 0.25}, "freeze_after": {"stem": 100}}
    optimizer = kind(_schedule(), weight_decay=_schedule(), decoupled=False, clipnorm=3.0, **groups)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is kind
    assert again.get_config() == optimizer.get_config()
    assert list(again.lr_factors.items()) == list(groups["lr_factors"].items())
    assert again.no_decay == groups["no_decay"]
    assert again.wd_factors == groups["wd_factors"]
    assert again.freeze_after == groups["freeze_after"]
    assert not again.decoupled


def _saved_and_loaded(optimizer, directory):
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 2, name="stem_conv")(inputs)
    outputs = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    ones = [tf.ones_like(v) for v in model.trainable_variables]
    optimizer.apply(ones)  # so that there is momentum to keep
    model.save(directory / "model.keras")
    return model, keras.saving.load_model(directory / "model.keras"), ones


def test_decay_is_right_after_saving_and_loading(tmp_path):
    optimizer = FusedAdamW(
        0.1, 0.5, no_decay=["bias"], lr_factors={"head": 2.0, "kernel": 0.5, "stem_conv/b": 3.0}
    )
    _, again, ones = _saved_and_loaded(optimizer, tmp_path)
    assert again.optimizer.get_config() == optimizer.get_config()
    before = {v.path: v.numpy() for v in again.trainable_variables}
    moments = [v.numpy() for v in again.optimizer.variables if "momentum" in v.path]
    np.testing.assert_allclose([m.mean() for m in moments], 0.1, rtol=1e-6)
    for variable in again.optimizer.variables:
        if "momentum" in variable.path:
            variable.assign(tf.zeros_like(variable))  # now only the decay moves weights
    again.optimizer.apply([0 * one for one in ones], again.trainable_variables)
    shrunk = {"stem_conv/kernel": 0.975, "logits/kernel": 0.975}
    for v in again.trainable_variables:
        np.testing.assert_allclose(v.numpy(), before[v.path] * shrunk.get(v.path, 1), rtol=1e-6)


def test_optimizers_within_optimizers_go_on_exactly_after_loading(tmp_path):
    rest = FusedAdamW(0.01, 0.5, no_decay=["bias"], lr_factors={"stem_conv/kernel": 3, "bias": 2})
    optimizer = Lookahead(Muon(0.1, rest=rest, weight_decay=0.1, renormalize=False), every=2)
    model, again, ones = _saved_and_loaded(optimizer, tmp_path)
    assert again.optimizer.get_config() == optimizer.get_config()
    for each in (model, again):
        each.optimizer.apply(ones, each.trainable_variables)
    for mine, theirs in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = model.optimizer.variables, again.optimizer.variables
    assert len(mine) == len(theirs) == 2 + 4 + 1 + 1 + 1 + 1 + 3 * 2
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
