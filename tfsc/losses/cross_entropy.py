"""`CrossEntropy` of logits, with label smoothing."""

import tensorflow as tf


class CrossEntropy:
    """−Σ target·log softmax(logits), one number an example.

    Args:
        smoothing: ε from 0, below 1: the target is 1 − ε + ε/K for the label and ε/K for each
            other of the K classes.

    Raises:
        ValueError: if ε is out of range.
    """

    def __init__(self, smoothing: float = 0.0):
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1. Received: {smoothing}")
        self.smoothing = smoothing

    def __call__(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Of labels [n] (int) and logits [n, K], float32: losses [n]."""
        if not self.smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        targets = smoothed_labels(labels, logits.shape[-1], self.smoothing)
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def smoothed_labels(labels: tf.Tensor, classes: int, smoothing: float) -> tf.Tensor:
    """Targets (1 − ε)·onehot + ε/K, float32 [n, K].

    Source: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016.
    """
    other = smoothing / classes
    return tf.one_hot(labels, classes, on_value=1 - smoothing + other, off_value=other)
