"""Where a run's numbers come from: versions, device, commit, command."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfsc.data.examples import Source

_PACKAGE = Path(__file__).parents[1]
_PACKAGES = (
    "tfsc",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "scikit-learn",
    "tensorflow-datasets",
)


def provenance(source: Source, recipe_digest: str, came_to: Mapping[str, Any]) -> dict[str, Any]:
    """One start of a run, as a JSON-able record.

    Args:
        source: the dataset.
        recipe_digest: of the recipe.
        came_to: what settings came to on this machine, by name: "precision", and for "native" what
            was computed in C++.
    """
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": ["python", "-m", "tfsc.train", *sys.argv[1:]],
        "recipe_digest": recipe_digest,
        **came_to,
        "dataset": {
            "name": source.name,
            "version": source.version,
            "digest": source.digest,
            "class_names": list(source.class_names),
        },
        **environment(),
    }


def other_rounding(starts: Sequence[Mapping[str, Any]]) -> str:
    """A line if the last start computes something else in C++ than the first; else nothing.

    Args:
        starts: records of `provenance`, also of versions before --native.
    """
    begun, now = (_in_cpp(start) for start in (starts[0], starts[-1]))
    if begun == now:
        return ""
    return (
        f"begun with {begun} in C++, goes on with {now}: the same within rounding, not to the last "
        "bit"
    )


_NATIVE = ("norm", "pointwise", "winograd", "augment")
# Before --native each was recorded under the name of a flag of its own; before these, not at all.
_BEFORE_NATIVE = {"norm": "fused_norm", "winograd": "winograd", "augment": "fused_augment"}


def _in_cpp(start: Mapping[str, Any]) -> str:
    """What a start computed in C++, and what that was: "norm, augment (avx2, 0123456789abcdef)"."""
    native = start.get("native")
    if not isinstance(native, Mapping):
        native = {name: start.get(before, False) for name, before in _BEFORE_NATIVE.items()}
        native |= {"level": start.get("native_level", ""), "library": "of another version"}
    used = [name for name in _NATIVE if native.get(name)]
    return f"{', '.join(used)} ({native['level']}, {native['library']})" if used else "nothing"


def environment() -> dict[str, Any]:
    """Commit, versions and device: what any measurement depends on beside its command."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": _versions(),
        "device": _device(),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _commit(folder: Path = _PACKAGE) -> dict[str, Any] | None:
    """The checkout's commit and whether the package has been changed; None outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"id": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "."))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _device() -> dict[str, Any]:
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "cpu": _cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in gpus
        ],
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
