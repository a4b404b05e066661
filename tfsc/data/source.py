"""Datasets as uint8 arrays, decoded once and cached on disk.

`load("cifar10", data_dir)` finds the prepared TFDS directory, decodes it with TFDS at the first
use and reads `.npy` files at every later one. TFDS is imported only when something has to be
decoded or downloaded.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from tfsc.errors import DataError

CACHE_FORMAT = 2  # raise it when the decoded arrays or their layout change
DIGITS = "digits"


@dataclass(frozen=True)
class Examples:
    """Images uint8 [n, height, width, channels] with labels int32 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        return Examples(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Source:
    """A dataset in its official split.

    Attributes:
        name, version: as TFDS has them.
        train, test: the official split.
        class_names: one for each label.
        digest: 16 hex digits over all arrays: which data a result comes from.
    """

    name: str
    version: str
    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    digest: str


def cache_root() -> Path:
    """Where decoded datasets are kept: TFSC_CACHE_DIR, or tfsc in the user's cache directory."""
    if configured := os.environ.get("TFSC_CACHE_DIR"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tfsc"


def load(name: str, data_dir: str = "") -> Source:
    """Load a dataset.

    Args:
        name: "digits" or a TFDS name, optionally with `/config` and `:version`.
        data_dir: TFDS directory; empty: TFDS_DATA_DIR, then TFDS's own, with download.

    Raises:
        DataError: if the dataset is missing, damaged, or no image classification of one size.
    """
    if name == DIGITS:
        return _digits()
    prepared = _find_prepared(name, data_dir)
    if prepared is None:
        prepared = _download(name, data_dir)
    entry = cache_root() / f"{name.replace('/', '-').replace(':', '-')}-{_key(prepared)}"
    source = _read_cache(entry)
    if source is None:
        print(f"decoding {name} from {prepared} into {entry}", flush=True)
        source = _decode(prepared)
        _write_cache(entry, source)
    return source


def _digits() -> Source:
    """scikit-learn's 1,797 real 8×8 digits, as 32×32×3 images.

    The set has no official split: 360 examples, drawn stratified with a fixed seed, are the test
    set. Grey levels 0–16 become 0–255; each pixel becomes a 4×4 block.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    labels = bunch.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    every = Examples(images, labels)
    names = tuple(str(name) for name in bunch.target_names)
    return _source(DIGITS, "sklearn", every.take(np.sort(train)), every.take(np.sort(test)), names)


def _array_digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _arrays(train: Examples, test: Examples) -> dict[str, np.ndarray]:
    return {
        "train_images": train.images,
        "train_labels": train.labels,
        "test_images": test.images,
        "test_labels": test.labels,
    }


def _source(
    name: str, version: str, train: Examples, test: Examples, class_names: tuple[str, ...]
) -> Source:
    digests = [_array_digest(array) for array in _arrays(train, test).values()]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return Source(name, version, train, test, class_names, digest)


# --- the prepared TFDS directory ---------------------------------------------------------------


def _find_prepared(name: str, data_dir: str) -> Path | None:
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


def _key(prepared: Path) -> str:
    """Version and digest of a prepared directory: its description and its files' sizes."""
    digest = hashlib.sha256(f"format {CACHE_FORMAT}".encode())
    for path in sorted(prepared.iterdir()):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        if path.suffix == ".json":
            digest.update(path.read_bytes())
    return f"{prepared.name}-{digest.hexdigest()[:16]}"


def _download(name: str, data_dir: str) -> Path:
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


def _decode(prepared: Path) -> Source:
    """Read a prepared directory into arrays, in the order of its files."""
    import tensorflow as tf
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
    return _source(builder.name, prepared.name, parts["train"], parts["test"], names)


# --- the cache of decoded arrays ---------------------------------------------------------------


def _write_cache(entry: Path, source: Source) -> None:
    """Write a cache entry under a temporary name and rename it: it is there whole or not at all."""
    arrays = _arrays(source.train, source.test)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    except OSError as error:
        logging.warning("no decode cache: cannot write %s (%s)", entry.parent, error)
        return
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        meta = {
            "name": source.name,
            "version": source.version,
            "class_names": source.class_names,
            "digest": source.digest,
            "arrays": {name: _array_digest(array) for name, array in arrays.items()},
        }
        text = json.dumps(meta, indent=1)
        text = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
        (temporary / "meta.json").write_text(text, encoding="utf-8")
        temporary.rename(entry)
    except OSError as error:
        # Another process may have been first; a full disk only costs the next start its speed.
        shutil.rmtree(temporary, ignore_errors=True)
        if not entry.exists():
            logging.warning("no decode cache: cannot write %s (%s)", entry, error)


def _read_cache(entry: Path) -> Source | None:
    """The cached source; None if there is none. A damaged entry is named and removed."""
    if not entry.exists():
        return None
    damaged = "meta.json"
    try:
        expected, _, text = (entry / "meta.json").read_text(encoding="utf-8").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != expected:
            raise ValueError("digest differs")
        meta = json.loads(text)
        arrays = {}
        for name, expected in meta["arrays"].items():
            damaged = f"{name}.npy"
            arrays[name] = np.load(entry / damaged, allow_pickle=False)
            if _array_digest(arrays[name]) != expected:
                raise ValueError("digest differs")
        damaged = "meta.json"
        return Source(
            meta["name"],
            meta["version"],
            Examples(arrays["train_images"], arrays["train_labels"]),
            Examples(arrays["test_images"], arrays["test_labels"]),
            tuple(meta["class_names"]),
            meta["digest"],
        )
    except Exception as error:  # damaged bytes raise whatever NumPy's header parser does
        logging.warning("decode cache %s is damaged (%s); decoding again", entry / damaged, error)
        shutil.rmtree(entry)
        return None
