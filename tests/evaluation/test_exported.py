"""The exported model is the network: same numbers, both input types, any batch size."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.errors import ExportError
from tfsc.evaluation.evaluate import report_place
from tfsc.evaluation.exported import read_export, write_export
from tfsc.models.resnet_v2 import resnet_v2
from tfsc.recipe import Recipe

NAMES = ("cat", "dog", "ship")
RECIPE = Recipe(dataset="digits", stack_units=(1, 1))


def _network():
    keras.utils.set_random_seed(0)
    network = resnet_v2((16, 16, 3), 3, (1, 1), (3, 3), pooling="none", mean=0.4)
    # Statistics as after training: at their initial values a mistake would not show.
    rng = np.random.default_rng(0)
    for weight in network.non_trainable_weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return network


def _images(n=1000):
    return np.random.default_rng(1).integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.mixed_precision.set_dtype_policy("float32")
    path = tmp_path_factory.mktemp("exported") / "export"
    network = _network()
    write_export(network, NAMES, RECIPE, 77, path)
    return network, path


def test_saved_model_equals_the_network_on_1000_images(exported):
    network, path = exported
    images = _images()
    expected = network.predict(images.astype(np.float32), verbose=0, batch_size=250)
    np.testing.assert_allclose(read_export(path).logits(images), expected, atol=1e-5, rtol=1e-5)


def test_keras_file_equals_the_network(exported):
    network, path = exported
    images = _images(50)
    expected = network(images.astype(np.float32)).numpy()
    model = read_export(path / "network.keras")
    np.testing.assert_allclose(model.logits(images), expected, atol=1e-5, rtol=1e-5)


def test_both_signatures_take_any_batch_and_give_logits_and_probabilities(exported):
    _, path = exported
    loaded = tf.saved_model.load(str(path / "saved_model"))
    for n in (1, 7):
        images = _images(n)
        one = loaded.signatures["uint8"](images=tf.constant(images))
        two = loaded.signatures["serving_default"](images=tf.constant(images, tf.float32))
        assert one["logits"].shape == (n, 3)
        np.testing.assert_array_equal(one["logits"], two["logits"])
        np.testing.assert_allclose(one["probabilities"], tf.nn.softmax(one["logits"]), rtol=1e-6)


def test_inference_is_without_state_or_chance(exported):
    _, path = exported
    model = read_export(path)
    np.testing.assert_array_equal(model.logits(_images(9)), model.logits(_images(9)))


def test_the_export_knows_its_classes_recipe_and_step(exported):
    _, path = exported
    for place in (path, path / "network.keras", path / "saved_model"):
        model = read_export(place)
        assert (model.class_names, model.recipe, model.step) == (NAMES, RECIPE, 77)
        assert model.image_shape == (16, 16, 3)
    shutil.copytree(path / "saved_model", path.parent / "bare")
    bare = read_export(path.parent / "bare")
    shutil.rmtree(path.parent / "bare")
    assert (bare.class_names, bare.recipe) == (NAMES, None)


def test_bfloat16_networks_export_float32_logits(tmp_path):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    network = _network()
    write_export(network, NAMES, RECIPE, 1, tmp_path / "export")
    logits = read_export(tmp_path / "export").logits(_images(20))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(
        logits, network(_images(20).astype(np.float32)).numpy(), atol=1e-5, rtol=1e-5
    )


def test_a_failed_export_leaves_the_earlier_one(exported, monkeypatch):
    network, path = exported
    before = sorted(p.relative_to(path) for p in path.rglob("*"))

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(ExportError, match=r"export: cannot be written: No space"):
        write_export(network, NAMES, RECIPE, 78, path)
    assert sorted(p.relative_to(path) for p in path.rglob("*")) == before
    assert [p.name for p in path.parent.iterdir()] == ["export"]


def test_nothing_but_an_export_is_replaced(exported, tmp_path):
    network, _ = exported
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="is no export; name another place"):
        write_export(network, NAMES, RECIPE, 1, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_exports_beside_each_other_have_reports_of_their_own():
    places = {name: report_place(Path("run") / name).name for name in ("export", "export-88-ema")}
    assert places == {"export": "evaluation", "export-88-ema": "evaluation-88-ema"}
    assert report_place(Path("model.keras")).name == "model-evaluation"


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ExportError, match="must be an export of tfsc"):
        read_export(tmp_path)


def test_a_damaged_keras_file_is_refused(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04garbage")
    with pytest.raises(ExportError, match=r"is no readable \.keras file"):
        read_export(tmp_path / "broken.keras")


def test_a_foreign_saved_model_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    with pytest.raises(ExportError, match="is no SavedModel of tfsc"):
        read_export(tmp_path / "foreign")
