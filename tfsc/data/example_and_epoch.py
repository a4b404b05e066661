"""Visits: which example a sample is, and in which epoch, in one number.

A sample number says when a sample is drawn, not what it is. A visit is epoch·2³² + the example's
place in the training set, int64.
"""

import tensorflow as tf

_EPOCH = 2**32


def join(examples: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Visits of examples (places in the training set) in an epoch (from 0), int64."""
    return tf.cast(epoch, tf.int64) * _EPOCH + tf.cast(examples, tf.int64)


def split(visits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Examples and epochs of visits, both int64."""
    visits = tf.cast(visits, tf.int64)
    return visits % _EPOCH, visits // _EPOCH
