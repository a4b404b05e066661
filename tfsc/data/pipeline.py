"""The tf.data pipelines: pure functions of (seed, step), without buffers or iterator state."""

import functools

import numpy as np
import tensorflow as tf

from tfsc import random
from tfsc.data import example_and_epoch
from tfsc.data.batch_plan import BatchPlan, Stage
from tfsc.data.examples import Examples
from tfsc.data.resident import ResidentExamples, training_device

_PLACES = ("host", "prefetch", "device")


class TrainingPipeline:
    """Training batches of any range of steps.

    Step k, the j-th of epoch i, takes the positions j·batch_size … of epoch i's permutation of
    all examples, which depends on (seed, i) alone. So resuming is starting at step k.
    What is left over after the last full batch takes its turn in another epoch's order.

    Example:
        >>> pipeline = TrainingPipeline(examples, batch_size=64, seed=0)
        >>> steps = pipeline.steps_per_epoch
        >>> model.fit(pipeline.batches(0, steps), steps_per_epoch=steps)

    Args:
        examples: the training set, held in memory once.
        batch_size: at most `len(examples)`, or a `BatchPlan` over them; every batch is full.
        seed: of the order.
        data_on: where the batches are put together, of the same bits: "host"; "prefetch": on the
            host, and copied to the device ahead of their step; "device": there, by `resident` in
            the training graph, from the whole set.

    Attributes:
        plan: which steps belong to which epoch.
        resident: None, or with "device" what completes its batches.

    Raises:
        ValueError: if `batch_size` is out of range, or `data_on` another word.
        DataError: if the device's memory does not hold the examples.
    """

    def __init__(
        self, examples: Examples, batch_size: int | BatchPlan, seed: int, data_on: str = "host"
    ):
        self.count = len(examples)
        if isinstance(batch_size, BatchPlan):
            plan = batch_size
        else:
            plan = BatchPlan(self.count, ((0, batch_size),))
        if plan.count != self.count:
            raise ValueError(f"the plan must be for {self.count} examples. Received: {plan.count}")
        self.plan = plan
        if data_on not in _PLACES:
            raise ValueError(f"data_on must be one of {', '.join(_PLACES)}. Received: {data_on}")
        self.seed = seed
        # Two hundred operations, traced once here and not anew with each epoch's dataset.
        self._order = tf.function(
            lambda epoch: random.permutation(seed, random.ORDER, epoch, self.count),
            input_signature=[tf.TensorSpec([], tf.int64)],
            autograph=False,
        )
        self._prefetch = data_on == "prefetch"
        self.resident = ResidentExamples(examples) if data_on == "device" else None
        if self.resident is None:
            with tf.device("CPU:0"):
                self._images = tf.constant(examples.images)
                self._labels = tf.constant(examples.labels)

    @property
    def steps_per_epoch(self) -> int:
        """Of the first epoch, and of all where the batch does not grow."""
        return self.plan.stages[0].steps_per_epoch

    def batches(self, start: int, stop: int) -> tf.data.Dataset:
        """The batches of the global steps `start` ≤ step < `stop`.

        Returns:
            A dataset of dicts: "image" uint8 [batch, height, width, channels], "label" int32
            [batch], "number" int64 [batch], the global sample number: that of the step's first
            sample + position in the batch, "visit" int64 [batch], the example and the epoch (see
            `tfsc.data.example_and_epoch`). With `resident`, "index" int32 [batch] in place of the
            first two. Batches of stages with different sizes have no static size.
        """
        stages = self.plan.stages
        ends = [stage.step for stage in stages[1:]] + [stop]
        parts = [
            self._stage_batches(stage, max(start, stage.step), min(stop, end))
            for stage, end in zip(stages, ends, strict=True)
            if start < end and stage.step < stop
        ]
        dataset = functools.reduce(tf.data.Dataset.concatenate, parts)
        dataset = _plain(dataset.prefetch(4))
        if self._prefetch:
            # Nothing may follow, or batches return to the host; so the count is lost once more.
            to_device = tf.data.experimental.prefetch_to_device(training_device(), 2)
            dataset = dataset.apply(to_device)
        return dataset

    def _stage_batches(self, stage: Stage, start: int, stop: int) -> tf.data.Dataset:
        """Batches of steps that all belong to one stage."""
        per_epoch = stage.steps_per_epoch
        # Steps as if all epochs so far had been of this stage.
        shift = stage.epoch * per_epoch - stage.step

        @tf.autograph.experimental.do_not_convert
        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = self._order(epoch)
            first = tf.maximum(tf.constant(start + shift, tf.int64), epoch * per_epoch)
            last = tf.minimum(tf.constant(stop + shift, tf.int64), (epoch + 1) * per_epoch)
            return tf.data.Dataset.range(first, last).map(
                tf.autograph.experimental.do_not_convert(
                    lambda step: self._batch(stage, step, order)
                ),
                num_parallel_calls=2,
                deterministic=True,
            )

        epochs = tf.data.Dataset.range(
            (start + shift) // per_epoch, -(-(stop + shift) // per_epoch)
        )
        # flat_map loses the count, by which Keras knows where an epoch ends.
        return epochs.flat_map(epoch_batches).apply(
            tf.data.experimental.assert_cardinality(stop - start)
        )

    def _batch(self, stage: Stage, step: tf.Tensor, order: tf.Tensor) -> dict[str, tf.Tensor]:
        size = stage.batch_size
        within = tf.range(size, dtype=tf.int64)
        first = (step % stage.steps_per_epoch) * size
        chosen = tf.ensure_shape(order[first : first + size], [size])
        before = stage.sample - stage.epoch * stage.steps_per_epoch * size
        names = {
            "number": before + step * size + within,
            "visit": example_and_epoch.join(chosen, step // stage.steps_per_epoch),
        }
        if self.resident is not None:
            return {"index": chosen, **names}
        return {
            "image": tf.gather(self._images, chosen),
            "label": tf.gather(self._labels, chosen),
            **names,
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
    # Autotuning has a thread that sleeps 10 ms · 2ᵏ; an iterator that ends at times misses to wake
    # it, and waits: after an epoch of 50 s until second 82. There is nothing here to tune.
    options.autotune.enabled = False
    return dataset.with_options(options)
