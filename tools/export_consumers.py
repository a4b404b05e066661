"""Run an export by every program that reads SavedModels, and compare the logits of 100 real images.

    python tools/export_consumers.py runs/a/export runs/b/export

Prints a Markdown table: a row a consumer, with its version; a column an export, with the largest
difference from the logits of TensorFlow's own reading and how many images are of the same class.
The packages are those of `.[test]`; the images the first of the run's validation set. A
consumer that fails, or is off by more than 1e-4 of the largest logit (at least of 1), is named, and
the exit code is 1.
"""

import argparse
import contextlib
import importlib.metadata
import io
import sys
import tempfile
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import numpy as np

IMAGES = 100
TOLERANCE = 1e-4  # of the largest logit, at least of 1

Consumer = Callable[[Path, np.ndarray], np.ndarray]


def tensorflow(export: Path, images: np.ndarray) -> np.ndarray:
    """`tf.saved_model`, `serving_default`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(export / "saved_model"))
    floats = tf.constant(images, tf.float32)
    return loaded.signatures["serving_default"](images=floats)["logits"].numpy()


def tfsm_layer(export: Path, images: np.ndarray) -> np.ndarray:
    """`keras.layers.TFSMLayer`."""
    import keras

    layer = keras.layers.TFSMLayer(export / "saved_model", call_endpoint="serving_default")
    return layer(images.astype(np.float32))["logits"].numpy()


def keras_file(export: Path, images: np.ndarray) -> np.ndarray:
    """`network.keras`, with tfsc's layers."""
    import keras

    from tfsc.layers import all_layers  # noqa: F401

    network = keras.saving.load_model(export / "network.keras", safe_mode=True)
    return network(images.astype(np.float32), training=False).numpy()


def litert(export: Path, images: np.ndarray, signature: str = "serving_default") -> np.ndarray:
    """`tf.lite.TFLiteConverter.from_saved_model`, run by LiteRT."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(export / "saved_model"), signature_keys=[signature]
    )
    runner = Interpreter(model_content=converter.convert()).get_signature_runner(signature)
    dtype = runner.get_input_details()["images"]["dtype"]
    return runner(images=images.astype(dtype))["logits"]


def litert_uint8(export: Path, images: np.ndarray) -> np.ndarray:
    """The same, signature `uint8`."""
    return litert(export, images, "uint8")


def onnx(export: Path, images: np.ndarray, signature: str = "serving_default") -> np.ndarray:
    """tf2onnx, run by ONNX Runtime."""
    import onnxruntime
    import tf2onnx.convert

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        arguments = ["--saved-model", export / "saved_model", "--output", file]
        arguments += ["--tag", "serve", "--signature_def", signature]
        argv = ["tf2onnx", *map(str, arguments)]
        with unittest.mock.patch.object(sys, "argv", argv):
            tf2onnx.convert.main()
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    dtype = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
    return session.run(["logits"], {"images": images.astype(dtype)})[0]


def onnx_uint8(export: Path, images: np.ndarray) -> np.ndarray:
    """The same, signature `uint8`."""
    return onnx(export, images, "uint8")


def openvino(export: Path, images: np.ndarray) -> np.ndarray:
    """OpenVINO, as `openvino.convert_model` reads it, which reports each use over the network.

    Without the hint it computes in bfloat16 on processors that can.
    """
    import openvino

    core = openvino.Core()
    network = core.read_model(export / "saved_model")
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(images.astype(np.float32))["logits"]


# Each with the packages that it needs.
CONSUMERS: dict[str, tuple[Consumer, tuple[str, ...]]] = {
    "tf.saved_model": (tensorflow, ("tensorflow",)),
    "TFSMLayer": (tfsm_layer, ("keras",)),
    "network.keras": (keras_file, ("keras",)),
    "LiteRT": (litert, ("tensorflow", "ai-edge-litert")),
    "LiteRT, uint8": (litert_uint8, ("tensorflow", "ai-edge-litert")),
    "ONNX": (onnx, ("tf2onnx", "onnx", "onnxruntime")),
    "ONNX, uint8": (onnx_uint8, ("tf2onnx", "onnx", "onnxruntime")),
    "OpenVINO": (openvino, ("openvino",)),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("exports", nargs="+", type=Path, help="export directories")
    exports = parser.parse_args(arguments).exports
    columns = [_column(export) for export in exports]
    print("| consumer | versions |" + "".join(f" {export} |" for export in exports))
    print("|---" * (2 + len(exports)) + "|")
    for name, (_, packages) in CONSUMERS.items():
        versions = ", ".join(f"{package} {_version(package)}" for package in packages)
        print(f"| {name} | {versions} |" + "".join(f" {column[name][0]} |" for column in columns))
    return int(not all(good for column in columns for _, good in column.values()))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _column(export: Path) -> dict[str, tuple[str, bool]]:
    """What each consumer made of an export, and whether that is right."""
    images = real_images(export)
    expected = tensorflow(export, images)
    column = {}
    for name, (consumer, _) in CONSUMERS.items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                logits = consumer(export, images)
        except Exception as error:  # whatever a foreign program raises is its row
            column[name] = f"{type(error).__name__}: {_first_line(error)}", False
            continue
        difference = np.abs(logits - expected).max()
        same = int((logits.argmax(1) == expected.argmax(1)).sum())
        good = difference <= TOLERANCE * max(1, np.abs(expected).max())
        column[name] = f"{difference:.1e}, {same} of {len(images)}", bool(good)
    return column


def real_images(export: Path) -> np.ndarray:
    """The first images of the validation set of the export's run."""
    from tfsc.data.source import load
    from tfsc.data.split import split
    from tfsc.evaluation.evaluate import trained_by
    from tfsc.exports.exported_model import read_export

    recipe = trained_by(read_export(export), export)
    source = load(recipe.dataset, recipe.data_dir)
    return split(source, recipe.val_split, 0, recipe.seed).val.images[:IMAGES]


if __name__ == "__main__":
    sys.exit(main())
