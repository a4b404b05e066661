"""Scores against hand-computed values and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_score,
    recall_score,
)

from tfsc.evaluation.metrics import expected_calibration_error, score


def _random(n=400, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (n, classes)), rng.integers(0, classes, n)


def test_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    scores = score(logits, np.array([0, 2]))
    assert scores.accuracy == 0.5
    assert scores.nll == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    assert scores.brier == pytest.approx(
        ((0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.6**2 + 0.7**2)) / 2
    )
    # Each example is alone in its bin: |1 − 0.7| and |0 − 0.6|, each of weight one half.
    assert scores.ece == pytest.approx((0.3 + 0.6) / 2)
    np.testing.assert_array_equal(scores.confusion, [[1, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_against_scikit_learn():
    logits, labels = _random()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    scores = score(logits, labels)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert scores.nll == pytest.approx(log_loss(labels, probabilities))
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, predicted))
    np.testing.assert_allclose(scores.recall, recall_score(labels, predicted, average=None))
    np.testing.assert_allclose(scores.precision, precision_score(labels, predicted, average=None))


def test_ece_against_a_loop():
    rng = np.random.default_rng(1)
    confidence, correct = rng.uniform(0.1, 1, 1000), rng.integers(0, 2, 1000).astype(bool)
    total = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(total)


def test_a_shift_of_the_logits_changes_nothing():
    logits, labels = _random()
    plain, shifted = score(logits, labels), score(logits + 1e4, labels)
    assert shifted.nll == pytest.approx(plain.nll, rel=1e-9)
    assert shifted.ece == pytest.approx(plain.ece, rel=1e-9)


def test_a_class_without_examples_has_no_recall():
    scores = score(np.eye(3)[[0, 1]], np.array([0, 1]))
    assert np.isnan(scores.recall[2]) and np.isnan(scores.precision[2])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "n ≥ 1"),
        (np.zeros((2, 3)), np.zeros(3, int), "labels"),
        (np.zeros((2, 3)), np.array([0, 3]), "from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        score(logits, labels)
