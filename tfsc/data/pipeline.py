"""The tf.data pipelines: pure functions of (seed, step), without buffers or iterator state."""

import numpy as np
import tensorflow as tf

from tfsc import random
from tfsc.data.examples import Examples
from tfsc.data.resident import ResidentExamples, training_device

_PLACES = ("host", "prefetch", "device")


class TrainingPipeline:
    """Training batches of any range of steps.

    Step k, the j-th of epoch i, takes the positions j·batch_size … of epoch i's permutation of
    all examples, which depends on (seed, i) alone. So resuming is starting at step k.

    Example:
        >>> pipeline = TrainingPipeline(examples, batch_size=64, seed=0)
        >>> steps = pipeline.steps_per_epoch
        >>> model.fit(pipeline.batches(0, steps), steps_per_epoch=steps)

    Args:
        examples: the training set, held in memory once.
        batch_size: at most `len(examples)`; every batch is full.
        seed: of the order.
        data_on: where the batches are put together, of the same bits: "host"; "prefetch": on the
            host, and copied to the device ahead of their step; "device": there, by `resident` in
            the training graph, from the whole set.

    Attributes:
        resident: None, or with "device" what completes its batches.

    Raises:
        ValueError: if `batch_size` is out of range, or `data_on` another word.
        DataError: if the device's memory does not hold the examples.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, data_on: str = "host"):
        count = len(examples)
        if not 1 <= batch_size <= count:
            raise ValueError(f"batch_size must be from 1 to {count}. Received: {batch_size}")
        if data_on not in _PLACES:
            raise ValueError(f"data_on must be one of {', '.join(_PLACES)}. Received: {data_on}")
        self.batch_size = batch_size
        self.seed = seed
        self.count = count
        # What is left over after the last full batch takes its turn in another epoch's order.
        self.steps_per_epoch = count // batch_size
        self._prefetch = data_on == "prefetch"
        self.resident = ResidentExamples(examples) if data_on == "device" else None
        if self.resident is None:
            with tf.device("CPU:0"):
                self._images = tf.constant(examples.images)
                self._labels = tf.constant(examples.labels)

    def batches(self, start: int, stop: int) -> tf.data.Dataset:
        """The batches of the global steps `start` ≤ step < `stop`.

        Returns:
            A dataset of dicts: "image" uint8 [batch, height, width, channels], "label" int32
            [batch], "number" int64 [batch], the global sample number: step·batch_size + position
            in the batch. With `resident`, "index" int32 [batch] in place of the first two.
        """
        per_epoch = self.steps_per_epoch

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = random.permutation(self.seed, random.ORDER, epoch, self.count)
            first = tf.maximum(tf.constant(start, tf.int64), epoch * per_epoch)
            last = tf.minimum(tf.constant(stop, tf.int64), (epoch + 1) * per_epoch)
            return tf.data.Dataset.range(first, last).map(
                lambda step: self._batch(step, order),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )

        epochs = tf.data.Dataset.range(start // per_epoch, -(-stop // per_epoch))
        dataset = epochs.flat_map(epoch_batches)
        # flat_map loses the count, by which Keras knows where an epoch ends.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(stop - start))
        dataset = _plain(dataset.prefetch(4))
        if self._prefetch:
            # Nothing may follow, or batches return to the host; so the count is lost once more.
            to_device = tf.data.experimental.prefetch_to_device(training_device(), 2)
            dataset = dataset.apply(to_device)
        return dataset

    def _batch(self, step: tf.Tensor, order: tf.Tensor) -> dict[str, tf.Tensor]:
        within = tf.range(self.batch_size, dtype=tf.int64)
        first = (step % self.steps_per_epoch) * self.batch_size
        chosen = tf.ensure_shape(order[first : first + self.batch_size], [self.batch_size])
        number = step * self.batch_size + within
        if self.resident is not None:
            return {"index": chosen, "number": number}
        return {
            "image": tf.gather(self._images, chosen),
            "label": tf.gather(self._labels, chosen),
            "number": number,
        }


def evaluation_batches(examples: Examples, batch_size: int = 500) -> tf.data.Dataset:
    """All examples in order, each batch full, so that the evaluation step is traced once.

    Returns:
        A dataset of dicts: "image" and "label" as in training, "weight" float32 [batch], 1 for an
        example and 0 for the padding that fills the last batch.
    """
    count = len(examples)
    batch_size = min(batch_size, count)
    with tf.device("CPU:0"):
        images, labels = tf.constant(examples.images), tf.constant(examples.labels)

    def batch(first: tf.Tensor) -> dict[str, tf.Tensor]:
        indices = first + tf.range(batch_size, dtype=tf.int64)
        inside = tf.minimum(indices, count - 1)
        return {
            "image": tf.gather(images, inside),
            "label": tf.gather(labels, inside),
            "weight": tf.cast(indices < count, tf.float32),
        }

    firsts = tf.data.Dataset.from_tensor_slices(np.arange(0, count, batch_size))
    return _plain(firsts.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2))


def _plain(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
