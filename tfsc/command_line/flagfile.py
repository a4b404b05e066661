"""absl's flagfiles, read so that any file is understood or refused in one line.

absl itself hangs on a device or a FIFO, follows files that include each other under two names
until its stack is full, and forgets from which line a flag came. The rules for valid files are
absl's (`FlagValues.read_flags_from_files`): one flag a line, taken where `--flagfile=` stands, so
that the last of several values counts; blank lines and lines that start with # or // are skipped;
a line `--flagfile=PATH` includes another file; paths are relative to the working directory, and
one that is not there is looked for among the flagfiles that tfsc ships (`seeds/000-type1.flags`).
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfsc.errors import RecipeError, shown

_MIB = 1 << 20
# With includes, few lines can stand for endlessly many: each file includes the next one twice.
_MOST_FILES = 100
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Argument:
    """One word of a command line.

    Attributes:
        text: the word.
        place: file and line it came from, as `PATH line N`; empty for the command line itself.
    """

    text: str
    place: str = ""

    def error(self, message: str) -> RecipeError:
        """An error about this word that names its place."""
        return RecipeError(f"{self.place}: {message}" if self.place else message)


def expand(words: Sequence[str]) -> list[Argument]:
    """A command line, each `--flagfile` in it replaced by the flags in that file.

    Args:
        words: the command line without the program's name.

    Raises:
        RecipeError: for a flagfile that cannot be read, is no text, is too large or includes
            itself.
    """
    arguments, reader, rest = [], _Reader(), iter(words)
    for word in rest:
        if word in ("--flagfile", "-flagfile"):
            arguments += reader.read(next(rest, "").strip(), Argument(word), ())
        elif (path := _included(word)) is not None:
            arguments += reader.read(path, Argument(word), ())
        else:
            arguments.append(Argument(word))
        if word == "--":  # what follows is no flag
            break
    return arguments + [Argument(word) for word in rest]


def _included(word: str) -> str | None:
    """The path in `--flagfile=PATH`; None for any other word."""
    name, equals, path = word.partition("=")
    return path.strip() if equals and name in ("--flagfile", "-flagfile") else None


class _Reader:
    """Reads flagfiles and counts, so that all of a command line's files together stay small."""

    def __init__(self) -> None:
        self._files = self._bytes = 0

    def read(
        self, path: str, included_by: Argument, chain: tuple[tuple[str, tuple[int, int]], ...]
    ) -> list[Argument]:
        """The flags in a file and in the files it includes.

        Args:
            path: as it was written.
            included_by: the word that names the file.
            chain: path and identity of each file that is being read, the outermost first.
        """
        if not path:
            raise included_by.error("--flagfile=: must name a file")
        name = shown(path, 200)
        try:
            content, identity = self._content(path)
        except ValueError as error:
            raise included_by.error(f"--flagfile={name}: {error}") from None
        if identity in [earlier for _, earlier in chain]:
            names = shown(" > ".join([*(earlier for earlier, _ in chain), path]), 200)
            raise included_by.error(f"--flagfile={shown(path)}: includes itself ({names})")

        arguments = []
        for number, line in enumerate(content.split("\n"), start=1):
            line = line.strip()
            argument = Argument(line, f"{name} line {number}")
            if _CONTROL.search(line):
                raise argument.error(f"{shown(line)}: must be text, without control characters")
            if not line or line.startswith(("#", "//")):
                continue
            if (inner := _included(line)) is not None:
                arguments += self.read(inner, argument, (*chain, (path, identity)))
            elif line in ("--flagfile", "-flagfile"):
                raise argument.error(f"{line}: must be --flagfile=PATH in a flagfile")
            else:
                arguments.append(argument)
        return arguments

    def _content(self, path: str) -> tuple[str, tuple[int, int]]:
        """Text of a file, and device and inode. Raises ValueError with the rule it breaks."""
        self._files += 1
        if self._files > _MOST_FILES:
            raise ValueError(f"must be one of at most {_MOST_FILES} flagfiles in all")
        try:
            data, identity = _read_regular(_found(path), _MIB + 1)
        except OSError as error:
            raise ValueError(error.strerror or "cannot be read") from None
        self._bytes += len(data)
        if self._bytes > _MIB:
            raise ValueError("flagfiles must have at most 1 MiB in all")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"must be UTF-8 text, is not at byte {error.start + 1}") from None
        return text.replace("\r\n", "\n").replace("\r", "\n"), identity


def shipped() -> Path:
    """The folder of the flagfiles that come with tfsc, installed or in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "flagfiles"
    return installed if installed.is_dir() else package.parent / "flags"


def _found(path: str) -> Path:
    """The file that a path names: the one that is there, else the one that is shipped."""
    here = _home_expanded(path)
    if here.is_absolute() or ".." in here.parts or os.path.lexists(here):
        return here
    # As in the checkout, where the folder's name is part of it.
    inside = Path(*here.parts[1:]) if here.parts[:1] == ("flags",) else here
    there = shipped() / inside
    return there if there.is_file() else here


def _home_expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a ~ without a home directory is a file's name
        return Path(path)


def _read_regular(path: Path, most: int) -> tuple[bytes, tuple[int, int]]:
    """At most `most` bytes of a regular file, and its device and inode.

    Raises:
        OSError: if it cannot be opened or read.
        ValueError: if it is no regular file.
    """
    # A FIFO, and files such as /proc/kmsg, must not make us wait.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "directory" if stat.S_ISDIR(status.st_mode) else "device or pipe"
            raise ValueError(f"must be a regular file, is a {kind}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most) or b"", (status.st_dev, status.st_ino)
    finally:
        os.close(descriptor)
