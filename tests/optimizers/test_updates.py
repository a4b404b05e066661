"""Every optimizer's rule and option, for twenty updates, against NumPy in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.optimizers.adadelta import FusedAdadelta
from tfsc.optimizers.adagrad import FusedAdagrad
from tfsc.optimizers.adam import FusedAdam, FusedAdamW
from tfsc.optimizers.lion import Lion
from tfsc.optimizers.rmsprop import FusedRMSprop
from tfsc.optimizers.sgd import FusedSGD
from tfsc.schedules.segments import SegmentSchedule

STEPS, WD = 20, 0.7
SHAPES = {"conv/kernel": (3, 2, 2), "conv/bias": (4,), "norm/gamma": (4,), "norm/beta": (4,)}
RATE = SegmentSchedule("[1e-2,0]lin[3e-2,1]cos[1e-3,2]", steps_per_epoch=STEPS // 2)
# Adadelta's own steps are as small as √ε.
ZEILER = SegmentSchedule("[1,0]lin[30,1]cos[1,2]", steps_per_epoch=STEPS // 2)
MOMENTUM = SegmentSchedule("[0.95,0]lin[0.85,1]lin[0.95,2]", steps_per_epoch=STEPS // 2)
DECAY = SegmentSchedule("[0.5,0]cos[2,2]", steps_per_epoch=STEPS // 2)
GROUPS = {
    "no_decay": ("bias", "bn_scale"),
    "lr_factors": {"bn": 2.0, "norm/gamma": 0.5, "bn_bias": 3.0},
}
FACTORS = {"norm/gamma": 0.5, "norm/beta": 3.0}


# --- the rules ----------------------------------------------------------------------------------
# (weight, gradient, rate, update 0, 1, …, state that begins with zeros) → weight


def sgd(w, g, rate, k, s, momentum=lambda k: 0.0, nesterov=False):
    s["m"] = momentum(k) * s["m"] - rate * g
    return w + (momentum(k) * s["m"] - rate * g if nesterov else s["m"])


def adam(w, g, rate, k, s, b1=0.9, b2=0.999, epsilon=1e-7):
    s["m"] = b1 * s["m"] + (1 - b1) * g
    s["v"] = b2 * s["v"] + (1 - b2) * g**2
    rate = rate * np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1))
    return w - rate * s["m"] / (np.sqrt(s["v"]) + epsilon)


def amsgrad(w, g, rate, k, s, b1=0.9, b2=0.7, epsilon=1e-7):
    s["m"] = b1 * s["m"] + (1 - b1) * g
    s["v"] = b2 * s["v"] + (1 - b2) * g**2
    s["hat"] = np.maximum(s["hat"], s["v"])
    rate = rate * np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1))
    return w - rate * s["m"] / (np.sqrt(s["hat"]) + epsilon)


def rmsprop(w, g, rate, k, s, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    s["v"] = rho * s["v"] + (1 - rho) * g**2
    s["mean"] = rho * s["mean"] + (1 - rho) * g
    variance = s["v"] - s["mean"] ** 2 * centered
    s["m"] = momentum * s["m"] + rate * g / np.sqrt(variance + epsilon)
    return w - s["m"]


def adagrad(w, g, rate, k, s, start=0.1, epsilon=1e-7):
    s["sum"] = s["sum"] + g**2
    return w - rate * g / (np.sqrt(start + s["sum"]) + epsilon)


def adadelta(w, g, rate, k, s, rho=0.95, epsilon=1e-7):
    s["v"] = rho * s["v"] + (1 - rho) * g**2
    delta = np.sqrt(s["d"] + epsilon) / np.sqrt(s["v"] + epsilon) * g
    s["d"] = rho * s["d"] + (1 - rho) * delta**2
    return w - rate * delta


def lion(w, g, rate, k, s, b1=0.9, b2=0.99):
    step = np.sign(b1 * s["m"] + (1 - b1) * g)
    s["m"] = b2 * s["m"] + (1 - b2) * g
    return w - rate * step


def cyclical(nesterov):
    return lambda *a: sgd(*a, momentum=MOMENTUM.value, nesterov=nesterov)


def with_momentum(nesterov):
    return lambda *a: sgd(*a, momentum=lambda k: 0.9, nesterov=nesterov)


RULES = {
    "sgd": (FusedSGD, {}, sgd),
    "momentum": (FusedSGD, {"momentum": 0.9}, with_momentum(False)),
    "nesterov": (FusedSGD, {"momentum": 0.9, "nesterov": True}, with_momentum(True)),
    "cyclical": (FusedSGD, {"momentum": MOMENTUM}, cyclical(False)),
    "cyclical nesterov": (FusedSGD, {"momentum": MOMENTUM, "nesterov": True}, cyclical(True)),
    "adam": (FusedAdam, {}, adam),
    "adamw": (
        FusedAdamW,
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        lambda *a: adam(*a, b1=0.5, b2=0.9, epsilon=1e-3),
    ),
    "amsgrad": (FusedAdam, {"amsgrad": True, "beta_2": 0.7}, amsgrad),
    "rmsprop": (FusedRMSprop, {}, rmsprop),
    "rmsprop centered": (
        FusedRMSprop,
        {"rho": 0.8, "momentum": 0.7, "epsilon": 1e-3, "centered": True},
        lambda *a: rmsprop(*a, rho=0.8, momentum=0.7, epsilon=1e-3, centered=True),
    ),
    "adagrad": (
        FusedAdagrad,
        {"initial_accumulator_value": 0.3, "epsilon": 1e-2},
        lambda *a: adagrad(*a, start=0.3, epsilon=1e-2),
    ),
    "adadelta": (
        FusedAdadelta,
        {"learning_rate": ZEILER, "rho": 0.8},
        lambda *a: adadelta(*a, 0.8),
    ),
    "lion": (Lion, {"beta_2": 0.9}, lambda *a: lion(*a, b2=0.9)),
}


# --- both sides ---------------------------------------------------------------------------------


def start_and_gradients():
    rng = np.random.default_rng(0)

    def draw():
        return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}

    return draw(), [draw() for _ in range(STEPS)]


def trained(optimizer):
    """Weights after twenty updates, by path."""
    start, gradients = start_and_gradients()
    variables = []
    for name, value in start.items():
        layer, _, last = name.partition("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(value.astype(np.float32), name=last))
    optimizer.build(variables)
    step = tf.function(lambda *each: optimizer.apply(each, variables), autograph=False)
    for of_step in gradients:
        step(*(tf.constant(g, tf.float32) for g in of_step.values()))
    return {variable.path: variable.numpy() for variable in variables}


def expected(rule, rate=RATE, wd=lambda k: 0.0, decoupled=True, groups=False, clip=lambda gs: gs):
    """The same in float64."""
    weights, gradients = start_and_gradients()
    state = {name: dict.fromkeys(("m", "v", "hat", "mean", "sum", "d"), 0.0) for name in SHAPES}
    for k, of_step in enumerate(gradients):
        for name, g in clip(of_step).items():
            w, own = weights[name], rate.value(k) * (FACTORS.get(name, 1) if groups else 1)
            decay = 0.0 if groups and name in ("conv/bias", "norm/gamma") else wd(k)
            w, g = (w - own * decay * w, g) if decoupled else (w, g + decay * w)
            weights[name] = rule(w, g, own, k, state[name])
    return weights


def assert_same(ours, reference):
    start, _ = start_and_gradients()
    for name, weight in ours.items():
        assert np.abs(reference[name] - start[name]).max() > 0.01  # there is something to see
        np.testing.assert_allclose(weight, reference[name], rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("decoupled", [True, False], ids=["decoupled", "coupled"])
@pytest.mark.parametrize("name", RULES)
def test_the_rule_with_decay_and_groups(name, decoupled):
    kind, arguments, rule = RULES[name]
    arguments = {"learning_rate": RATE, "weight_decay": WD, "decoupled": decoupled} | arguments
    reference = expected(
        rule, arguments["learning_rate"], lambda k: WD, decoupled=decoupled, groups=True
    )
    assert_same(trained(kind(**arguments, **GROUPS)), reference)


@pytest.mark.parametrize("decoupled", [True, False], ids=["decoupled", "coupled"])
def test_the_decay_may_be_a_schedule(decoupled):
    optimizer = FusedAdam(RATE, weight_decay=DECAY, decoupled=decoupled)
    assert_same(trained(optimizer), expected(adam, wd=DECAY.value, decoupled=decoupled))


@pytest.mark.parametrize("kind", [FusedSGD, FusedAdam])
def test_without_decay_there_is_none(kind):
    rule = {FusedSGD: sgd, FusedAdam: adam}[kind]
    for none in (None, 0.0):
        assert_same(trained(kind(RATE, weight_decay=none)), expected(rule))


def _each_norm(gradients):
    return {name: g * min(1, 0.5 / np.linalg.norm(g)) for name, g in gradients.items()}


def _global_norm(gradients):
    norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    return {name: g * min(1, 0.5 / norm) for name, g in gradients.items()}


def _each_value(gradients):
    return {name: np.clip(g, -0.5, 0.5) for name, g in gradients.items()}


@pytest.mark.parametrize(
    ("argument", "clip"),
    [("clipnorm", _each_norm), ("global_clipnorm", _global_norm), ("clipvalue", _each_value)],
)
def test_gradients_are_clipped_before_the_coupled_decay_joins_them(argument, clip):
    optimizer = FusedSGD(RATE, 0.9, weight_decay=WD, decoupled=False, **{argument: 0.5})
    reference = expected(with_momentum(False), wd=lambda k: WD, decoupled=False, clip=clip)
    assert_same(trained(optimizer), reference)


def test_coupled_sgd_is_caffes():
    """Smith's v ← μ·v + η·(g + λ·w), w ← w − v, written as Caffe has it."""

    def caffe(w, g, rate, k, s):
        s["v"] = 0.9 * s["v"] + rate * (g + WD * w)
        return w - s["v"]

    optimizer = FusedSGD(RATE, 0.9, weight_decay=WD, decoupled=False)
    assert_same(trained(optimizer), expected(caffe))
