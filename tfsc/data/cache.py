"""The cache of decoded datasets: `.npy` files and their digests, one directory a dataset."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from absl import logging

from tfsc.data.examples import Examples, Source, array_digest, arrays

FORMAT = 2  # raise it when the decoded arrays or their layout change


def root() -> Path:
    """Where decoded datasets are kept: TFSC_CACHE_DIR, or tfsc in the user's cache directory."""
    if configured := os.environ.get("TFSC_CACHE_DIR"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tfsc"


def entry_path(name: str, key: str) -> Path:
    """Where the dataset of a name and key is kept."""
    return root() / f"{name.replace('/', '-').replace(':', '-')}-{key}"


def write(entry: Path, source: Source) -> None:
    """Write a cache entry under a temporary name and rename it: it is there whole or not at all."""
    decoded = arrays(source.train, source.test)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    except OSError as error:
        logging.warning("no decode cache: cannot write %s (%s)", entry.parent, error)
        return
    try:
        for name, array in decoded.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        meta = {
            "name": source.name,
            "version": source.version,
            "class_names": source.class_names,
            "digest": source.digest,
            "arrays": {name: array_digest(array) for name, array in decoded.items()},
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


def read(entry: Path) -> Source | None:
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
            if array_digest(arrays[name]) != expected:
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
