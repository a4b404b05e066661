"""Rates, momenta and noise scales of a run, by hand."""

import pytest

from tfsc.data.batch_plan import BatchPlan
from tfsc.recipe import Recipe
from tfsc.training.scheduled_values import ScheduledValues, noise_scale


def _scheduled(count=1000, momentum="0.9", **settings):
    recipe = Recipe(optimizer=f"sgd({momentum})", batch_size=100, epochs=4, **settings)
    return ScheduledValues(recipe, BatchPlan(count, recipe.batch_sizes()))


def test_the_noise_scale_is_that_of_the_formula():
    assert noise_scale(0.1, 50_000, 125, 0.9) == pytest.approx(0.1 * 399 / 0.1)
    assert noise_scale(0.1, 64, 64, 0.9) == 0  # the gradient is exact


def test_columns_of_a_step():
    scheduled = _scheduled(schedule="one_cycle(0.4, start=0.1, peak=0.275, anneal=linear)",
                 momentum="inverse(0.95, 0.85)")  # fmt: skip
    assert scheduled.columns(10) == {
        "learning_rate": 0.4,
        "momentum": 0.85,
        "batch_size": 100,
        "noise_scale": pytest.approx(0.4 * 9 / 0.15, rel=1e-6),
    }


def test_adam_counts_its_first_moment():
    scheduled = ScheduledValues(
        Recipe(batch_size=100, schedule="0.1"), BatchPlan(1000, ((0, 100),))
    )
    assert scheduled.columns(3)["noise_scale"] == pytest.approx(0.1 * 9 / 0.1)


def test_the_linear_scaling_rule():
    assert _scheduled(schedule="0.1", scale_lr_from=25).columns(0)["learning_rate"] == 0.4


@pytest.mark.parametrize(("examples", "batch", "steps"), [(50_000, 128, 1000), (1437, 64, 100)])
def test_a_schedule_over_so_many_steps_ends_with_the_last_of_them(examples, batch, steps):
    """Steps over epochs and back, 1000/390·390, are more than 1000 in floats."""
    recipe = Recipe(batch_size=batch, steps=steps, schedule="one_cycle(1)")
    scheduled = ScheduledValues(recipe, BatchPlan(examples, ((0, batch),)))
    assert scheduled.columns(steps - 1)["learning_rate"] == pytest.approx(4e-6)
    assert scheduled.columns(steps - 2)["learning_rate"] > 4.1e-6


def test_growing_the_batch_keeps_the_noise_of_decaying_the_rate():
    """Where N is much larger than B: g falls by 5 either way."""
    decay = _scheduled(10**8, schedule="multistep(0.1, [2], gamma=0.2)")
    grow = _scheduled(10**8, schedule="0.1", batch_schedule="multistep(100, [2], gamma=5)")
    for epoch in (0, 1.5, 2, 3.9):
        at = [
            scheduled.columns(round(scheduled.plan.first_step(int(epoch)) + 7))
            for scheduled in (decay, grow)
        ]
        assert at[0]["noise_scale"] == pytest.approx(at[1]["noise_scale"], rel=1e-4)


def test_a_schedule_keeps_its_epochs_while_the_batch_grows():
    scheduled = _scheduled(schedule="[1,0]lin[3,4]", batch_schedule="[100,0]const[500,2]")
    # 10 steps an epoch, then 2.
    assert [scheduled.columns(step)["learning_rate"] for step in (0, 10, 20, 21, 22, 23)] == [
        1, 1.5, 2, 2.25, 2.5, 2.75,
    ]  # fmt: skip
    assert scheduled.columns(23)["batch_size"] == 500


def test_a_schedule_over_the_whole_run_ends_with_it():
    scheduled = _scheduled(schedule="polynomial(1)", steps=22, batch_schedule="[100,0]const[500,2]")
    # 22 steps are 3 epochs.
    assert scheduled.columns(10)["learning_rate"] == pytest.approx(2 / 3)
    assert scheduled.columns(21)["learning_rate"] == pytest.approx(1 / 6)
