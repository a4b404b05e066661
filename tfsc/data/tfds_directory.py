"""Prepared TFDS directories: found, downloaded, decoded.

TFDS is imported only to download or decode: that takes seconds, finding a directory does not.
"""

import hashlib
import os
import socket
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfsc.data import cache
from tfsc.data.examples import Examples, Source, make_source
from tfsc.errors import DataError


def find(name: str, data_dir: str) -> Path | None:
    """The newest prepared version of `name`, found without importing TFDS (that takes seconds)."""
    name, _, version = name.partition(":")
    found = [
        path.parent
        for path in (_root(data_dir) / name).glob("*/dataset_info.json")
        # TFDS prepares in 3.0.2.incompleteXYZ: only whole versions count.
        if all(part.isdigit() for part in path.parent.name.split("."))
        and version in ("", path.parent.name)
    ]
    return max(found, key=_version_key, default=None)


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))


def _root(data_dir: str) -> Path:
    """The TFDS directory: the one named, TFDS_DATA_DIR, or TFDS's own."""
    named = data_dir or os.environ.get("TFDS_DATA_DIR", "")
    return Path(named or "~/tensorflow_datasets").expanduser()


def key(prepared: Path) -> str:
    """Version and digest of a prepared directory: its description and its files' sizes."""
    digest = hashlib.sha256(f"format {cache.FORMAT}".encode())
    for path in sorted(prepared.iterdir()):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        if path.suffix == ".json":
            digest.update(path.read_bytes())
    return f"{prepared.name}-{digest.hexdigest()[:16]}"


def download(name: str, data_dir: str) -> Path:
    """Let TFDS download and prepare a dataset; return its directory."""
    import tensorflow_datasets as tfds

    root = _root(data_dir)
    try:
        builder = tfds.builder(name, data_dir=str(root))
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DataError(f"--dataset={name}: TFDS has no such dataset: {first_line}") from None
    _check_kind(name, builder.info)
    if (Path(builder.data_dir) / "dataset_info.json").exists():
        return Path(builder.data_dir)  # in its default configuration
    reason = _unreachable_host(builder)
    if not reason:
        try:
            builder.download_and_prepare()
            return Path(builder.data_dir)
        except Exception as error:
            # TFDS raises whatever its HTTP client, archive reader or file system does.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    base = name.partition(":")[0]
    raise DataError(
        f"--dataset={name}: not prepared under {root} and could not be downloaded ({reason}). "
        f'Where there is network, `python -c "import tensorflow_datasets as tfds; '
        f"tfds.load('{name}')\"` prepares ~/tensorflow_datasets/{base} (CIFAR-10's own host is "
        "slow at times); copy that directory here and pass its parent as --data_dir or "
        "TFDS_DATA_DIR. --dataset=digits needs no download"
    )


def _unreachable_host(builder) -> str:
    """Why the download cannot start, at once: TFDS itself would retry for minutes."""
    if urllib.request.getproxies():
        return ""  # the proxy resolves names
    for url in builder.url_infos or ():
        host = urllib.parse.urlsplit(url).hostname
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            return f"{host}: {error.strerror or error}"
    return ""


def _check_kind(name: str, info) -> None:
    """Refuse what is not image classification with one image size and two splits."""
    features = info.features
    if not hasattr(features, "keys") or not {"image", "label"} <= set(features.keys()):
        raise DataError(f"--dataset={name}: must have features 'image' and 'label'")
    shape = features["image"].shape
    if len(shape) != 3 or None in shape:
        raise DataError(f"--dataset={name}: must have one image size, received shape {shape}")
    if getattr(features["label"], "num_classes", None) is None:
        raise DataError(f"--dataset={name}: label must be a class, received {features['label']}")


def decode(prepared: Path) -> Source:
    """Read a prepared directory into arrays, in the order of its files."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(prepared))
    except Exception as error:  # its parsers raise errors of many kinds
        raise DataError(f"{prepared} is no readable TFDS directory: {error}") from error
    _check_kind(builder.name, builder.info)
    for split in ("train", "test"):
        if split not in builder.info.splits:
            have = ", ".join(builder.info.splits) or "none"
            raise DataError(f"{prepared} has no split '{split}' (it has: {have})")
    # One file after the other: the order is that of the files, whatever the machine.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    parts = {}
    for split in ("train", "test"):
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        dataset = dataset.map(lambda row: (row["image"], row["label"]), tf.data.AUTOTUNE)
        try:
            batches = list(dataset.batch(1000).as_numpy_iterator())
        except (tf.errors.OpError, OSError) as error:
            raise DataError(
                f"split '{split}' of {prepared} is damaged or incomplete: "
                f"{str(error).splitlines()[0]}; bring the directory again"
            ) from error
        if not batches:
            raise DataError(f"split '{split}' of {prepared} is empty")
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches]).astype(np.int32)
        parts[split] = Examples(images, labels)
    names = tuple(builder.info.features["label"].names)
    for split, examples in parts.items():
        if examples.images.dtype != np.uint8:
            raise DataError(f"{prepared}: images must be uint8, received {examples.images.dtype}")
        expected = builder.info.splits[split].num_examples
        if len(examples) != expected:
            raise DataError(
                f"split '{split}' of {prepared} has {len(examples)} of {expected} examples"
            )
        if examples.labels.min() < 0 or examples.labels.max() >= len(names):
            raise DataError(f"split '{split}' of {prepared} has labels outside its classes")
    return make_source(builder.name, prepared.name, parts["train"], parts["test"], names)
