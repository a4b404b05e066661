"""The cache of decoded datasets: `.npy` files and their digests, one directory a dataset."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import logging

from tfsc import files
from tfsc.data.examples import Examples, Source, array_digest, arrays

FORMAT = 2  # raise it when the decoded arrays or their layout change

# The names that write() gives: an entry's, between a dot and what mkdtemp adds.
_TEMPORARY = re.compile(r"\..+-[\d.]+-[0-9a-f]{16}-[a-z0-9_]{8}")
_ABANDONED_AFTER = 24 * 3600  # seconds


def entry_path(name: str, key: str) -> Path:
    """Where the dataset of a name and key is kept."""
    return files.cache_root() / f"{name.replace('/', '-').replace(':', '-')}-{key}"


def write(entry: Path, source: Source) -> None:
    """Write a cache entry under a temporary name and rename it: it is there whole or not at all.

    A cache that cannot be written costs the next start its speed, and a warning.
    """
    if os.path.lexists(entry):
        return  # another process was first, or read() could not remove it and said so
    decoded = arrays(source.train, source.test)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(entry.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    except OSError as error:
        logging.warning("no decode cache: cannot write %s (%s)", entry.parent, _reason(error))
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
        if not os.path.lexists(entry):  # else another process was first
            logging.warning("no decode cache: cannot write %s (%s)", entry, _reason(error))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(directory: Path) -> None:
    """Remove the temporary directories of killed processes; a young one may be in use."""
    for path in directory.iterdir():
        # The directory is the user's choice and may hold more than this cache.
        if not _TEMPORARY.fullmatch(path.name):
            continue
        with contextlib.suppress(FileNotFoundError):  # another process removes it as well
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)


def read(entry: Path) -> Source | None:
    """The cached source; None if there is none. A damaged entry is named and removed."""
    if not os.path.lexists(entry):
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
        kept = _remove(entry)
        logging.warning(
            "decode cache %s is damaged (%s); decoding again%s",
            entry / damaged,
            _reason(error),
            f" at each start, for it cannot be removed ({kept})" if kept else "",
        )
        return None


def _remove(entry: Path) -> str:
    """Remove what is at an entry's place, but nothing a link leads to; return why it stays."""
    try:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    except OSError as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    """An error in one line, without the path that is said beside it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
