"""`check_export`: whether the files of an export compute what the network does."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsc.errors import ExportError

IMAGES = 16
# Of the largest logit, at least 1: float32 rounding, with other orders of summation and with
# --winograd, stays two orders of magnitude below.
FILE_TOLERANCE = 1e-4
# Root of the mean square, of that of the logits about their mean: 16-bit rounding took 0.5 to 7 %
# in what was measured, another network takes 1 or more.
TRAINING_TOLERANCE = 0.25

Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ExportCheck:
    """How far apart logits of real images were.

    Attributes:
        images: how many.
        largest_logit: of the network in float32, by absolute value.
        files: largest difference of a file's logits from those of the network in float32.
        training: largest difference of those from the logits in the precision of the training; 0
            for a network trained in float32.
        same_class: on how many images these two name the same class.
    """

    images: int
    largest_logit: float
    files: float
    training: float
    same_class: int


def check_export(
    directory: Path,
    network: keras.Model,
    twin: keras.Model,
    images: np.ndarray,
    files: Mapping[str, Logits],
) -> ExportCheck:
    """Compare the files of an export with the network, on real images, in float32 without TF32.

        files:     max |z_file − z_twin| ≤ 10⁻⁴·max(1, max |z_twin|)
        training:  rms(z_twin − z_network) ≤ ¼·rms(z_network − mean over images and classes)

    The second bound is for networks trained in 16 bits alone, whose float32 twin is another object;
    a floor of 10⁻² holds for logits that are all the same.

    Args:
        directory: of the export, for errors.
        network: as it was trained.
        twin: what was written; the network itself if it computes in float32.
        images: uint8 [n, height, width, channels], n ≥ 1; the first sixteen are taken.
        files: by name, from uint8 images to logits.

    Raises:
        ExportError: if logits are not finite or differ by more.
    """
    images = images[:IMAGES]
    with _no_tf32():
        trained = _logits(network, images)
        expected = trained if twin is network else _logits(twin, images)
        if not np.isfinite(expected).all():
            raise ExportError(f"{directory}: not written: the network's logits are not finite")
        largest = float(np.abs(expected).max())
        found = [
            _difference(directory, name, logits(images), expected, largest)
            for name, logits in files.items()
        ]
    if twin is not network:
        _check_training(directory, trained, expected)
    return ExportCheck(
        images=len(images),
        largest_logit=largest,
        files=max(found),
        training=float(np.abs(expected - trained).max()),
        same_class=int((expected.argmax(axis=1) == trained.argmax(axis=1)).sum()),
    )


def _difference(
    directory: Path, name: str, logits: np.ndarray, expected: np.ndarray, largest: float
) -> float:
    bound = FILE_TOLERANCE * max(1.0, largest)
    if logits.shape != expected.shape:
        raise ExportError(
            f"{directory}: not written: {name} gives {logits.shape} logits, must {expected.shape}"
        )
    difference = float(np.abs(logits - expected).max())
    if not difference <= bound:  # NaN, too
        raise ExportError(
            f"{directory}: not written: logits of {name} differ from the network's by "
            f"{difference:.3g}, must by at most {bound:.3g}"
        )
    return difference


def _check_training(directory: Path, trained: np.ndarray, expected: np.ndarray) -> None:
    """The float32 twin against the network that was trained in 16 bits."""
    difference = _rms(expected - trained)
    bound = max(TRAINING_TOLERANCE * _rms(trained - trained.mean()), 1e-2)
    if not difference <= bound:
        raise ExportError(
            f"{directory}: not written: in float32 the logits differ from those of the training's "
            f"precision by {difference:.3g} (root of the mean square), must by at most {bound:.3g}"
        )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    return network(images.astype(np.float32), training=False).numpy()


@contextmanager
def _no_tf32() -> Iterator[None]:
    was = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(was)
