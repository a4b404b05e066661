"""--optimizer: the update each name stands for, in NumPy."""

import keras
import numpy as np
import pytest

from tfsc.optimizers import registry
from tfsc.recipe import Recipe
from tfsc.schedules.segments import SegmentSchedule

RATE, STEPS = 0.01, 5


def _updates(recipe):
    """Weights after each step under fixed gradients."""
    rng = np.random.default_rng(0)
    weight = keras.Variable(rng.normal(size=4).astype(np.float32))
    gradients = rng.normal(size=(STEPS, 4)).astype(np.float32)
    optimizer = registry.build(recipe, SegmentSchedule(str(RATE), steps_per_epoch=10))
    seen = [weight.numpy().astype(np.float64)]
    for gradient in gradients:
        optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient), weight)])
        seen.append(weight.numpy())
    return seen[0], gradients.astype(np.float64), seen[1:]


def _adam(weight, gradients, wd):
    m = v = 0.0
    for k, g in enumerate(gradients, 1):
        weight = weight - RATE * wd * weight
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rate = RATE * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        weight = weight - rate * m / (np.sqrt(v) + 1e-7)
        yield weight


def _sgd(weight, gradients, wd, momentum):
    velocity = 0.0
    for g in gradients:
        weight = weight - RATE * wd * weight
        velocity = momentum * velocity - RATE * g
        weight = weight + velocity
        yield weight


@pytest.mark.parametrize("wd", [0.0, 0.19])
def test_adamw_decays_by_rate_times_wd(wd):
    start, gradients, seen = _updates(Recipe(optimizer="adamw", wd=wd))
    np.testing.assert_allclose(seen, list(_adam(start, gradients, wd)), rtol=1e-5, atol=1e-7)


def test_adam_has_no_decay():
    start, gradients, seen = _updates(Recipe(optimizer="adam", wd=0.0))
    np.testing.assert_allclose(seen, list(_adam(start, gradients, 0.0)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("wd", "momentum"), [(0.0, 0.9), (0.5, 0.0), (0.5, 0.9)])
def test_sgd_has_momentum_and_decoupled_decay(wd, momentum):
    recipe = Recipe(optimizer="sgd", wd=wd, momentum=momentum)
    start, gradients, seen = _updates(recipe)
    expected = list(_sgd(start, gradients, wd, momentum))
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-7)
