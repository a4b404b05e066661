"""The pipelines are pure functions of (seed, step), and their order is a good shuffle."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfsc import random
from tfsc.data import example_and_epoch
from tfsc.data.batch_plan import BatchPlan
from tfsc.data.examples import Examples
from tfsc.data.pipeline import TrainingPipeline, evaluation_batches


def _examples(n=60):
    """Images and labels that hold their index."""
    images = np.arange(n, dtype=np.uint16).view(np.uint8).reshape(n, 1, 2, 1)
    return Examples(images, np.arange(n, dtype=np.int32))


def _steps(pipeline, start, stop):
    return list(pipeline.batches(start, stop).as_numpy_iterator())


def _orders(n, seed, epochs):
    """The order of each epoch, [epochs, n]."""
    pipeline = TrainingPipeline(_examples(n), n, seed)
    return np.stack([batch["label"] for batch in _steps(pipeline, 0, epochs)])


def _drawn(n, seed, epochs):
    """The same without the pipeline, which takes a third of a second to trace.

    That they are the same is test_every_epoch_and_seed_has_an_order_of_its_own.
    """
    draw = functools.partial(random.permutation, seed, random.ORDER, count=n)
    if epochs > 100:
        draw = tf.function(draw, autograph=False)
    return np.stack([draw(tf.constant(epoch, tf.int64)) for epoch in range(epochs)])


def _joined(batches):
    return np.concatenate([batch["label"] for batch in batches])


def test_an_epoch_has_every_example_once():
    pipeline = TrainingPipeline(_examples(60), 12, seed=0)
    assert pipeline.steps_per_epoch == 5
    for epoch in range(3):
        labels = _joined(_steps(pipeline, 5 * epoch, 5 * epoch + 5))
        assert sorted(labels) == list(range(60))
        assert labels.tolist() != list(range(60))


def test_what_full_batches_leave_over_changes_from_epoch_to_epoch():
    pipeline = TrainingPipeline(_examples(62), 12, seed=0)
    assert pipeline.steps_per_epoch == 5
    epochs = _joined(_steps(pipeline, 0, 300)).reshape(60, 60)
    left_over = [set(range(62)) - set(epoch) for epoch in epochs]
    assert all(len(rest) == 2 for rest in left_over)
    # 120 chances for 62 examples: a rest that stayed put would be two of them.
    assert len(set().union(*left_over)) > 30


def test_image_and_label_belong_together():
    for batch in _steps(TrainingPipeline(_examples(60), 12, seed=0), 0, 5):
        held = np.ascontiguousarray(batch["image"]).reshape(-1, 2).view(np.uint16).ravel()
        np.testing.assert_array_equal(held, batch["label"])


def test_batches_are_full_and_typed_before_they_run():
    spec = TrainingPipeline(_examples(62), 12, seed=0).batches(0, 1).element_spec
    assert spec["image"] == tf.TensorSpec([12, 1, 2, 1], tf.uint8)
    assert spec["label"] == tf.TensorSpec([12], tf.int32)
    assert spec["number"] == spec["visit"] == tf.TensorSpec([12], tf.int64)


def test_any_range_of_steps_equals_the_same_steps_of_a_longer_one():
    # Across the boundary of an epoch, from a pipeline made anew: this is what resuming does.
    whole = _steps(TrainingPipeline(_examples(60), 9, seed=5), 0, 20)
    part = _steps(TrainingPipeline(_examples(60), 9, seed=5), 5, 9)
    assert len(part) == 4
    for one, other in zip(whole[5:9], part, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_numbers_count_all_samples_of_the_run():
    batches = _steps(TrainingPipeline(_examples(62), 12, seed=0), 3, 13)
    numbers = np.concatenate([batch["number"] for batch in batches])
    assert numbers.tolist() == list(range(36, 156))


def test_visits_tell_the_example_and_the_epoch():
    for step, batch in enumerate(_steps(TrainingPipeline(_examples(62), 12, seed=0), 3, 13), 3):
        examples, epochs = example_and_epoch.split(batch["visit"])
        np.testing.assert_array_equal(examples, batch["label"])
        assert set(epochs.numpy()) == {step // 5}
        np.testing.assert_array_equal(example_and_epoch.join(examples, epochs), batch["visit"])


def test_numbers_of_a_long_run_do_not_wrap():
    (batch,) = _steps(TrainingPipeline(_examples(60), 12, seed=0), 2**33, 2**33 + 1)
    assert batch["number"].tolist() == list(range(12 * 2**33, 12 * 2**33 + 12))


def test_every_epoch_and_seed_has_an_order_of_its_own():
    # tf.random.experimental.index_shuffle, which fails here, reads 8 bits of its seeds.
    orders = {
        seed: _orders(60, seed, count) for seed, count in ((0, 520), (256, 8), (2**31 - 1, 8))
    }
    assert len(np.unique(np.concatenate([*orders.values()]), axis=0)) == 520 + 8 + 8
    for seed, found in orders.items():
        np.testing.assert_array_equal(found[:8], _drawn(60, seed, 8))


# A sound shuffle fails each of the next checks one time in 10,000; their seeds are fixed.


@pytest.mark.parametrize("n", [10, 37])
def test_every_example_is_equally_often_at_every_place(n):
    orders = _drawn(n, seed=0, epochs=1000)
    table = np.stack([np.bincount(orders[:, place], minlength=n) for place in range(n)])
    expected = 1000 / n
    chi_square = ((table - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(chi_square, (n - 1) ** 2) > 1e-4


@pytest.mark.parametrize("n", [1437, 10_000, 50_000])
@pytest.mark.parametrize("what", ["epoch", "seed"])
def test_an_order_tells_nothing_about_that_of_the_next(what, n):
    if what == "epoch":
        orders = _orders(n, seed=0, epochs=6)
    else:
        orders = np.concatenate([_drawn(n, seed, epochs=1) for seed in range(6)])
    batch_of = np.argsort(orders, axis=1) // 64
    for i in range(5):
        assert stats.pearsonr(orders[i], orders[i + 1]).pvalue > 1e-4 / 5
        # Pairs that share a batch of 64 in both, against what chance gives.
        together = _pairs(np.bincount(batch_of[i] * (n // 64 + 1) + batch_of[i + 1]))
        expected = _pairs(np.bincount(batch_of[i])) ** 2 / _pairs(np.array([n]))
        assert abs(together - expected) < 5 * np.sqrt(expected)


def _pairs(sizes):
    return (sizes * (sizes - 1.0) / 2).sum()


@pytest.mark.parametrize("batch_size", [0, -1, 61])
def test_a_batch_size_out_of_range_is_named(batch_size):
    with pytest.raises(ValueError, match=f"from 1 to 60. Received: {batch_size}"):
        TrainingPipeline(_examples(60), batch_size, seed=0)


@pytest.mark.parametrize(("n", "batch_size", "full"), [(10, 4, 3), (12, 4, 3), (3, 500, 1)])
def test_evaluation_has_each_example_once_in_order_and_full_batches(n, batch_size, full):
    batches = list(evaluation_batches(_examples(n), batch_size).as_numpy_iterator())
    assert len(batches) == full
    size = min(batch_size, n)
    assert all(len(batch[key]) == size for batch in batches for key in batch)
    weights = np.concatenate([batch["weight"] for batch in batches])
    assert weights.dtype == np.float32
    assert weights.tolist() == [1] * n + [0] * (full * size - n)
    assert _joined(batches)[weights == 1].tolist() == list(range(n))
    images = np.concatenate([batch["image"] for batch in batches])[weights == 1]
    np.testing.assert_array_equal(images, _examples(n).images)


def test_evaluation_is_the_same_each_time():
    dataset = evaluation_batches(_examples(10), 4)
    for one, other in zip(dataset, dataset, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_no_thread_of_autotuning_can_hold_up_the_end_of_an_epoch():
    """With it, letting go of an iterator after t seconds takes up to t more, at times (TF 2.21)."""
    pipeline = TrainingPipeline(_examples(), BatchPlan(60, ((0, 10),)), seed=0)
    assert pipeline.batches(0, 5).options().autotune.enabled is False
    assert evaluation_batches(_examples()).options().autotune.enabled is False
