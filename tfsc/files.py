"""Files that are there whole or not at all, and their digests."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def cache_root() -> Path:
    """Where tfsc keeps what it can make again: TFSC_CACHE_DIR, or tfsc in the user's cache."""
    if configured := os.environ.get("TFSC_CACHE_DIR"):
        return Path(os.path.expanduser(configured))  # noqa: PTH111
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "tfsc"  # noqa: PTH111


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes its name only when it is complete and on disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with naming(path), _created(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _created(path: Path) -> BinaryIO:
    """A new file: what a killed process left under its name goes, a link is not followed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give errors of the file system a path: a write that fails does not say where."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def append(path: Path, text: str, sync: bool = False) -> None:
    """Append to a text file that is no link; with `sync`, bring it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    with naming(path), os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(text.encode())
        if sync:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Wait until no other process is in a `with` of this for the same directory.

    Where the file system has no locks nobody waits.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut."""
    _sync(directory)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """Bring every file and directory below `directory` to the disk."""
    for folder, _, names in os.walk(directory):
        for path in (*(Path(folder, name) for name in names), Path(folder)):
            _sync(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole, or as it was before."""
    with atomic(path) as file:
        file.write(text.encode())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(content: Mapping[str, Any]) -> str:
    """JSON text of a record under a digest of its own, which `unsealed` checks."""
    return json.dumps({"digest": _seal(content), **content}, indent=1) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """The content of a record that `sealed` wrote.

    Raises:
        ValueError: if it is damaged.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop("digest", None) != _seal(content):
        raise ValueError("its digest differs")
    return content


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
