"""The step that benchmarks time: the default recipe on random images, and its stock Keras twin."""

import keras
import numpy as np
import tensorflow as tf

from tfsc.data.examples import Examples
from tfsc.data.split import Split
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.layers.own_gradient import OwnGradient
from tfsc.layers.pointwise import PointwiseConv2D
from tfsc.precision import set_precision
from tfsc.recipe import Recipe
from tfsc.training.build import build_learner
from tfsc.training.learner import Learner


def default_learner(
    precision: str, batch_size: int, stack_units: str, **changes: object
) -> tuple[Learner, Examples]:
    """The default recipe's Learner with some settings changed, and random images to train on."""
    set_precision(precision)
    rng = np.random.default_rng(0)
    count = max(640, batch_size)
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    examples = Examples(images, rng.integers(0, 10, count).astype(np.int32))
    model = f"resnet_v2([{stack_units}])"
    recipe = Recipe(batch_size=batch_size, precision=precision, model=model, **changes)
    return build_learner(recipe, Split(examples, examples, None, None), classes=10), examples


def resident_batch(examples: Examples, batch_size: int) -> dict[str, tf.Tensor]:
    """The first training batch, in memory."""
    return {
        "image": tf.constant(examples.images[:batch_size]),
        "label": tf.constant(examples.labels[:batch_size]),
        "number": tf.range(batch_size, dtype=tf.int64),
    }


def stock_model(learner: Learner) -> keras.Model:
    """The learner's network of Keras' own layers only, compiled with Keras' own AdamW.

    The learner's must have no layers in C++.

    Same weights' shapes, schedule and decay; trains on batches of (float images, labels).
    """
    model = keras.models.clone_model(learner.network, clone_function=_stock_layer)
    schedule = learner.optimizer.get_config()["learning_rate"]
    model.compile(
        keras.optimizers.AdamW(keras.saving.deserialize_keras_object(schedule), weight_decay=0.19),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _stock_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, OwnGradient):
        return keras.layers.Identity(name=layer.name)
    for ours, theirs in (
        (FusedBatchNormalization, keras.layers.BatchNormalization),
        (PointwiseConv2D, keras.layers.Conv2D),
    ):
        if isinstance(layer, ours):
            return theirs.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())


def stock_batches(examples: Examples, batch_size: int) -> tf.data.Dataset:
    """Endless shuffled batches of (images, labels), augmented by Keras' own layers in tf.data."""
    augmentation = stock_augmentation()
    data = tf.data.Dataset.from_tensor_slices((examples.images, examples.labels)).cache()
    data = data.shuffle(len(examples)).repeat().batch(batch_size, drop_remainder=True)
    data = data.map(
        lambda images, labels: (augmentation(tf.cast(images, tf.float32), training=True), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return data.prefetch(tf.data.AUTOTUNE)


def stock_augmentation() -> keras.Sequential:
    """Keras' own layers for the default recipe's augmentation."""
    return keras.Sequential(
        [
            keras.layers.RandomTranslation(0.07, 0.07, fill_mode="nearest", dtype="float32"),
            keras.layers.RandomFlip("horizontal", dtype="float32"),
        ]
    )
