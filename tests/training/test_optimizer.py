"""--optimizer and the settings around it: what is built of them."""

import math

import keras
import numpy as np
import pytest

from tfsc.data.batch_plan import BatchPlan
from tfsc.optimizers import OPTIMIZERS
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
from tfsc.training.optimizer import build_optimizer, first_moment_decay

GROUPS = {"no_decay": "bias, bn", "lr_factors": "bn_bias:64,head:0.5"}


def _built(**settings):
    schedule = SegmentSchedule("0.01", steps_per_epoch=10)
    if settings.get("optimizer") == "adamwr":
        settings["schedule"], schedule = "warm_restarts(0.01, 5)", WarmRestarts(0.01, 50)
    return build_optimizer(Recipe(**settings), schedule)


@pytest.mark.parametrize(
    ("text", "decoupled", "kind", "expected"),
    [
        ("adamw", True, FusedAdamW, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("adamw(0.5, beta_2=0.9)", True, FusedAdamW, {"beta_1": 0.5, "beta_2": 0.9}),
        ("adam(epsilon=1e-4)", False, FusedAdam, {"epsilon": 1e-4}),
        ("sgd(0.8)", True, FusedSGD, {"momentum": 0.8, "nesterov": False}),
        ("sgd(0.9, nesterov)", False, FusedSGD, {"momentum": 0.9, "nesterov": True}),
        ("sgd", False, FusedSGD, {"momentum": 0.0, "nesterov": False}),
        ("sgdw(0.9, nesterov)", True, FusedSGD, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", True, FusedRMSprop, {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
        ("rmsprop(0.99)", False, FusedRMSprop, {"rho": 0.99}),
        ("adagrad(1e-3)", True, FusedAdagrad, {"epsilon": 1e-3}),
        ("adadelta", True, FusedAdadelta, {"rho": 0.95}),
        ("adadelta(0.9, 1e-6)", True, FusedAdadelta, {"rho": 0.9, "epsilon": 1e-6}),
        ("lion", True, Lion, {"beta_1": 0.9, "beta_2": 0.99}),
        ("lion(0.95, 0.98)", True, Lion, {"beta_1": 0.95, "beta_2": 0.98}),
        ("muon", True, Muon, {"momentum": 0.6, "nesterov": True, "steps": 3}),
        (
            "muon(0.9, nesterov=false, steps=5)",
            True,
            Muon,
            {"momentum": 0.9, "nesterov": False, "steps": 5},
        ),
    ],
)
def test_the_recipes_settings_are_the_optimizers(text, decoupled, kind, expected):
    settings = {"wd": 0.25, "clip": "global_norm(2)", "decoupled": decoupled}
    optimizer = _built(optimizer=text, **settings, **GROUPS)
    assert type(optimizer) is kind
    config = optimizer.get_config()
    expected |= {"name": text.partition("(")[0], "weight_decay": 0.25, "decoupled": decoupled}
    expected |= {"global_clipnorm": 2.0, "clipnorm": None, "no_decay": ["bias", "bn"]}
    expected |= {"lr_factors": {"bn_bias": 64.0, "head": 0.5}}
    assert {setting: config[setting] for setting in expected} == expected
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("muon(0.85)", FusedSGD, {"name": "sgd", "momentum": 0.85, "nesterov": True}),
        ("muon(0.85, nesterov=false)", FusedSGD, {"momentum": 0.85, "nesterov": False}),
        ("muon(rest=sgd(0.7))", FusedSGD, {"momentum": 0.7, "nesterov": False}),
        ("muon(rest=adamw(beta_2=0.95))", FusedAdamW, {"name": "adamw", "beta_2": 0.95}),
    ],
)
def test_what_muon_leaves_has_the_same_settings_but_does_not_clip_again(text, kind, expected):
    built = _built(optimizer=text, clip="value(1)", **GROUPS)
    assert built.clipvalue == 1
    optimizer = built.rest
    config = optimizer.get_config()
    assert type(optimizer) is kind
    expected |= {"weight_decay": 0.19, "clipvalue": None, "no_decay": ["bias", "bn"]}
    assert {setting: config[setting] for setting in expected} == expected
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_what_muon_leaves_may_have_a_momentum_of_its_own():
    recipe = Recipe(optimizer="muon(0.6, rest=sgd([0.95,0]lin[0.85,2]))")
    schedule = SegmentSchedule("0.01", steps_per_epoch=10)
    falling = SegmentSchedule("[0.95,0]lin[0.85,2]", steps_per_epoch=10)
    asked = {"[0.6,0]": 0.6, "[0.95,0]lin[0.85,2]": falling}
    optimizer = build_optimizer(recipe, schedule, lambda text: asked[str(text)])
    assert (optimizer.momentum, optimizer.rest.momentum) == (0.6, falling)
    optimizer = _built(optimizer="muon(0.6, rest=sgd(0))")
    assert (optimizer.momentum, optimizer.rest.momentum) == (0.6, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_epochs_before_freezing_are_steps_of_the_plan(name):
    recipe = Recipe(optimizer=name, freeze_after="bias:3, head:1.6", wd_factors="bn:0.5")
    plan = BatchPlan(62, ((0, 12), (2, 30)))
    optimizer = build_optimizer(recipe, SegmentSchedule("0.01", 5), plan=plan)
    for each in (optimizer, optimizer.rest) if name == "muon" else (optimizer,):
        assert each.freeze_after == {"bias": 12, "head": 8}
        assert each.wd_factors == {"bn": 0.5}


def test_lookahead_is_around_any_optimizer():
    optimizer = _built(optimizer="lookahead(sgdw, every=6, alpha=0.8)", clip="norm(1)")
    assert type(optimizer) is Lookahead
    assert (optimizer.name, optimizer.every, optimizer.alpha) == ("lookahead", 6, 0.8)
    assert (optimizer.inner.name, optimizer.inner.clipnorm) == ("sgdw", 1.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_checkpoints_find_the_variables_by_names_that_do_not_change(name):
    """A second one in the process, of the same names."""
    texts = {"sgd": "sgd(0.9)", "sgdw": "sgdw(0.9)", "lookahead": "lookahead(adamw)"}
    text, seen = texts.get(name, name), []
    for _ in range(2):
        with keras.name_scope("conv"):
            kernel = keras.Variable(np.ones((1, 1, 2, 2)), name="kernel")
            bias = keras.Variable(np.ones(2), name="bias")
        optimizer = _built(optimizer=text, wd=0.0)
        optimizer.build([kernel, bias])
        seen.append([variable.path for variable in optimizer.variables])
    assert seen[0] == seen[1]
    assert seen[0][0] == f"{name}/iteration"
    assert len(set(seen[0])) == len(seen[0]) >= 3


def test_adamwr_divides_its_decay_by_the_root_of_the_steps_in_a_restart():
    """λ = wd·√(1/steps)/α, so that rate·λ = η_t·wd·√(b/(B·T_i)); a scaled schedule scales α."""
    recipe = Recipe(optimizer="adamwr", wd=0.025, schedule="warm_restarts(1e-3, 4, mult=2)")
    schedule = Scaled(PerEpoch(WarmRestarts(1e-3, 16, 2.0), steps_per_epoch=4), 2.0)
    optimizer = build_optimizer(recipe, schedule)
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
    ("optimizer", "decay"),
    [
        ("sgd(0.9)", None),
        ("muon", None),
        ("lookahead(sgd)", None),
        ("adamw(0.95)", 0.95),
        ("lookahead(lion)", 0.9),
        ("adagrad", 0.0),
    ],
)
def test_what_the_noise_scale_takes_for_momentum(optimizer, decay):
    assert first_moment_decay(Recipe(optimizer=optimizer)) == decay
