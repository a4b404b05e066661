"""`write_export`: a trained network as files, checked before they take their place."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsc import files
from tfsc.errors import ExportError, one_line
from tfsc.exports.check import ExportCheck, check_export
from tfsc.exports.exported_model import RECORD, plain_name
from tfsc.layers import all_layers  # noqa: F401 (what the files are read back with)
from tfsc.layers.deep_graphs import deep_graphs
from tfsc.layers.portable import float32_twin, portable

CLASS_NAMES_FILE = "class_names.txt"


def write_export(
    network: keras.Model,
    class_names: tuple[str, ...],
    recipe: str,
    recipe_digest: str,
    step: int,
    directory: Path,
    images: np.ndarray,
) -> None:
    """Write an export; one already at its place is replaced when the new one is complete.

    Args:
        network: from images to logits.
        class_names: one for each logit.
        recipe: what it was trained by, the text of `recipe.flags`.
        recipe_digest: of that recipe.
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
        files.write_text(temporary / "recipe.flags", recipe)
        record = {
            "step": step,
            "recipe_digest": recipe_digest,
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
        with plain_name(directory / "saved_model") as place:
            loaded = tf.saved_model.load(str(place))
        function = loaded.signatures[signature]
        dtype = function.structured_input_signature[1]["images"].dtype
        return function(images=tf.cast(images, dtype))["logits"].numpy()

    def keras_file(images: np.ndarray) -> np.ndarray:
        with deep_graphs():
            network = keras.saving.load_model(
                directory / "network.keras", compile=False, safe_mode=True
            )
        return network(images.astype(np.float32), training=False).numpy()

    return {
        "saved_model": lambda images: saved_model(images, "serving_default"),
        "saved_model, uint8": lambda images: saved_model(images, "uint8"),
        "network.keras": keras_file,
    }
