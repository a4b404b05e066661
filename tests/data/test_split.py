"""Splits: which image is where, in equal class shares, by the seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsc.data.examples import Examples, Source
from tfsc.data.split import split, stratified_draw
from tfsc.errors import DataError


def _source(n_train=200, n_test=50, classes=5):
    """Images that hold their own index, counted through train and then test."""
    n = n_train + n_test
    index = np.arange(n, dtype=np.uint16)
    images = index.view(np.uint8).reshape(n, 1, 2, 1)
    labels = (np.arange(n) * 7 % classes).astype(np.int32)
    return Source(
        "toy",
        "1.0.0",
        Examples(images[:n_train], labels[:n_train]),
        Examples(images[n_train:], labels[n_train:]),
        tuple("abcdefghij"[:classes]),
        "0" * 16,
    )


def _held(examples):
    return np.ascontiguousarray(examples.images).reshape(-1, 2).view(np.uint16).ravel()


def _assert_true_to(source, result):
    """Indices name the images and labels that are there, in rising order, in no set twice."""
    labels = np.concatenate([source.train.labels, source.test.labels])
    for examples, indices in (
        (result.train, result.train_indices),
        (result.val, result.val_indices),
    ):
        np.testing.assert_array_equal(_held(examples), indices)
        np.testing.assert_array_equal(examples.labels, labels[indices])
        assert np.all(np.diff(indices) > 0)
        assert examples.images.dtype == np.uint8 and examples.labels.dtype == np.int32
    assert not set(result.train_indices) & set(result.val_indices)


def _counts(examples):
    return np.bincount(examples.labels, minlength=5).tolist()


def test_test_validates_with_the_official_split():
    source = _source()
    result = split(source, "test", 0, seed=0)
    _assert_true_to(source, result)
    assert result.train_indices.tolist() == list(range(200))
    assert result.val_indices.tolist() == list(range(200, 250))


def test_stratified_draws_from_the_training_set_alone():
    source = _source()
    result = split(source, "stratified", 0, seed=0)
    _assert_true_to(source, result)
    assert _counts(result.val) == [10] * 5
    assert _counts(result.train) == [30] * 5
    together = np.concatenate([result.train_indices, result.val_indices])
    assert sorted(together) == list(range(200))


def test_merged_draws_from_both_official_sets():
    source = _source()
    result = split(source, "merged", 0, seed=0)
    _assert_true_to(source, result)
    assert _counts(result.val) == [10] * 5
    assert _counts(result.train) == [40] * 5
    together = np.concatenate([result.train_indices, result.val_indices])
    assert sorted(together) == list(range(250))
    for indices in (result.train_indices, result.val_indices):
        assert indices.min() < 200 <= indices.max()


@pytest.mark.parametrize("kind", ["test", "stratified", "merged"])
def test_train_examples_are_drawn_stratified_from_the_training_part(kind):
    source = _source()
    whole, part = split(source, kind, 0, seed=3), split(source, kind, 75, seed=3)
    _assert_true_to(source, part)
    assert _counts(part.train) == [15] * 5
    assert set(part.train_indices) < set(whole.train_indices)
    np.testing.assert_array_equal(part.val_indices, whole.val_indices)


@pytest.mark.parametrize("kind", ["stratified", "merged"])
@pytest.mark.parametrize("train_examples", [0, 75])
def test_the_seed_decides_and_nothing_else_does(kind, train_examples):
    one, again, other = (split(_source(), kind, train_examples, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.train_indices, again.train_indices)
    np.testing.assert_array_equal(one.val_indices, again.val_indices)
    assert one.train_indices.tolist() != other.train_indices.tolist()
    assert one.val_indices.tolist() != other.val_indices.tolist()


def test_another_seed_draws_other_train_examples():
    one, other = (split(_source(), "test", 75, seed).train_indices.tolist() for seed in (0, 1))
    assert one != other


def test_all_train_examples_may_be_asked_for_by_number():
    source = _source()
    assert split(source, "test", 200, seed=0).train is source.train


@settings(max_examples=60, deadline=None)
@given(
    n_train=st.integers(40, 120),
    n_test=st.integers(5, 35),
    kind=st.sampled_from(["test", "stratified", "merged"]),
    share=st.sampled_from([0, 0.5]),
    seed=st.integers(0, 2**31 - 1),
)
def test_indices_name_the_images_whatever_the_sizes(n_train, n_test, kind, share, seed):
    source = _source(n_train, n_test)
    train_examples = int(share * (n_train - n_test)) // 5 * 5
    if kind == "stratified" and n_train - n_test < 5:
        return  # fewer than one a class
    result = split(source, kind, train_examples, seed)
    _assert_true_to(source, result)
    assert len(result.val) == n_test
    pool = n_train - n_test if kind == "stratified" else n_train
    assert len(result.train) == (train_examples or pool)
    # Shares are those of the whole to within one example of rounding.
    counts = _counts(result.val)
    assert max(counts) - min(counts) <= 2


def test_almost_all_train_examples_may_be_asked_for():
    source = _source()
    result = split(source, "test", 195, seed=0)
    _assert_true_to(source, result)
    assert len(result.train) == 195


def test_a_rest_without_every_class_is_refused_with_the_rule():
    with pytest.raises(DataError, match="what is left must each have an example of each of the 5"):
        split(_source(), "test", 199, seed=0)


@pytest.mark.parametrize(("kind", "most"), [("test", 200), ("stratified", 150), ("merged", 200)])
def test_more_train_examples_than_there_are_is_refused(kind, most):
    with pytest.raises(DataError, match=f"--train_examples={most + 1}: .* the {most} training"):
        split(_source(), kind, most + 1, seed=0)


def test_fewer_train_examples_than_classes_is_refused():
    message = "--train_examples=3: no stratified draw of 3 examples .* but 3 would be drawn and 197"
    with pytest.raises(DataError, match=message):
        split(_source(), "test", 3, seed=0)


@pytest.mark.parametrize("kind", ["stratified", "merged"])
def test_a_class_with_one_example_is_named(kind, fault):
    source = _source(classes=6)
    everything = [source.train.labels, source.test.labels]
    for labels in everything:
        labels[labels == 5] = 0
    source.train.labels[0] = 5
    with pytest.raises(DataError) as caught:
        split(source, kind, 0, seed=0)
    message = str(caught.value)
    assert message.startswith(f"--val_split={kind}: no stratified draw of 50 examples")
    assert message.endswith("each of the 6 classes, but class 5 ('f') has one example")
    assert "\n" not in message
    if kind == "stratified":
        fault("data", "class with one example, stratified", f"refused: {message}")


@pytest.mark.parametrize("has", range(2, 9))
def test_a_small_class_is_in_both_parts_or_named(has):
    source = _source(classes=6)
    labels = source.train.labels
    labels[labels == 5] = 0
    labels[:has] = 5
    refused = []
    for seed in range(5):
        try:
            result = split(source, "stratified", 0, seed)
        except DataError as error:
            refused.append(str(error))
        else:
            assert 5 in result.val.labels and 5 in result.train.labels
    # A quarter of the 200 is drawn: of 2, half an example.
    for message in refused:
        assert f"but of the {has} of class 5 ('f') none would be drawn" in message
    assert has == 2 or not refused


def test_a_training_set_smaller_than_the_test_set_cannot_give_a_validation_set():
    with pytest.raises(DataError, match="--val_split=stratified"):
        split(_source(n_train=50, n_test=60), "stratified", 0, seed=0)


def test_an_unknown_kind_of_split_is_named():
    with pytest.raises(ValueError, match="Received: 'train'"):
        split(_source(), "train", 0, seed=0)


def test_a_stratified_draw_is_fixed_and_of_equal_class_shares():
    source = _source()
    pool = np.arange(200, 250)
    drawn = stratified_draw(source, pool, 20, "--val_examples=20")
    assert np.bincount(drawn.labels).tolist() == [4] * 5
    assert set(_held(drawn)) < set(pool)
    again = stratified_draw(source, pool, 20, "--val_examples=20")
    np.testing.assert_array_equal(_held(drawn), _held(again))
    np.testing.assert_array_equal(_held(stratified_draw(source, pool, 50, "")), pool)
    with pytest.raises(DataError, match="--val_examples=3: no stratified draw of 3 examples"):
        stratified_draw(source, pool, 3, "--val_examples=3")
