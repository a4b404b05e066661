"""Which examples train and which validate."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from tfsc.data.examples import Examples, Source
from tfsc.errors import DataError


@dataclass(frozen=True)
class Split:
    """Training and validation examples, with their indices.

    Indices count through the official training set, then the official test set, so that one
    number names one image whatever the split.
    """

    train: Examples
    val: Examples
    train_indices: np.ndarray
    val_indices: np.ndarray


def split(source: Source, val_split: str, train_examples: int, seed: int) -> Split:
    """Split a dataset.

    Args:
        source: the dataset.
        val_split: "test": the official test set validates. "stratified": as many examples as the
            test set has, drawn from the training set with equal class shares. "merged": the same
            drawn from both together.
        train_examples: train on so many, drawn with equal class shares; 0: all.
        seed: of the draws.

    Raises:
        DataError: if the set is too small for what is asked.

    Source: seed 000 ("statistically rebuilt for every run ... train_test_split()").
    """
    n_train, n_test = len(source.train), len(source.test)
    labels = np.concatenate([source.train.labels, source.test.labels])
    train, val = np.arange(n_train), np.arange(n_train, n_train + n_test)
    if val_split == "stratified":
        train, val = _stratified(source, train, labels, n_test, seed, f"--val_split={val_split}")
    elif val_split == "merged":
        every = np.arange(n_train + n_test)
        train, val = _stratified(source, every, labels, n_test, seed, f"--val_split={val_split}")
    elif val_split != "test":
        raise ValueError(f"val_split must be test, stratified or merged. Received: {val_split!r}")
    if train_examples > len(train):
        raise DataError(
            f"--train_examples={train_examples}: must be at most the {len(train)} training examples"
        )
    if 0 < train_examples < len(train):
        rule = f"--train_examples={train_examples}"
        _, train = _stratified(source, train, labels, train_examples, seed, rule)
    return Split(_take(source, train), _take(source, val), train, val)


def stratified_draw(source: Source, pool: np.ndarray, count: int, asked: str) -> Examples:
    """`count` of the examples with indices `pool`, with equal class shares; all, if it has fewer.

    The draw depends on nothing else, so that runs with other seeds see the same examples.

    Args:
        source: the dataset.
        pool: indices through its training and test set, as in `Split`.
        count: at least one a class.
        asked: the setting that asks for it, for errors.

    Raises:
        DataError: if the pool is too small for what is asked.
    """
    if count < len(pool):
        labels = np.concatenate([source.train.labels, source.test.labels])
        pool = _stratified(source, pool, labels, count, 0, asked)[1]
    return _take(source, pool)


def _stratified(
    source: Source, pool: np.ndarray, labels: np.ndarray, count: int, seed: int, asked: str
) -> tuple[np.ndarray, np.ndarray]:
    """Divide `pool` into (rest, `count` drawn), with equal class shares, each in rising order."""
    classes, examples_of = np.unique(labels[pool], return_counts=True)

    def refusal(why: str) -> DataError:
        return DataError(
            f"{asked}: no stratified draw of {count} examples from {len(pool)}: what is drawn and "
            f"what is left must each have an example of each of the {len(classes)} classes, {why}"
        )

    def named(label: int) -> str:
        return f"class {label} ('{source.class_names[label]}')"

    if examples_of.min() < 2:
        raise refusal(f"but {named(classes[examples_of.argmin()])} has one example")
    if min(count, len(pool) - count) < len(classes):
        raise refusal(f"but {count} would be drawn and {max(len(pool) - count, 0)} left")
    rest, drawn = train_test_split(pool, test_size=count, stratify=labels[pool], random_state=seed)
    # The share of a small class may be less than half an example.
    for part, where in ((drawn, "drawn"), (rest, "left")):
        without = np.setdiff1d(classes, labels[part])
        if len(without):
            has = examples_of[classes == without[0]][0]
            raise refusal(f"but of the {has} of {named(without[0])} none would be {where}")
    return np.sort(rest), np.sort(drawn)


def _take(source: Source, indices: np.ndarray) -> Examples:
    """Examples by index through train, then test. The untouched official sets are not copied."""
    n_train = len(source.train)
    if len(indices) == n_train and indices[-1] == n_train - 1:
        return source.train
    if indices[0] >= n_train:
        return source.test.take(indices - n_train)
    if indices[-1] < n_train:
        return source.train.take(indices)
    first = source.train.take(indices[indices < n_train])
    second = source.test.take(indices[indices >= n_train] - n_train)
    return Examples(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
    )
