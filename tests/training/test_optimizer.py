"""--optimizer and the settings around it: what is built of them."""

import math

import keras
import numpy as np
import pytest

from tfsc.data.batch_plan import BatchPlan
from tfsc.optimizers.adadelta import FusedAdadelta
from tfsc.optimizers.adagrad import FusedAdagrad
from tfsc.optimizers.adam import FusedAdam, FusedAdamW
from tfsc.optimizers.lion import Lion
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.recipe import Recipe
from tfsc.schedules.compose import PerEpoch, Scaled
from tfsc.schedules.segments import SegmentSchedule
from tfsc.schedules.warm_restarts import WarmRestarts
from tfsc.training.optimizer import OPTIMIZERS, build_optimizer, first_moment_decay

GROUPS = {"no_decay": "bias, bn", "lr_factors": "bn_bias:64,head:0.5"}


def _built(**settings):
    schedule = SegmentSchedule("0.01", steps_per_epoch=10)
    if settings.get("optimizer") == "adamwr":
        settings["schedule"], schedule = "warm_restarts(0.01, 5)", WarmRestarts(0.01, 50)
    recipe = Recipe(**settings)
    return build_optimizer(recipe, schedule, recipe.parsed_momentum().constant())


@pytest.mark.parametrize(
    ("name", "settings", "kind", "expected"),
    [
        ("adamw", {}, FusedAdamW, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("adamw", {"beta_1": 0.5, "beta_2": 0.9}, FusedAdamW, {"beta_1": 0.5, "beta_2": 0.9}),
        ("adam", {"decoupled": False, "epsilon": 1e-4}, FusedAdam, {"epsilon": 1e-4}),
        ("sgd", {"momentum": "0.8"}, FusedSGD, {"momentum": 0.8, "nesterov": False}),
        ("sgd", {"decoupled": False, "nesterov": True}, FusedSGD, {"nesterov": True}),
        ("sgdw", {"nesterov": True}, FusedSGD, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", {}, FusedRMSprop, {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
        ("rmsprop", {"beta_2": 0.99, "decoupled": False}, FusedRMSprop, {"rho": 0.99}),
        ("adagrad", {"epsilon": 1e-3}, FusedAdagrad, {"epsilon": 1e-3}),
        ("adadelta", {}, FusedAdadelta, {"rho": 0.95}),
        ("adadelta", {"beta_2": 0.9, "epsilon": 1e-6}, FusedAdadelta, {"rho": 0.9}),
        ("lion", {}, Lion, {"beta_1": 0.9, "beta_2": 0.99}),
        ("lion", {"beta_1": 0.95, "beta_2": 0.98}, Lion, {"beta_1": 0.95, "beta_2": 0.98}),
        ("muon", {"nesterov": True}, Muon, {"momentum": 0.9, "nesterov": True, "steps": 3}),
        ("muon", {"muon_steps": 5}, Muon, {"momentum": 0.9, "nesterov": False, "steps": 5}),
    ],
)
def test_the_recipes_settings_are_the_optimizers(name, settings, kind, expected):
    optimizer = _built(optimizer=name, wd=0.25, global_clipnorm=2.0, **settings, **GROUPS)
    assert type(optimizer) is kind
    config = optimizer.get_config()
    expected |= {"name": name, "weight_decay": 0.25, "global_clipnorm": 2.0, "clipnorm": None}
    expected |= {"decoupled": settings.get("decoupled", True), "no_decay": ["bias", "bn"]}
    expected |= {"lr_factors": {"bn_bias": 64.0, "head": 0.5}}
    assert {setting: config[setting] for setting in expected} == expected
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("rest", "kind", "settings", "expected"),
    [
        ("sgd", FusedSGD, {"nesterov": True, "momentum": "0.85"}, {"momentum": 0.85}),
        ("adamw", FusedAdamW, {"beta_2": 0.95}, {"beta_2": 0.95}),
    ],
)
def test_what_muon_leaves_has_the_same_settings_but_does_not_clip_again(
    rest, kind, settings, expected
):
    optimizer = _built(optimizer="muon", muon_rest=rest, clipvalue=1.0, **settings, **GROUPS).rest
    config = optimizer.get_config()
    assert type(optimizer) is kind
    expected |= {"name": rest, "weight_decay": 0.19, "clipvalue": None, "no_decay": ["bias", "bn"]}
    expected |= {"nesterov": True} if rest == "sgd" else {}
    assert {setting: config[setting] for setting in expected} == expected
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_what_muon_leaves_may_have_a_momentum_of_its_own():
    recipe = Recipe(optimizer="muon", momentum="0.6", muon_rest_momentum="[0.95,0]lin[0.85,2]")
    schedule = SegmentSchedule("0.01", steps_per_epoch=10)
    falling = SegmentSchedule("[0.95,0]lin[0.85,2]", steps_per_epoch=10)
    optimizer = build_optimizer(recipe, schedule, 0.6, rest_momentum=falling)
    assert (optimizer.momentum, optimizer.rest.momentum) == (0.6, falling)
    optimizer = build_optimizer(recipe, schedule, 0.6, rest_momentum=0.0)
    assert (optimizer.momentum, optimizer.rest.momentum) == (0.6, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_epochs_before_freezing_are_steps_of_the_plan(name):
    recipe = Recipe(optimizer=name, freeze_after="bias:3, head:1.6", wd_factors="bn:0.5")
    plan = BatchPlan(62, ((0, 12), (2, 30)))
    optimizer = build_optimizer(recipe, SegmentSchedule("0.01", 5), 0.9, plan)
    for each in (optimizer, optimizer.rest) if name == "muon" else (optimizer,):
        assert each.freeze_after == {"bias": 12, "head": 8}
        assert each.wd_factors == {"bn": 0.5}


def test_lookahead_is_around_any_optimizer():
    optimizer = _built(optimizer="sgdw", lookahead=6, lookahead_alpha=0.8, clipnorm=1.0)
    assert type(optimizer) is Lookahead
    assert (optimizer.name, optimizer.every, optimizer.alpha) == ("lookahead", 6, 0.8)
    assert (optimizer.inner.name, optimizer.inner.clipnorm) == ("sgdw", 1.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_checkpoints_find_the_variables_by_names_that_do_not_change(name):
    """A second one in the process, of the same names."""
    seen = []
    for _ in range(2):
        with keras.name_scope("conv"):
            kernel = keras.Variable(np.ones((1, 1, 2, 2)), name="kernel")
            bias = keras.Variable(np.ones(2), name="bias")
        optimizer = _built(optimizer=name, wd=0.0)
        optimizer.build([kernel, bias])
        seen.append([variable.path for variable in optimizer.variables])
    assert seen[0] == seen[1]
    assert seen[0][0] == f"{name}/iteration"
    assert len(set(seen[0])) == len(seen[0]) >= 3


def test_adamwr_divides_its_decay_by_the_root_of_the_steps_in_a_restart():
    """λ = wd·√(1/steps)/α, so that rate·λ = η_t·wd·√(b/(B·T_i)); a scaled schedule scales α."""
    recipe = Recipe(optimizer="adamwr", wd=0.025, schedule="warm_restarts(1e-3, 4, mult=2)")
    schedule = Scaled(PerEpoch(WarmRestarts(1e-3, 16, 2.0), steps_per_epoch=4), 2.0)
    optimizer = build_optimizer(recipe, schedule, 0.9)
    decay = optimizer.weight_decay
    expected = {0: 16, 15: 16, 16: 32, 47: 32, 48: 64}  # step: steps in its restart
    for step, steps in expected.items():
        assert decay.value(step) == pytest.approx(0.025 / math.sqrt(steps) / 2e-3)
        assert float(decay(step)) == pytest.approx(0.025 / math.sqrt(steps) / 2e-3)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.weight_decay.value(16) == decay.value(16)
    weight = keras.Variable(np.ones(2, np.float32), name="kernel")
    optimizer.build([weight])
    optimizer.apply([np.zeros(2, np.float32)], [weight])
    np.testing.assert_allclose(weight, 1 - 0.025 / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "decay"),
    [
        ({"optimizer": "sgd"}, None),
        ({"optimizer": "muon"}, None),
        ({"optimizer": "adamw", "beta_1": 0.95}, 0.95),
        ({"optimizer": "adagrad"}, 0.0),
    ],
)
def test_what_the_noise_scale_takes_for_momentum(settings, decay):
    assert first_moment_decay(Recipe(**settings)) == decay
