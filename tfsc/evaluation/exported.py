"""Exported models: written by a run, read by `tfsc.evaluate` and by anyone else.

    export/saved_model/    SavedModel; class names, one a line, are its asset
    export/network.keras   the network for further training in Keras
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

# The layers of tfsc that a .keras file may name.
_CUSTOM_LAYERS = {"tfsc>FusedBatchNormalization": FusedBatchNormalization}


def write_export(
    network: keras.Model,
    class_names: tuple[str, ...],
    recipe: Recipe,
    step: int,
    directory: Path,
) -> None:
    """Write an export; one already at its place is replaced when the new one is complete."""
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
        files.write_text(temporary / "export.json", json.dumps(record, indent=1) + "\n")
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide it from a model server
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
        files.sync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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
    if path.suffix == ".keras":
        return _read_keras(path)
    folder = path / "saved_model" if (path / "saved_model").is_dir() else path
    if not (folder / "saved_model.pb").is_file():
        raise ExportError(
            f"--export={path}: must be an export of tfsc, a SavedModel directory or a .keras file"
        )
    return _read_saved_model(path, folder)


def _read_saved_model(path: Path, folder: Path) -> ExportedModel:
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
    recipe, step = _read_record(path)

    def logits(batch: np.ndarray, _keep_alive=loaded) -> np.ndarray:
        return signature(images=tf.constant(batch))["logits"].numpy()

    return ExportedModel(logits, tuple(images.shape[1:]), class_names, recipe, step)


def _read_keras(path: Path) -> ExportedModel:
    try:
        network = keras.saving.load_model(
            path, custom_objects=_CUSTOM_LAYERS, compile=False, safe_mode=True
        )
        shape = tuple(network.input_shape[1:])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"--export={path}: is no readable .keras file: {first_line}") from error
    step_of = tf.function(lambda batch: network(tf.cast(batch, tf.float32), training=False))
    recipe, step, names = None, None, None
    if (path.parent / "export.json").exists():
        recipe, step = _read_record(path.parent)
        names = tuple(
            json.loads((path.parent / "export.json").read_text(encoding="utf-8"))["class_names"]
        )
    return ExportedModel(
        lambda batch: step_of(tf.constant(batch)).numpy(), shape, names, recipe, step
    )


def _read_record(directory: Path) -> tuple[Recipe | None, int | None]:
    """Recipe and step beside a model, where they are."""
    recipe_path, record_path = directory / "recipe.flags", directory / "export.json"
    try:
        recipe = (
            Recipe.from_flagfile(recipe_path.read_text(encoding="utf-8"))
            if recipe_path.exists()
            else None
        )
        step = (
            json.loads(record_path.read_text(encoding="utf-8"))["step"]
            if record_path.exists()
            else None
        )
    except (RecipeError, OSError, ValueError, KeyError) as error:
        raise ExportError(f"--export={directory}: its record is damaged: {error}") from None
    return recipe, step
