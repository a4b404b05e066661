"""`read_export`: a model read back, what it computes and what it knows of itself."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsc import files
from tfsc.errors import ExportError, one_line
from tfsc.layers import all_layers  # noqa: F401 (what a .keras file may name)
from tfsc.layers.deep_graphs import deep_graphs

RECORD = "export.json"


@dataclass(frozen=True)
class ExportedModel:
    """A model read back: what it computes and what it knows of itself.

    Attributes:
        logits: uint8 images [n, h, w, c] → float32 logits [n, classes]; of a foreign model perhaps
            probabilities (see `Outputs`).
        image_shape: (height, width, channels).
        class_names: None if the export does not tell (a bare .keras file).
        recipe: of its training, the text of `recipe.flags`; None if the export does not tell.
        step: optimizer steps it was trained for, if known.
    """

    logits: Callable[[np.ndarray], np.ndarray]
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    recipe: str | None
    step: int | None


@dataclass(frozen=True)
class _Record:
    """What an export directory tells of its model; each None if there is no such directory."""

    recipe: str | None
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
        with plain_name(folder) as place:
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
def plain_name(folder: Path) -> Iterator[Path]:
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
        with deep_graphs():
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
        recipe = (home / "recipe.flags").read_text(encoding="utf-8")
        return _Record(recipe, int(record["step"]), tuple(record["class_names"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"--export={home}: {RECORD} is damaged: {error}") from None
