"""`CrossEntropy` against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfsc.losses.cross_entropy import CrossEntropy, smoothed_labels


def test_smoothed_labels_are_those_of_the_specification():
    targets = smoothed_labels(tf.constant([3, 9]), 10, 0.1).numpy()
    assert targets.dtype == np.float32
    expected = np.where(np.eye(10)[[3, 9]] == 1, 0.91, 0.01)
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_it_is_one_number_an_example(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype(np.float32), rng.integers(0, 4, 6)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    losses = CrossEntropy(smoothing)(tf.constant(labels, tf.int32), tf.constant(logits))
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, -(targets * log_p).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [1.0, -0.1])
def test_smoothing_out_of_range_is_refused(smoothing):
    rule = rf"smoothing must be at least 0 and below 1\. Received: {smoothing}"
    with pytest.raises(ValueError, match=rule):
        CrossEntropy(smoothing)
