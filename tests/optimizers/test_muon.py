"""`Muon` against NumPy in float64, what it takes for itself, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.optimizers.adam import FusedAdamW
from tfsc.optimizers.muon import Muon, orthogonalized
from tfsc.optimizers.sgd import FusedSGD
from tfsc.schedules.segments import SegmentSchedule

STEPS = 20
SHAPES = {
    "tall/kernel": (2, 2, 3, 5),
    "wide/kernel": (1, 1, 2, 6),
    "dw_depthwise/kernel": (3, 3, 4, 2),
    "single/kernel": (3, 3, 4, 1),
    "wide/bias": (6,),
    "logits/kernel": (7, 3),
}
FILTERS = ("tall/kernel", "wide/kernel")
RATE = SegmentSchedule("[0.1,0]lin[0.3,1]lin[0.01,2]", steps_per_epoch=STEPS // 2)
MOMENTUM = SegmentSchedule("[0.95,0]lin[0.6,2]", steps_per_epoch=STEPS // 2)


def newton_schulz(u, steps):
    x = u / (np.sqrt((u**2).sum()) + 1e-7)
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon(w, g, rate, momentum, state, nesterov=True, steps=3, renormalize=True):
    """One update; kernels as matrices of out × (in·height·width), as in PyTorch."""

    def as_matrix(v):
        return v.transpose(3, 2, 0, 1).reshape(v.shape[-1], -1)

    height, width, inputs, out = w.shape
    g, w = as_matrix(g), as_matrix(w)
    state["b"] = momentum * state.get("b", 0) + g
    u = g + momentum * state["b"] if nesterov else state["b"]
    w = w * np.sqrt(out) / np.linalg.norm(w) if renormalize else w
    w = w - rate * newton_schulz(u, steps)
    return w.reshape(out, inputs, height, width).transpose(2, 3, 1, 0)


def _draw(rng):
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def _variables(values):
    variables = []
    for name, value in values.items():
        layer, _, last = name.partition("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(value.astype(np.float32), name=last))
    return variables


@pytest.mark.parametrize(
    ("options", "momentum"),
    [
        ({}, lambda k: 0.6),
        ({"nesterov": False, "steps": 5, "renormalize": False}, lambda k: 0.6),
        ({"momentum": MOMENTUM}, MOMENTUM.value),
    ],
)
def test_it_follows_numpy_for_twenty_steps_and_the_rest_its_own_rule(options, momentum):
    rng = np.random.default_rng(0)
    weights = _draw(rng)
    variables, state = _variables(weights), {name: {} for name in SHAPES}
    # Clipping is over all; groups may name what is the other's.
    groups = {"no_decay": ["wide/bias"], "lr_factors": {"tall": 0.5, "logits": 2.0}}
    rest = FusedSGD(0.1, weight_decay=0.3, **groups)
    optimizer = Muon(RATE, rest=rest, weight_decay=0.2, global_clipnorm=2.0, **groups, **options)
    optimizer.build(variables)
    reference = {name: option for name, option in options.items() if name != "momentum"}
    step = tf.function(lambda *each: optimizer.apply(each, variables), autograph=False)
    for k in range(STEPS):
        gradients = _draw(rng)
        step(*(tf.constant(g, tf.float32) for g in gradients.values()))
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        for name, g in gradients.items():
            w, g = weights[name], g * min(1, 2 / norm)
            factor = {"tall/kernel": 0.5, "logits/kernel": 2.0}.get(name, 1)
            if name in FILTERS:
                rate = RATE.value(k) * factor
                weights[name] = muon(
                    w * (1 - rate * 0.2), g, rate, momentum(k), state[name], **reference
                )
            else:
                decay = 0 if name == "wide/bias" else 0.3
                weights[name] = w * (1 - 0.1 * factor * decay) - 0.1 * factor * g
    for variable in variables:
        np.testing.assert_allclose(
            variable.numpy(), weights[variable.path], rtol=2e-5, atol=5e-6, err_msg=variable.path
        )
    assert int(optimizer.iterations) == int(rest.iterations) == STEPS


@pytest.mark.parametrize(("steps", "least"), [(3, 0.40), (5, 0.68)])
@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_singular_values_of_an_update_are_near_one(shape, steps, least):
    rng = np.random.default_rng(0)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 0.02, len(v))
    matrix = u * values @ v
    update = orthogonalized(tf.constant(matrix, tf.float32), steps).numpy()
    assert update.shape == shape
    along = np.diag(u.T @ update @ v.T)  # the same singular vectors
    np.testing.assert_allclose(u * along @ v, update, atol=1e-5)
    assert least < along.min() < along.max() < 1.21


def test_nothing_becomes_of_a_gradient_that_is_nothing():
    np.testing.assert_array_equal(orthogonalized(tf.zeros((3, 4)), 3), np.zeros((3, 4)))


def test_it_computes_in_float32_whatever_the_gradients_are():
    kernel = _variables({"a/kernel": np.ones((1, 1, 2, 3))})
    optimizer = Muon(0.1)
    optimizer.build(kernel)
    optimizer.apply([tf.ones((1, 1, 2, 3), tf.bfloat16)], kernel)
    assert {v.dtype for v in optimizer.variables if "momentum" in v.path} == {"float32"}
    expected = muon(np.ones((1, 1, 2, 3)), np.ones((1, 1, 2, 3)), 0.1, 0.6, {})
    np.testing.assert_allclose(kernel[0].numpy(), expected, rtol=1e-6)


def test_its_variables_are_all_there_are_of_both():
    variables = _variables(_draw(np.random.default_rng(0)))
    optimizer = Muon(RATE, rest=FusedAdamW(RATE, 0.1, name="others"), name="muon")
    optimizer.build(variables)
    paths = [v.path for v in optimizer.variables]
    assert len(set(paths)) == len(paths) == 1 + 2 + 1 + 2 * 4
    assert {"muon/iteration", "others/iteration", "muon/tall_kernel_momentum"} <= set(paths)
    assert "others/dw_depthwise_kernel_velocity" in paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gradient_accumulation_steps": 2}, "no gradient accumulation"),
        ({"rest": keras.optimizers.SGD(use_ema=True)}, "rest must not have use_ema"),
        ({"rest": keras.optimizers.SGD(loss_scale_factor=8.0)}, "must not have loss_scale_factor"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_what_it_cannot_do_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Muon(0.1, **arguments)


def test_without_a_convolution_it_is_no_use():
    with pytest.raises(ValueError, match=r"at least one kernel of a convolution\. .*logits/kernel"):
        Muon(0.1).build(_variables({"logits/kernel": np.ones((2, 2))}))


def test_the_rest_may_be_keras_own():
    variables = _variables({"a/kernel": np.ones((1, 1, 2, 3)), "a/bias": np.ones(3)})
    optimizer = Muon(0.1, rest=keras.optimizers.SGD(0.5))
    optimizer.apply([tf.ones(v.shape) for v in variables], variables)
    np.testing.assert_array_equal(variables[1].numpy(), 0.5)
