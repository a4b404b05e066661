"""`BatchPlan` by hand, and the pipeline that follows it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsc.data import example_and_epoch
from tfsc.data.batch_plan import BatchPlan
from tfsc.data.examples import Examples
from tfsc.data.pipeline import TrainingPipeline

# 10 epochs of 5 steps of 12, then 2 of 2 of 30, then 1 of 60.
PLAN = BatchPlan(62, ((0, 12), (10, 30), (12, 60)))


def test_stages_count_steps_and_samples():
    assert [(s.step, s.sample, s.steps_per_epoch) for s in PLAN.stages] == [
        (0, 0, 5),
        (50, 600, 2),
        (54, 720, 1),
    ]


@pytest.mark.parametrize(
    ("step", "epochs", "batch_size"),
    [
        (0, 0, 12),
        (7, 1.4, 12),
        (49, 9.8, 12),
        (50, 10, 30),
        (51, 10.5, 30),
        (54, 12, 60),
        (56, 14, 60),
    ],
)
def test_a_step_has_its_place(step, epochs, batch_size):
    assert PLAN.epochs(step) == pytest.approx(epochs)
    assert PLAN.at_step(step).batch_size == batch_size


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40))
def test_each_epoch_begins_at_its_first_step(epoch):
    assert PLAN.epochs(PLAN.first_step(epoch)) == epoch
    assert PLAN.at_epoch(epoch) == PLAN.at_step(PLAN.first_step(epoch))


@pytest.mark.parametrize("sizes", [(), ((1, 5),), ((0, 5), (0, 6)), ((0, 0),), ((0, 63),)])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="Received"):
        BatchPlan(62, sizes)


def test_the_pipeline_follows_the_plan():
    examples = Examples(np.zeros((62, 2, 2, 1), np.uint8), np.arange(62, dtype=np.int32))
    pipeline = TrainingPipeline(examples, PLAN, seed=3)
    whole = [b for b in pipeline.batches(48, 57).as_numpy_iterator()]
    assert [len(batch["label"]) for batch in whole] == [12, 12, 30, 30, 30, 30, 60, 60, 60]
    numbers = np.concatenate([batch["number"] for batch in whole])
    np.testing.assert_array_equal(numbers, np.arange(48 * 12, 600 + 4 * 30 + 3 * 60))
    places = [example_and_epoch.split(batch["visit"]) for batch in whole]
    assert [set(epochs.numpy()) for _, epochs in places] == [
        {9}, {9}, {10}, {10}, {11}, {11}, {12}, {13}, {14}
    ]  # fmt: skip
    for batch, (examples_of, _) in zip(whole, places, strict=True):
        np.testing.assert_array_equal(examples_of, batch["label"])
    # Epoch 11's order is that of a run whose batch never grew, and each example comes once.
    steady = TrainingPipeline(examples, 30, seed=3).batches(22, 24).as_numpy_iterator()
    for batch, other in zip(whole[4:6], steady, strict=True):
        np.testing.assert_array_equal(batch["label"], other["label"])
    assert len(np.unique(np.concatenate([batch["label"] for batch in whole[4:6]]))) == 60
    (part,) = pipeline.batches(53, 54).as_numpy_iterator()
    np.testing.assert_array_equal(part["label"], whole[5]["label"])


def test_a_plan_is_for_its_examples():
    examples = Examples(np.zeros((60, 2, 2, 1), np.uint8), np.zeros(60, np.int32))
    with pytest.raises(ValueError, match=r"must be for 60 examples\. Received: 62"):
        TrainingPipeline(examples, PLAN, seed=3)
