"""What is measured of a classifier's logits, in float64 NumPy."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """A classifier's scores on one set of examples.

    Attributes:
        accuracy: top-1.
        nll: mean negative log-likelihood (cross-entropy), in nats.
        ece: expected calibration error, 15 equal bins of the top probability.
        brier: mean over examples of Σ_k (p_k − 1[k is the label])², from 0 to 2.
        confusion: int64 [classes, classes], rows labels, columns predictions.
    """

    accuracy: float
    nll: float
    ece: float
    brier: float
    confusion: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Share of each class's examples that are recognised; nan for a class without examples."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Share of each class's predictions that are right; nan for a class never predicted."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))


def score(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Score logits [n, classes] against labels [n].

    Raises:
        ValueError: if there are no examples, or shapes or labels do not fit.
    """
    logits = np.asarray(logits, np.float64)
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(
            "logits must be [n, classes] and labels [n], n ≥ 1. "
            f"Received: {logits.shape}, {labels.shape}"
        )
    classes = logits.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}. Received: {labels.max()}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    rows = np.arange(len(labels))
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    distance = probabilities.copy()
    distance[rows, labels] -= 1
    return Scores(
        accuracy=float((predicted == labels).mean()),
        nll=float(-log_probabilities[rows, labels].mean()),
        ece=expected_calibration_error(probabilities.max(axis=1), predicted == labels),
        brier=float((distance**2).sum(axis=1).mean()),
        confusion=confusion,
    )


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 15
) -> float:
    """Σ_b (n_b/n)·|accuracy_b − mean confidence_b| over equal bins (low, high] of the confidence.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
