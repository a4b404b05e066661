"""Every program that reads an exported SavedModel computes what the trained network does."""

import json

import export_consumers
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.data.source import load
from tfsc.exports.write import write_export
from tfsc.native import library
from tfsc.precision import set_precision
from tfsc.recipe import Recipe
from tfsc.training.network import build_network

# Between them every layer that has a form of its own for exports (LocalResponse: its own test).
RECIPES = {
    "fp32": Recipe(
        dataset="digits",
        precision="fp32",
        model="resnet_v2([1,1], pooling=avg)",
        input="center whiten(100)",
    ),
    "bf16": Recipe(
        dataset="digits",
        precision="bf16",
        model="airbench([32,32], activation=relu)",
        input="center whiten",
    ),
}


@pytest.fixture(scope="module", params=RECIPES)
def exported(request, tmp_path_factory):
    """A network trained for a few steps, its export, the logits of both of 100 real images."""
    recipe = RECIPES[request.param]
    set_precision(recipe.precision)
    source = load("digits")
    native = library.is_available()
    network = build_network(recipe, source.train, 10, native=native, winograd=native)
    _train(network, source.train)
    path = tmp_path_factory.mktemp("consumers") / "export"
    write_export(
        network, source.class_names, recipe.flagfile(), recipe.digest, 8, path, source.test.images
    )
    images = source.test.images[: export_consumers.IMAGES]
    trained = network(images.astype(np.float32), training=False).numpy()
    return recipe, path, images, trained, export_consumers.tensorflow(path, images)


def _train(network, examples):
    """Eight steps of 32, in the network's own precision and operations."""
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, network(images, training=True)
            )
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, [v.value for v in network.trainable_variables]))

    for first in range(0, 256, 32):
        images = examples.images[first : first + 32].astype(np.float32)
        step(tf.constant(images), tf.constant(examples.labels[first : first + 32]))


@pytest.mark.parametrize("name", export_consumers.CONSUMERS)
def test_a_consumer_computes_the_logits_of_100_images(exported, name, tmp_path):
    recipe, path, images, trained, exact = exported
    consumer, packages = export_consumers.CONSUMERS[name]
    for package in packages:
        pytest.importorskip(package.replace("-", "_"), reason=f"{package} is not installed")
    logits = consumer(path, images)
    assert logits.shape == trained.shape == (100, 10) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, exact, rtol=0, atol=1e-4)
    spread = trained.std()
    # fp32: the network itself. bf16: rounding, and no class that is not a near tie.
    bound = 1e-4 if recipe.precision == "fp32" else 0.1 * spread
    assert spread > 0.1
    np.testing.assert_allclose(logits, trained, rtol=0, atol=max(bound, 1e-4))
    differ = logits.argmax(1) != trained.argmax(1)
    best = np.sort(trained, axis=1)
    assert differ.sum() <= (0 if recipe.precision == "fp32" else 5)
    assert (best[differ, -1] - best[differ, -2] <= 2 * bound).all()


def test_an_export_computes_in_float32_and_says_how_far_it_is_from_the_training(exported):
    recipe, path, _, trained, exact = exported
    check = json.loads((path / "export.json").read_text())["check"]
    assert check["images"] == 16 and check["files"] < 1e-4
    network = keras.saving.load_model(path / "network.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert b"bfloat16" not in (path / "saved_model" / "saved_model.pb").read_bytes()
    measured = np.abs(exact[:16] - trained[:16]).max()
    assert check["training"] == pytest.approx(
        measured if recipe.precision == "bf16" else 0, abs=1e-5
    )
    assert check["same_class"] == (exact[:16].argmax(1) == trained[:16].argmax(1)).sum()
