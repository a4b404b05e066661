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

from tfsc.data import cache, tfds_faults
from tfsc.data.examples import Examples, Source, make_source
from tfsc.errors import DataError, one_line

DESCRIPTION = "dataset_info.json"
SPLITS = ("train", "test")


def find(name: str, data_dir: str) -> Path | None:
    """The newest prepared version of `name`, found without importing TFDS (that takes seconds).

    Args:
        name: as TFDS has it, optionally with `/config` and `:version`.
        data_dir: TFDS directory; empty: TFDS_DATA_DIR, then TFDS's own.

    Raises:
        DataError: if there are versions, but none is whole or they cannot be read.
    """
    base, _, version = name.partition(":")
    directory = _root(data_dir) / base
    try:
        # TFDS prepares in 3.0.2.incompleteXYZ: only names of whole versions count.
        versions = [
            path
            for path in directory.iterdir()
            if all(part.isdecimal() for part in path.name.split(".")) and version in ("", path.name)
        ]
        whole = [path for path in versions if (path / DESCRIPTION).exists()]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{error.filename or directory} cannot be read: {error.strerror}") from None
    if versions and not whole:
        raise _incomplete(max(versions, key=_version_key), DESCRIPTION)
    return max(whole, key=_version_key, default=None)


def _incomplete(prepared: Path, missing: str) -> DataError:
    # TFDS would take such a directory for a prepared one, and download nothing.
    return DataError(
        f"{prepared} is incomplete: it has no {missing}; bring the directory again, or remove it "
        "to let TFDS download the dataset"
    )


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))


def _root(data_dir: str) -> Path:
    """The TFDS directory: the one named, TFDS_DATA_DIR, or TFDS's own."""
    named = data_dir or os.environ.get("TFDS_DATA_DIR", "")
    # Path.expanduser raises where there is no such home.
    return Path(os.path.expanduser(named or "~/tensorflow_datasets"))  # noqa: PTH111


def key(prepared: Path) -> str:
    """Version and digest of a prepared directory: its description and its files' sizes.

    Raises:
        DataError: if the directory or a file of its description cannot be read.
    """
    digest = hashlib.sha256(f"format {cache.FORMAT}".encode())
    try:
        for path in sorted(prepared.iterdir()):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            if path.suffix in (".json", ".txt"):  # .txt: the names of the classes
                digest.update(path.read_bytes())
    except OSError as error:
        raise DataError(f"{error.filename or prepared} cannot be read: {error.strerror}") from None
    return f"{prepared.name}-{digest.hexdigest()[:16]}"


def download(name: str, data_dir: str) -> Path:
    """Let TFDS download and prepare a dataset; return its directory.

    Raises:
        DataError: if TFDS does not know it, it cannot be downloaded, or half of it is there.
    """
    import tensorflow_datasets as tfds

    root, base = _root(data_dir), name.partition(":")[0]
    try:
        builder = tfds.builder(name, data_dir=str(root))
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise DataError(f"--dataset={name}: TFDS has no such dataset: {one_line(error)}") from None
    except Exception as error:  # of the parsers, if a damaged description is there
        raise DataError(
            f"--dataset={name}: what is under {root / base} is no readable TFDS directory: "
            f"{one_line(error)}"
        ) from error
    _check_kind(f"--dataset={name}", builder.info)
    prepared = Path(builder.data_dir)
    if (prepared / DESCRIPTION).exists():
        return prepared  # in its default configuration
    if prepared.exists():
        raise _incomplete(prepared, DESCRIPTION)
    reason = _unreachable_host(builder)
    if not reason:
        try:
            builder.download_and_prepare()
            return prepared
        except Exception as error:
            # TFDS raises whatever its HTTP client, archive reader or file system does.
            reason = one_line(error)
    raise DataError(
        f"--dataset={name}: not prepared under {root}{_unfinished(root / base)} and could not be "
        f"downloaded ({reason}). "
        f'Where there is network, `python -c "import tensorflow_datasets as tfds; '
        f"tfds.load('{name}')\"` prepares ~/tensorflow_datasets/{base} (CIFAR-10's own host is "
        "slow at times); copy that directory here and pass its parent as --data_dir or "
        "TFDS_DATA_DIR. --dataset=digits needs no download"
    )


def _unfinished(directory: Path) -> str:
    """The names of preparations that were broken off."""
    names = sorted(path.name for path in directory.glob("*incomplete*"))
    return f" (only unfinished: {', '.join(names)})" if names else ""


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


def _check_kind(dataset: str, info) -> None:
    """Refuse what is not image classification with one size of 8-bit images."""
    features = info.features
    if not hasattr(features, "keys") or not {"image", "label"} <= set(features.keys()):
        raise DataError(f"{dataset}: must have features 'image' and 'label'")
    shape, dtype = features["image"].shape, np.dtype(features["image"].np_dtype)
    if len(shape) != 3 or None in shape:
        raise DataError(f"{dataset}: must have one image size, received shape {shape}")
    if dtype != np.uint8:
        raise DataError(f"{dataset}: images must be uint8, received {dtype}")
    if not getattr(features["label"], "num_classes", None):
        raise DataError(f"{dataset}: label must be a class, received {features['label']}")


def decode(prepared: Path) -> Source:
    """Read a prepared directory into arrays, in the order of its files.

    Raises:
        DataError: if it is damaged, incomplete, or not what tfsc can train on; it names the file.
    """
    import tensorflow_datasets as tfds

    for name in (DESCRIPTION, "features.json"):
        if not (prepared / name).exists():
            raise _incomplete(prepared, name)
    try:
        builder = tfds.builder_from_directory(str(prepared))
    except Exception as error:  # its parsers raise errors of many kinds
        raise DataError(f"{prepared} is no readable TFDS directory: {one_line(error)}") from error
    _check_kind(f"--dataset={builder.name} ({prepared})", builder.info)
    for split in SPLITS:
        if split not in builder.info.splits:
            have = ", ".join(builder.info.splits) or "none"
            raise DataError(f"{prepared} has no split '{split}' (it has: {have})")
        if not builder.info.splits[split].num_examples:
            raise DataError(f"split '{split}' of {prepared} is empty (dataset_info.json)")
        tfds_faults.files(builder, split)  # refuses a description without names of files
    names = _class_names(prepared, builder.info.features["label"])
    train, test = (_decode_split(builder, split) for split in SPLITS)
    return make_source(builder.name, prepared.name, train, test, names)


def names_file(prepared: Path) -> Path:
    """Where a prepared dataset has the names of its classes; without it they are numbers."""
    return prepared / "label.labels.txt"


def _class_names(prepared: Path, label) -> tuple[str, ...]:
    path = names_file(prepared)
    if not path.exists():
        return tuple(str(number) for number in range(label.num_classes))
    # TFDS passes over a file that it cannot decode, and takes any number of names.
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names) or len(names) != label.num_classes:
        raise DataError(
            f"{path} must name each of the {label.num_classes} classes (features.json) by a name "
            f"of its own, received {len(names)} names, {len(set(names))} different ones"
        )
    return names


def _decode_split(builder, split: str) -> Examples:
    import tensorflow_datasets as tfds

    # One file after the other: the order is that of the files, whatever the machine.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        dataset = dataset.map(lambda row: (row["image"], row["label"]), tf.data.AUTOTUNE)
        batches = list(dataset.batch(1000).as_numpy_iterator())
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
    except (tf.errors.OpError, OSError, ValueError, AssertionError, NotImplementedError) as error:
        raise tfds_faults.undecodable(builder, split, one_line(error)) from error
    features, count = builder.info.features, builder.info.splits[split].num_examples
    # TensorFlow 2.21 checks both as well; not every version does.
    if images.shape != (count, *features["image"].shape):
        reason = f"images of shape {images.shape}, must be {(count, *features['image'].shape)}"
        raise tfds_faults.undecodable(builder, split, reason)
    if labels.min() < 0 or labels.max() >= features["label"].num_classes:
        raise tfds_faults.label_out_of_range(builder, split, labels)
    return Examples(images, labels.astype(np.int32))
