"""`differences`: in what two run directories differ, timings aside. Imports no TensorFlow."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfsc import files
from tfsc.errors import RunDirectoryError

# What a summary says of the machine and not of the run.
_TIMINGS = ("seconds", "images_per_second", "joules", "gpu_utilization", "peak_memory_mib")


def differences(one: Path, two: Path) -> list[str]:
    """In what two runs differ: weights, metrics, steps, summary, split and export, timings aside.

    Args:
        one: a run directory with a checkpoint.
        two: another.

    Returns:
        A line a difference; none if the two are the same run, bit for bit.

    Raises:
        RunDirectoryError: if one of them is no run, has no checkpoint, or is damaged.
    """
    return [
        *_checkpoint_differences(_newest_checkpoint(one), _newest_checkpoint(two)),
        *_metrics_differences(metrics_without_timings(one), metrics_without_timings(two)),
        *_step_differences(one, two),
        *_field_differences("summary.json", _summary(one), _summary(two)),
        *_array_differences("split", "arrays", _split(one), _split(two)),
        *_export_differences(one / "export", two / "export"),
    ]


def metrics_without_timings(run_dir: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv as text, without the columns of timings; none without the file."""
    path = run_dir / "metrics.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: value for name, value in row.items() if "second" not in str(name)}
            for row in csv.DictReader(file)
        ]


def _step_differences(one: Path, two: Path) -> list[str]:
    """In what two steps.csv differ; of runs with other executions, only the steps of both count."""
    rows, settings = [], []
    for run_dir in (one, two):
        path = run_dir / "steps.csv"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows.append({line.partition(",")[0]: line for line in lines})
        recipe = (run_dir / "recipe.flags").read_text(encoding="utf-8").splitlines()
        settings.append([line for line in recipe if line.startswith("--steps_per_execution=")])
    if settings[0] != settings[1]:
        common = rows[0].keys() & rows[1].keys()
        rows = [{step: row for step, row in of.items() if step in common} for of in rows]
    if len(rows[0]) != len(rows[1]):
        return [f"steps.csv: {len(rows[0])} lines, {len(rows[1])}"]
    for step, row in rows[0].items():
        if rows[1].get(step) != row:
            return [f"steps.csv: {row}, {rows[1].get(step, f'no step {step}')}"]
    return []


def _newest_checkpoint(run_dir: Path) -> tuple[int, dict[str, np.ndarray]]:
    """Step and variables of the newest committed checkpoint."""
    if not (run_dir / "recipe.flags").is_file():
        raise RunDirectoryError(f"{run_dir} is no run directory: it has no recipe.flags")
    records = {
        int(path.stem[5:]): path
        for path in (run_dir / "checkpoints").glob("step-*.json")
        if path.stem[5:].isdecimal()
    }
    if not records:
        raise RunDirectoryError(f"{run_dir} has no checkpoint")
    step = max(records)
    try:
        record = files.unsealed(records[step].read_text(encoding="utf-8"))
        with np.load(records[step].with_name(record["arrays"]), allow_pickle=False) as archive:
            return step, {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunDirectoryError(f"checkpoint {records[step]} is damaged: {error}") from None


def _checkpoint_differences(
    one: tuple[int, dict[str, np.ndarray]], two: tuple[int, dict[str, np.ndarray]]
) -> list[str]:
    found = _array_differences("newest checkpoint", "variables", one[1], two[1])
    if one[0] != two[0]:
        found.insert(0, f"newest checkpoint: step {one[0]}, {two[0]}")
    return found


def _array_differences(
    place: str, kind: str, one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]
) -> list[str]:
    found = []
    for side, missing in (("second", one.keys() - two.keys()), ("first", two.keys() - one.keys())):
        if missing:
            found.append(
                f"{place}: the {side} lacks {len(missing)} {kind}, {min(missing)} the first"
            )
    both = [name for name in one if name in two]
    differing = [name for name in both if not _same_bits(one[name], two[name])]
    if differing:
        name = differing[0]
        found.append(
            f"{place}: {len(differing)} of {len(both)} {kind} differ, the first {name}: "
            f"{_how_far(one[name], two[name])}"
        )
    return found


def _same_bits(one: np.ndarray, two: np.ndarray) -> bool:
    """Compares bytes: NaN equals itself, and 0 is not −0."""
    return (
        one.dtype == two.dtype and one.shape == two.shape and bool(one.tobytes() == two.tobytes())
    )


def _how_far(one: np.ndarray, two: np.ndarray) -> str:
    if one.dtype != two.dtype or one.shape != two.shape:
        return f"{one.dtype}{list(one.shape)}, {two.dtype}{list(two.shape)}"
    if one.dtype.kind not in "biuf":
        return "other bytes"
    differing = np.any(_bytes(one) != _bytes(two), axis=1)
    with np.errstate(invalid="ignore"):
        distances = np.abs(
            one.ravel()[differing].astype(np.float64) - two.ravel()[differing].astype(np.float64)
        )
    if not np.isfinite(distances).all():
        return "not finite in one of them"
    return f"by up to {distances.max():.3g}"


def _bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of each element, [elements, bytes]."""
    return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, -1)


def _metrics_differences(one: list[dict[str, str]], two: list[dict[str, str]]) -> list[str]:
    if len(one) != len(two):
        return [f"metrics.csv: {len(one)} rows, {len(two)}"]
    differing = [number for number, rows in enumerate(zip(one, two, strict=True)) if _differ(*rows)]
    if not differing:
        return []
    number = differing[0]
    (first,) = _field_differences("", one[number], two[number])[:1]
    return [f"metrics.csv: {len(differing)} of {len(one)} rows differ, row {number + 1}{first}"]


def _differ(one: dict[str, str], two: dict[str, str]) -> bool:
    # The order of the columns is part of the text.
    return list(one.items()) != list(two.items())


def _field_differences(place: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """A line for each name with other values; the order of the names, if nothing else."""
    found = [
        f"{place}: {name}: {one.get(name)}, {two.get(name)}"
        for name in dict.fromkeys([*one, *two])
        if name not in one or name not in two or one[name] != two[name]
    ]
    if not found and list(one) != list(two):
        found.append(f"{place}: another order of {', '.join(one)}")
    return found


def _summary(run_dir: Path) -> dict[str, Any]:
    summary = _json(run_dir / "summary.json")
    return {name: value for name, value in summary.items() if name not in _TIMINGS}


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty without the file."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None


def _split(run_dir: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for path in sorted((run_dir / "split").glob("*.npy")):
        try:
            arrays[path.name] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunDirectoryError(f"{path} is damaged: {error}") from None
    return arrays


def _export_differences(one: Path, two: Path) -> list[str]:
    if one.exists() != two.exists():
        return [f"export: only the {'first' if one.exists() else 'second'} has one"]
    if not one.exists():
        return []
    # Not the SavedModel: TensorFlow writes random names into it. Its weights are the same.
    return [
        *_field_differences("export.json", _export_record(one), _export_record(two)),
        *_array_differences("network.keras", "weights", _keras_weights(one), _keras_weights(two)),
    ]


def _export_record(export: Path) -> dict[str, Any]:
    record = _json(export / "export.json")
    return {name: record.get(name) for name in ("step", "class_names")}


def _keras_weights(export: Path) -> dict[str, np.ndarray]:
    path = export / "network.keras"
    arrays = {}

    def add(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = node[()]

    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r") as file:
            file.visititems(add)
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None
    return arrays
