"""Exported models: written by a run, read by `tfsc.evaluate` and by anyone else.

    export/saved_model/    SavedModel; class names, one a line, are its asset
    export/network.keras   the network for further training in Keras (import tfsc.models.norm first)
    export/recipe.flags    the recipe it was trained by
    export/export.json     step, classes, digest of the recipe

The SavedModel's signatures take [n, height, width, channels]: `serving_default` float32 0–255 and
`uint8`; both return "logits" and "probabilities", float32 [n, classes].
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsc import files
from tfsc.errors import ExportError, RecipeError
from tfsc.models.norm import FusedBatchNormalization
from tfsc.recipe import Recipe

CLASS_NAMES_FILE = "class_names.txt"
RECORD = "export.json"

# The layers of tfsc that a .keras file may name.
_CUSTOM_LAYERS = {"tfsc>FusedBatchNormalization": FusedBatchNormalization}


def write_export(
    network: keras.Model,
    class_names: tuple[str, ...],
    recipe: Recipe,
    step: int,
    directory: Path,
) -> None:
    """Write an export; one already at its place is replaced when the new one is complete.

    Raises:
        ExportError: if something else is at its place, or it cannot be written.
    """
    check_place(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        _write_saved_model(network, class_names, temporary)
        network.save(temporary / "network.keras")
        files.write_text(temporary / "recipe.flags", recipe.flagfile())
        record = {
            "step": step,
            "recipe_digest": recipe.digest,
            "class_names": list(class_names),
        }
        files.write_text(temporary / RECORD, json.dumps(record, indent=1) + "\n")
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide it from a model server
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
        files.sync_directory(directory.parent)
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(f"{directory}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_place(directory: Path) -> None:
    """Refuse to replace anything but an export.

    Raises:
        ExportError: if `directory` is there and neither empty nor an export.
    """
    if directory.is_dir() and ((directory / RECORD).is_file() or not any(directory.iterdir())):
        return
    if directory.exists():
        raise ExportError(f"{directory}: is there already and is no export; name another place")


def _write_saved_model(network: keras.Model, class_names: tuple[str, ...], directory: Path) -> None:
    # The asset is copied into the SavedModel; its own file then goes.
    names_file = directory / CLASS_NAMES_FILE
    names_file.write_text("\n".join(class_names) + "\n", encoding="utf-8")
    module = tf.Module()
    module.network = network
    module.class_names = tf.saved_model.Asset(str(names_file))

    def serve(images):
        logits = network(tf.cast(images, tf.float32), training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    shape = (None, *network.input_shape[1:])
    signatures = {
        name: tf.function(serve, [tf.TensorSpec(shape, dtype, name="images")])
        for name, dtype in (("serving_default", tf.float32), ("uint8", tf.uint8))
    }
    tf.saved_model.save(module, str(directory / "saved_model"), signatures)
    names_file.unlink()


@dataclass(frozen=True)
class ExportedModel:
    """A model read back: what it computes and what it knows of itself.

    Attributes:
        logits: uint8 images [n, h, w, c] → float32 logits [n, classes].
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


def read_export(path: Path) -> ExportedModel:
    """Read an export directory, a SavedModel directory or a .keras file.

    Raises:
        ExportError: if it is damaged or none of tfsc's.
    """
    home = export_home(path)
    if path.suffix == ".keras":
        return _read_keras(path, home)
    folder = path / "saved_model" if (path / "saved_model").is_dir() else path
    if not (folder / "saved_model.pb").is_file():
        raise ExportError(
            f"--export={path}: must be an export of tfsc, a SavedModel directory or a .keras file"
        )
    return _read_saved_model(path, folder, home)


def export_home(path: Path) -> Path | None:
    """The export directory that `path` is, or is in; None for a model on its own."""
    return next((place for place in (path, path.parent) if (place / RECORD).is_file()), None)


def _read_saved_model(path: Path, folder: Path, home: Path | None) -> ExportedModel:
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["uint8"]
        names_file = Path(loaded.class_names.asset_path.numpy().decode())
        class_names = tuple(names_file.read_text(encoding="utf-8").splitlines())
        (images,) = (
            spec for spec in signature.structured_input_signature[1].values() if spec is not None
        )
    except (OSError, KeyError, AttributeError, ValueError, tf.errors.OpError) as error:
        raise ExportError(
            f"--export={path}: is no SavedModel of tfsc, or is damaged: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    recipe, step, _ = _read_record(home)

    def logits(batch: np.ndarray, _keep_alive=loaded) -> np.ndarray:
        return signature(images=tf.constant(batch))["logits"].numpy()

    return ExportedModel(logits, tuple(images.shape[1:]), class_names, recipe, step)


def _read_keras(path: Path, home: Path | None) -> ExportedModel:
    try:
        network = keras.saving.load_model(
            path, custom_objects=_CUSTOM_LAYERS, compile=False, safe_mode=True
        )
        shape = tuple(network.input_shape[1:])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"--export={path}: is no readable .keras file: {first_line}") from error
    step_of = tf.function(lambda batch: network(tf.cast(batch, tf.float32), training=False))
    recipe, step, names = _read_record(home)
    return ExportedModel(
        lambda batch: step_of(tf.constant(batch)).numpy(), shape, names, recipe, step
    )


def _read_record(
    home: Path | None,
) -> tuple[Recipe | None, int | None, tuple[str, ...] | None]:
    """Recipe, step and class names of the export directory a model is in, if it is in one."""
    if home is None:
        return None, None, None
    try:
        recipe = Recipe.from_flagfile((home / "recipe.flags").read_text(encoding="utf-8"))
        record = json.loads((home / RECORD).read_text(encoding="utf-8"))
        return recipe, int(record["step"]), tuple(record["class_names"])
    except (RecipeError, OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"--export={home}: its record is damaged: {error}") from None
