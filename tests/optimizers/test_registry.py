"""--optimizer and the settings around it: what is built of them."""

import keras
import numpy as np
import pytest

from tfsc.optimizers import registry
from tfsc.optimizers.adadelta import FusedAdadelta
from tfsc.optimizers.adagrad import FusedAdagrad
from tfsc.optimizers.adam import FusedAdam, FusedAdamW
from tfsc.optimizers.lion import Lion
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.recipe import Recipe
from tfsc.schedules.segments import SegmentSchedule

GROUPS = {"no_decay": "bias, bn", "lr_factors": "bn_bias:64,head:0.5"}


def _built(**settings):
    return registry.build(Recipe(**settings), SegmentSchedule("0.01", steps_per_epoch=10))


@pytest.mark.parametrize(
    ("name", "settings", "kind", "expected"),
    [
        ("adamw", {}, FusedAdamW, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("adamw", {"beta_1": 0.5, "beta_2": 0.9}, FusedAdamW, {"beta_1": 0.5, "beta_2": 0.9}),
        ("adam", {"decoupled": False, "epsilon": 1e-4}, FusedAdam, {"epsilon": 1e-4}),
        ("sgd", {"momentum": 0.8}, FusedSGD, {"momentum": 0.8, "nesterov": False}),
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
        ("sgd", FusedSGD, {"nesterov": True, "momentum": 0.85}, {"momentum": 0.85}),
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


def test_lookahead_is_around_any_optimizer():
    optimizer = _built(optimizer="sgdw", lookahead=6, lookahead_alpha=0.8, clipnorm=1.0)
    assert type(optimizer) is Lookahead
    assert (optimizer.name, optimizer.every, optimizer.alpha) == ("lookahead", 6, 0.8)
    assert (optimizer.inner.name, optimizer.inner.clipnorm) == ("sgdw", 1.0)


@pytest.mark.parametrize("name", registry.OPTIMIZERS)
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
