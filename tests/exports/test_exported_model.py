"""The exported model is the network: same numbers, both input types, any batch size."""

import contextlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc import models
from tfsc.errors import ExportError
from tfsc.evaluation.evaluate import report_place
from tfsc.exports import write
from tfsc.exports.exported_model import read_export
from tfsc.exports.write import write_export
from tfsc.recipe import Recipe

NAMES = ("cat", "dog", "ship")
_RECIPE = Recipe(dataset="digits", model="resnet_v2([1,1])")
RECIPE = _RECIPE.flagfile(), _RECIPE.digest  # what an export holds of it


def _network():
    keras.utils.set_random_seed(0)
    network = models.build("resnet_v2([1,1])", (16, 16, 3), 3, mean=0.4)
    # Statistics as after training: at their initial values a mistake would not show.
    rng = np.random.default_rng(0)
    for weight in network.non_trainable_weights:
        low, high = (0.5, 1.5) if weight.path.endswith("variance") else (-0.1, 0.1)
        weight.assign(rng.uniform(low, high, weight.shape))
    # Means so large that no ReLU lets anything through would make all logits 0.
    assert np.std(network(_images(4).astype(np.float32))) > 0.3
    return network


def _images(n=1000):
    return np.random.default_rng(1).integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.mixed_precision.set_dtype_policy("float32")
    path = tmp_path_factory.mktemp("exported") / "export"
    network = _network()
    write_export(network, NAMES, *RECIPE, 77, path, _images(4))
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


def test_an_export_is_read_from_a_place_with_wildcards_in_its_name(exported, tmp_path):
    network, path = exported
    copy = tmp_path / "a[1] *" / "export"
    shutil.copytree(path, copy)
    images = _images(3)
    expected = network(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(read_export(copy).logits(images), expected, atol=1e-5, rtol=1e-5)


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
        assert (model.class_names, model.recipe, model.step) == (NAMES, RECIPE[0], 77)
        assert model.image_shape == (16, 16, 3)
    shutil.copytree(path / "saved_model", path.parent / "bare")
    bare = read_export(path.parent / "bare")
    shutil.rmtree(path.parent / "bare")
    assert (bare.class_names, bare.recipe) == (NAMES, None)


def test_what_was_trained_in_bfloat16_is_exported_in_float32(tmp_path):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    network = _network()
    path = tmp_path / "export"
    write_export(network, NAMES, *RECIPE, 1, path, _images(20))
    assert keras.config.dtype_policy().name == "mixed_bfloat16"  # as it was
    keras.mixed_precision.set_dtype_policy("float32")
    twin = _network()
    twin.set_weights(network.get_weights())
    images = _images(20)
    exact = twin(images.astype(np.float32)).numpy()
    trained = network(images.astype(np.float32)).numpy()
    for place in (path, path / "network.keras"):
        logits = read_export(place).logits(images)
        np.testing.assert_allclose(logits, exact, atol=1e-5, rtol=1e-5)
    check = json.loads((path / "export.json").read_text())["check"]
    assert check["images"] == 16
    assert check["training"] == pytest.approx(np.abs(exact - trained)[:16].max(), rel=0.01)
    assert 0 < check["training"] < 0.1 * np.abs(exact).max()
    assert check["same_class"] == (exact.argmax(1) == trained.argmax(1))[:16].sum()


def test_the_exported_variables_are_tracked(exported):
    """Otherwise tf.lite writes a file without weights, and its logits are NaN."""
    network, path = exported
    loaded = tf.saved_model.load(str(path / "saved_model"))
    assert len(loaded.network_variables) == len(network.variables)
    for mine, theirs in zip(loaded.network_variables, network.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("file", ["saved_model", "network.keras"])
def test_an_export_that_computes_something_else_is_not_written(exported, tmp_path, file):
    network, _ = exported
    other = keras.models.clone_model(network)
    other.set_weights([weight * 1.01 for weight in network.get_weights()])
    method = "_write_saved_model" if file == "saved_model" else "_write_keras"
    written = getattr(write, method)

    def confused(_network, *arguments):
        written(other, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, method, confused)
        with pytest.raises(ExportError, match=rf"logits of {file} differ from the network's by"):
            write_export(network, NAMES, *RECIPE, 1, tmp_path / "export", _images(4))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_earlier_one(exported, monkeypatch):
    network, path = exported
    before = sorted(p.relative_to(path) for p in path.rglob("*"))

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(ExportError, match=r"export: cannot be written: No space"):
        write_export(network, NAMES, *RECIPE, 78, path, _images(4))
    assert sorted(p.relative_to(path) for p in path.rglob("*")) == before
    assert [p.name for p in path.parent.iterdir()] == ["export"]


def test_weights_that_are_not_finite_are_not_exported(tmp_path, fault):
    network = _network()
    kernel = network.layers[2].kernel
    kernel.assign(kernel.numpy() * np.where(np.arange(kernel.shape[-1]) == 1, np.nan, 1))
    with pytest.raises(ExportError, match=r"1 of \d+ weights are not finite, stem_conv/") as caught:
        write_export(network, NAMES, *RECIPE, 1, tmp_path / "export", _images(4))
    assert list(tmp_path.iterdir()) == []
    fault("numbers", "export of weights that hold a NaN", f"refused: {caught.value}")


def test_an_export_that_was_killed_long_ago_is_cleared_away(exported, tmp_path):
    network, _ = exported
    old, young = tmp_path / ".export.partial-old", tmp_path / ".export.partial-young"
    for path in (old, young):
        path.mkdir()
    os.utime(old, (0, 0))
    write_export(network, NAMES, *RECIPE, 1, tmp_path / "export", _images(4))
    assert {path.name for path in tmp_path.iterdir()} == {"export", ".export.partial-young"}


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _files(export):
    return sorted(path for path in export.rglob("*") if path.is_file())


def test_any_damaged_file_of_an_export_is_named(exported, tmp_path, fault):
    _, path = exported
    assert len(_files(path)) >= 6
    copy = tmp_path / "export"
    for file in _files(path):
        for damage in (_flip_a_bit, Path.unlink):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(path, copy)
            damaged = copy / file.relative_to(path)
            damage(damaged)
            if damaged.name == "export.json" and damage is Path.unlink:
                continue  # then the SavedModel in it stands on its own
            with pytest.raises(ExportError) as caught:
                read_export(copy)
            assert damaged.name in str(caught.value)
            assert len(str(caught.value).splitlines()) == 1
            if damaged.name.startswith("variables.data") and damage is _flip_a_bit:
                fault(
                    "storage", "exported weights with one bit flipped", f"refused: {caught.value}"
                )


def test_pieces_of_a_damaged_export_are_refused_too(exported, tmp_path):
    _, path = exported
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    _flip_a_bit(copy / "network.keras")
    for piece in ("network.keras", "saved_model"):
        with pytest.raises(ExportError, match=r"the digest of network\.keras differs"):
            read_export(copy / piece)


def test_a_keras_file_cannot_run_code(tmp_path, fault):
    trap = tmp_path / "trap"
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Lambda(lambda x, path=str(trap): (Path(path).mkdir(), x)[1])(inputs)
    trap.rmdir()  # building the model ran it
    keras.Model(inputs, outputs).save(tmp_path / "lambda.keras")
    with pytest.raises(ExportError, match=r"is no readable \.keras file: .*[Ll]ambda") as caught:
        read_export(tmp_path / "lambda.keras")
    assert not trap.exists()
    fault("security", ".keras file with a Lambda layer", f"refused: {caught.value}")


def _edit_config(source, target, edit):
    """Copy a .keras file with its config.json changed by `edit`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                data = json.dumps(edit(json.loads(data))).encode()
            new.writestr(name, data)


def test_a_keras_file_cannot_name_any_function(exported, tmp_path, fault):
    _, path = exported

    def edit(config):
        config["config"]["layers"][1] = {
            "module": "os", "class_name": "mkdir", "registered_name": None, "name": "x",
            "config": {"path": str(tmp_path / "trap")}, "inbound_nodes": [],
        }  # fmt: skip
        return config

    _edit_config(path / "network.keras", tmp_path / "os.keras", edit)
    with pytest.raises(ExportError, match=r"is no readable \.keras file") as caught:
        read_export(tmp_path / "os.keras")
    assert not (tmp_path / "trap").exists()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../escaped", "assets/../../../escaped", "/tmp/tfsc-escaped"])
@pytest.mark.filterwarnings("ignore:Skipping invalid path")
def test_an_archive_cannot_write_outside(exported, tmp_path, name, fault):
    _, path = exported
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    shutil.copy(path / "network.keras", folder / "evil.keras")
    with zipfile.ZipFile(folder / "evil.keras", "a") as archive:
        archive.writestr(name, "escaped")
    before = _files(tmp_path)
    with contextlib.suppress(ExportError):  # read without it, or refused
        read_export(folder / "evil.keras")
    assert _files(tmp_path) == before
    assert not Path("/tmp/tfsc-escaped").exists()
    if name == "../escaped":
        fault("security", ".keras file with a member ../escaped", "nothing written outside")


def test_nothing_but_an_export_is_replaced(exported, tmp_path):
    network, _ = exported
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="is no export; name another place"):
        write_export(network, NAMES, *RECIPE, 1, tmp_path, _images(4))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_link_is_not_followed_to_an_export_elsewhere(exported, tmp_path):
    network, path = exported
    before = {file: file.read_bytes() for file in _files(path)}
    (tmp_path / "export").symlink_to(path)
    with pytest.raises(ExportError, match="must not be a symbolic link"):
        write_export(network, NAMES, *RECIPE, 1, tmp_path / "export", _images(4))
    assert {file: file.read_bytes() for file in _files(path)} == before


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


def _two_inputs():
    one, two = keras.Input((4,)), keras.Input((4,))
    return keras.Model([one, two], keras.layers.Add()([one, two]))


def _two_outputs():
    inputs = keras.Input((16, 16, 3))
    features = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(3)(features), keras.layers.Dense(3)(features)])


def _maps():
    return keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(3, 1)])


def _strange_sizes():
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalMaxPooling2D()])


@pytest.mark.parametrize("build", [_two_inputs, _two_outputs, _maps, _strange_sizes])
def test_a_foreign_keras_model_is_refused(tmp_path, build, fault):
    build().save(tmp_path / "foreign.keras")
    with pytest.raises(ExportError) as caught:
        read_export(tmp_path / "foreign.keras")
    assert str(caught.value).startswith(f"--export={tmp_path}/foreign.keras: ")
    assert len(str(caught.value).splitlines()) == 1
    if build is _maps:
        fault("bad input", "tfsc.evaluate on a foreign .keras model", f"refused: {caught.value}")


def test_a_saved_model_with_other_outputs_is_refused(tmp_path):
    module = tf.Module()
    (tmp_path / "class_names.txt").write_text("a\nb\n")
    module.class_names = tf.saved_model.Asset(str(tmp_path / "class_names.txt"))
    serve = tf.function(
        lambda images: {"scores": tf.cast(images, tf.float32)},
        input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.uint8, name="images")],
    )
    tf.saved_model.save(module, str(tmp_path / "foreign"), {"uint8": serve})
    with pytest.raises(ExportError, match="must turn uint8 images into logits: 'logits'"):
        read_export(tmp_path / "foreign")
