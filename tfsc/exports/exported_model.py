"""Exported models: written by a run, read by `tfsc.evaluate` and by anyone else.

    export/saved_model/    SavedModel; class names, one a line, are its asset
    export/network.keras   the network for further training in Keras (import tfsc.models.registry)
    export/recipe.flags    the recipe it was trained by
    export/export.json     step, classes, digest of the recipe, check, SHA-256 of each file

The SavedModel's signatures take [n, height, width, channels]: `serving_default` float32 0–255 and
`uint8`; both return "logits" and "probabilities", float32 [n, classes]. Both files compute in
float32, whatever the network was trained in, and are read back and checked (`check_export`) before
they take their place.
"""

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsc import files
from tfsc.errors import ExportError, RecipeError, one_line
from tfsc.exports.check import ExportCheck, check_export
from tfsc.layers.portable import float32_twin, portable
from tfsc.models import registry  # noqa: F401 (registers every layer that a .keras file may name)
from tfsc.recipe import Recipe

CLASS_NAMES_FILE = "class_names.txt"
RECORD = "export.json"


def write_export(
    network: keras.Model,
    class_names: tuple[str, ...],
    recipe: Recipe,
    step: int,
    directory: Path,
    images: np.ndarray,
) -> None:
    """Write an export; one already at its place is replaced when the new one is complete.

    Args:
        network: from images to logits.
        class_names: one for each logit.
        recipe: what it was trained by.
        step: optimizer steps it was trained for.
        directory: where to.
        images: uint8 [n, height, width, channels], n ≥ 1, real ones; the first sixteen show whether
            what was written computes what the network does.

    Raises:
        ExportError: if something else is at its place, it cannot be written, the network's
            weights are not finite, or what was written computes something else.
        tf.errors.AbortedError: if this machine cannot compute the network in its precision.
    """
    check_place(directory)
    _check_finite(network, directory)
    temporary = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{directory.name}.partial-"
        _remove_abandoned(directory.parent, prefix)
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
        twin = float32_twin(network)
        _write_saved_model(twin, class_names, temporary)
        _write_keras(twin, temporary)
        check = _checked(directory, network, twin, images, temporary)
        files.write_text(temporary / "recipe.flags", recipe.flagfile())
        record = {
            "step": step,
            "recipe_digest": recipe.digest,
            "class_names": list(class_names),
            "check": dataclasses.asdict(check),
            "files": {
                path.relative_to(temporary).as_posix(): files.sha256(path)
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            },
        }
        files.write_text(temporary / RECORD, files.sealed(record))
        files.sync_tree(temporary)
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide it from a model server
        if directory.exists():
            # Moved aside first: removing takes long, and a kill would leave half an export.
            directory.rename(temporary.with_name(f"{temporary.name}-old"))
        temporary.rename(directory)
        files.sync_directory(directory.parent)
    except tf.errors.AbortedError:
        raise
    except (OSError, RuntimeError, tf.errors.OpError) as error:  # h5py raises RuntimeError
        raise ExportError(f"{directory}: cannot be written: {one_line(error)}") from error
    finally:
        if temporary:
            for path in (temporary, temporary.with_name(f"{temporary.name}-old")):
                shutil.rmtree(path, ignore_errors=True)


def _checked(
    directory: Path, network: keras.Model, twin: keras.Model, images: np.ndarray, written: Path
) -> ExportCheck:
    """What comparing the files with the network found.

    Raises:
        ExportError: if they differ, or cannot be read back or computed.
    """
    try:
        return check_export(directory, network, twin, images, _logits_of_files(written))
    except tf.errors.AbortedError:  # in the network's precision: no fault of the files
        raise
    except (ValueError, TypeError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ExportError(
            f"{directory}: not written: its files could not be compared with the network: "
            f"{one_line(error)}"
        ) from error


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove exports that were killed while they were written, a day ago or earlier."""
    for path in folder.iterdir():
        if path.name.startswith(prefix) and path.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(path)


def _check_finite(network: keras.Model, directory: Path) -> None:
    bad = [weight.path for weight in network.weights if not np.isfinite(weight.numpy()).all()]
    if bad:
        raise ExportError(
            f"{directory}: not written: {len(bad)} of {len(network.weights)} weights are not "
            f"finite, {bad[0]} first"
        )


def check_place(directory: Path) -> None:
    """Refuse to replace anything but an export.

    Raises:
        ExportError: if `directory` is a link, or there and neither empty nor an export.
    """
    if directory.is_symlink():
        raise ExportError(f"{directory}: must not be a symbolic link; name another place")
    if directory.is_dir() and ((directory / RECORD).is_file() or not any(directory.iterdir())):
        return
    if directory.exists():
        raise ExportError(f"{directory}: is there already and is no export; name another place")


def _write_saved_model(network: keras.Model, class_names: tuple[str, ...], directory: Path) -> None:
    # The asset is copied into the SavedModel; its own file then goes.
    names_file = directory / CLASS_NAMES_FILE
    names_file.write_text("\n".join(class_names) + "\n", encoding="utf-8")
    module = tf.Module()
    # The variables themselves: TensorFlow does not see them in a Keras network, and what then
    # freezes the graph (tf.lite) leaves them out without an error. The network's layers are not
    # tracked, each of which would be traced by itself.
    module.network_variables = [variable.value for variable in network.variables]
    module.class_names = tf.saved_model.Asset(str(names_file))
    shape = (None, *network.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="images")])
    def serve(images):
        logits = network(images, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")])
    def serve_uint8(images):
        return serve(tf.cast(images, tf.float32))

    with portable():  # traced here
        signatures = {"serving_default": serve, "uint8": serve_uint8}
        tf.saved_model.save(module, str(directory / "saved_model"), signatures)
    names_file.unlink()


def _write_keras(network: keras.Model, directory: Path) -> None:
    network.save(directory / "network.keras")


def _logits_of_files(directory: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What each file of an export makes of uint8 images, by its name; each read when called."""

    def saved_model(images: np.ndarray, signature: str) -> np.ndarray:
        with _plain_name(directory / "saved_model") as place:
            loaded = tf.saved_model.load(str(place))
        function = loaded.signatures[signature]
        dtype = function.structured_input_signature[1]["images"].dtype
        return function(images=tf.cast(images, dtype))["logits"].numpy()

    def keras_file(images: np.ndarray) -> np.ndarray:
        network = keras.saving.load_model(
            directory / "network.keras", compile=False, safe_mode=True
        )
        return network(images.astype(np.float32), training=False).numpy()

    return {
        "saved_model": lambda images: saved_model(images, "serving_default"),
        "saved_model, uint8": lambda images: saved_model(images, "uint8"),
        "network.keras": keras_file,
    }


@dataclass(frozen=True)
class ExportedModel:
    """A model read back: what it computes and what it knows of itself.

    Attributes:
        logits: uint8 images [n, h, w, c] → float32 logits [n, classes]; of a foreign model perhaps
            probabilities (see `Outputs`).
        image_shape: (height, width, channels).
        class_names: None if the export does not tell (a bare .keras file).
        recipe: of its training; None if the export does not tell.
        step: optimizer steps it was trained for, if known.
    """

    logits: Callable[[np.ndarray], np.ndarray]
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    recipe: Recipe | None
    step: int | None


@dataclass(frozen=True)
class _Record:
    """What an export directory tells of its model; each None if there is no such directory."""

    recipe: Recipe | None
    step: int | None
    class_names: tuple[str, ...] | None


def read_export(path: Path) -> ExportedModel:
    """Read an export directory, a SavedModel directory or a .keras file.

    Raises:
        ExportError: if it is damaged or none of tfsc's.
    """
    record = _read_record(export_home(path))
    model = _read_keras(path, record) if path.suffix == ".keras" else _read_folder(path, record)
    _check_kind(path, model)
    return model


def _check_kind(path: Path, model: ExportedModel) -> None:
    """Refuse a model that does not turn images into a row of logits each."""
    try:
        logits = model.logits(np.zeros((2, *model.image_shape), np.uint8))
        if logits.ndim != 2 or len(logits) != 2 or not np.issubdtype(logits.dtype, np.floating):
            raise ValueError(f"its outputs are {logits.dtype} of shape {logits.shape}")
    except Exception as error:  # a foreign model may compute, or fail to compute, anything
        raise ExportError(
            f"--export={path}: must turn uint8 images into logits: {one_line(error)}"
        ) from error


def _read_folder(path: Path, record: _Record) -> ExportedModel:
    folder = path / "saved_model" if (path / "saved_model").is_dir() else path
    if not (folder / "saved_model.pb").is_file():
        raise ExportError(
            f"--export={path}: must be an export of tfsc, a SavedModel directory or a .keras file"
        )
    return _read_saved_model(path, folder, record)


def export_home(path: Path) -> Path | None:
    """The export directory that `path` is, or is in; None for a model on its own."""
    return next((place for place in (path, path.parent) if (place / RECORD).is_file()), None)


def _read_saved_model(path: Path, folder: Path, record: _Record) -> ExportedModel:
    try:
        with _plain_name(folder) as place:
            loaded = tf.saved_model.load(str(place))
            names_file = Path(loaded.class_names.asset_path.numpy().decode())
            class_names = tuple(names_file.read_text(encoding="utf-8").splitlines())
        signature = loaded.signatures["uint8"]
        (images,) = (
            spec for spec in signature.structured_input_signature[1].values() if spec is not None
        )
    except Exception as error:  # damaged bytes raise whatever TensorFlow's loaders do
        raise ExportError(
            f"--export={path}: is no SavedModel of tfsc, or is damaged: {one_line(error)}"
        ) from error

    def logits(batch: np.ndarray, _keep_alive=loaded) -> np.ndarray:
        return signature(images=tf.constant(batch))["logits"].numpy()

    return ExportedModel(logits, tuple(images.shape[1:]), class_names, record.recipe, record.step)


@contextlib.contextmanager
def _plain_name(folder: Path) -> Iterator[Path]:
    """The folder under a name without wildcards: TensorFlow would look for other files."""
    if not any(character in "*?[]\\" for character in str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = Path(temporary) / "model"
        link.symlink_to(folder.absolute())
        yield link


def _read_keras(path: Path, record: _Record) -> ExportedModel:
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
        shape = tuple(network.input_shape)[1:]
        if len(shape) != 3 or not all(isinstance(size, int) for size in shape):
            raise ValueError(f"takes {network.input_shape}, must take images of one size")
    except Exception as error:  # damaged bytes raise whatever zip, JSON and HDF5 readers do
        raise ExportError(
            f"--export={path}: is no readable .keras file: {one_line(error)}"
        ) from error

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8)])
    def logits(batch):
        outputs = network(tf.cast(batch, tf.float32), training=False)
        half = isinstance(outputs, tf.Tensor) and outputs.dtype in (tf.bfloat16, tf.float16)
        return tf.cast(outputs, tf.float32) if half else outputs

    return ExportedModel(
        lambda batch: logits(tf.constant(batch)).numpy(),
        shape,
        record.class_names,
        record.recipe,
        record.step,
    )


def _read_record(home: Path | None) -> _Record:
    """What the export directory tells of the model in it; nothing for a model on its own.

    Raises:
        ExportError: if one of the export's files is not as it was written.
    """
    if home is None:
        return _Record(None, None, None)
    try:
        record = files.unsealed((home / RECORD).read_text(encoding="utf-8"))
        for name, digest in record["files"].items():
            if not (home / name).is_file():
                raise ExportError(f"--export={home}: is damaged: {name} is missing")
            if files.sha256(home / name) != digest:
                raise ExportError(f"--export={home}: is damaged: the digest of {name} differs")
        recipe = Recipe.from_flagfile((home / "recipe.flags").read_text(encoding="utf-8"))
        return _Record(recipe, int(record["step"]), tuple(record["class_names"]))
    except (RecipeError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"--export={home}: {RECORD} is damaged: {error}") from None
