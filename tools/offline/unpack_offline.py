"""Unpack what tools/offline/pack_offline.py packed, on a machine with nothing but Python.

    python3 unpack.py --check          # which pieces are missing or damaged?
    python3 unpack.py lab              # into a new or empty directory; no network needed
    lab/python -m tfsc.train --help

The pieces and MANIFEST.json lie beside this file. Every piece is checked before anything is
written; a failure leaves the directory empty. The packages go into a virtual environment, or, where
Python comes without venv or ensurepip, into a folder on PYTHONPATH.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (whatever python3 is there)
    sys.exit("unpack.py: error: needs Python 3.11 or later; call it with another, as python3.12")

import argparse
import collections
import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

try:
    import lzma
except ImportError:  # a Python built without liblzma: the program xz has to do
    lzma = None

FORMAT = 2
MANIFEST = "MANIFEST.json"
BLOCK = 1 << 20
MOST_THREADS = 16  # each holds a few tens of megabytes
INSTALLED_FROM = re.compile(r"[^/]+\.data/(purelib|platlib)/(?P<name>.+)")
NOT_IMPORTED = re.compile(r"[^/]+\.data/(scripts|headers|data)/")


class UnpackError(Exception):
    """The pack, the directory or the Python is not as it has to be."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="unpack.py",
        usage="%(prog)s DIR [--packages=venv|folder] | --check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("target", type=Path, nargs="?", metavar="DIR", help="new or empty")
    parser.add_argument("--check", action="store_true", help="check the pieces, write nothing")
    parser.add_argument(
        "--packages",
        choices=("auto", "venv", "folder"),
        default="auto",
        help="where to: a virtual environment, a folder on PYTHONPATH, or what this Python can",
    )
    arguments = parser.parse_args()
    if (arguments.target is None) != arguments.check:
        parser.error("needs a directory to unpack into, or --check")
    source = Path(__file__).resolve().parent
    try:
        if arguments.check:
            manifest = read_manifest(source)
            check_pieces(source, manifest)
            print(f"all {len(manifest['pieces'])} pieces are there and whole")
        else:
            print(unpack(source, arguments.target, arguments.packages))
    except (UnpackError, OSError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


def unpack(source: Path, target: Path, packages: str) -> str:
    """Unpack and install; the words that say how to train.

    Args:
        source: where manifest and pieces lie.
        target: a new or an empty directory.
        packages: auto, venv or folder.

    Raises:
        UnpackError: if anything is not as it has to be; the target is empty then.
    """
    manifest = read_manifest(source)
    check_python(manifest)
    check_pieces(source, manifest)
    with filled_or_empty(target):
        extract(source, manifest, target)
        shutil.copyfile(source / MANIFEST, target / MANIFEST)
        if manifest["wheels"]:
            install(target, packages if packages != "auto" else what_python_can())
        write_launcher(target)
    return farewell(target, manifest)


def read_manifest(source: Path) -> dict[str, Any]:
    path = source / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        known = manifest["format"] == FORMAT
    except FileNotFoundError:
        raise UnpackError(f"{path} is missing") from None
    except (ValueError, KeyError, TypeError):
        raise UnpackError(f"{path} is damaged: bring it again") from None
    if not known:
        raise UnpackError(f"{path} is of another format; bring the unpack.py of its own pack")
    return manifest


def check_python(manifest: dict[str, Any]) -> None:
    """Wheels are for one version of Python and one kind of processor."""
    if not manifest["wheels"]:
        return
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running != manifest["python"]:
        wanted = manifest["python"]
        raise UnpackError(
            f"the packages are for Python {wanted}, this is {running}; call it with python{wanted}"
        )
    if os.uname().machine != manifest["machine"]:
        raise UnpackError(
            f"the packages are for {manifest['machine']}, this machine is {os.uname().machine}"
        )


def check_pieces(source: Path, manifest: dict[str, Any]) -> None:
    """Every piece is there, with its SHA-256.

    Raises:
        UnpackError: naming all that are not.
    """
    faults = [
        f"{piece['name']} is {fault}"
        for piece in manifest["pieces"]
        if (fault := fault_of(source / piece["name"], piece))
    ]
    if faults:
        count = f"{len(faults)} of {len(manifest['pieces'])} pieces are not usable"
        raise UnpackError(f"{count}: {', '.join(faults)} (in {source})")


def fault_of(path: Path, piece: dict[str, Any]) -> str:
    """What is wrong with a piece; empty: nothing."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "missing"
    if size != piece["bytes"]:
        return f"damaged ({size} bytes of {piece['bytes']})"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if digest == piece["sha256"] else "damaged (its SHA-256 differs)"


@contextlib.contextmanager
def filled_or_empty(target: Path) -> Iterator[None]:
    """A directory that was empty, and is again if what fills it fails."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnpackError(f"{target} must be a new or an empty directory")
    target.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def extract(source: Path, manifest: dict[str, Any], target: Path) -> None:
    """Write the archive's files below `target`, and nothing anywhere else."""
    paths = [source / piece["name"] for piece in manifest["pieces"]]
    with (
        decompressed(paths, manifest["streams"]) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            # Stricter than tarfile's own filter: a pack holds plain files, no links or devices.
            if not member.isreg():
                raise UnpackError(f"the archive holds {member.name!r}, which is no plain file")
            file = archive.extractfile(member)
            write_below(target, member.name, file, executable=bool(member.mode & 0o111))


def write_below(target: Path, name: str, file: BinaryIO, executable: bool) -> None:
    """Copy to a new file of that name below `target`."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise UnpackError(f"the archive holds {name!r}, which leads out of the directory")
    path = target.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy, BLOCK)
    except OSError as error:
        # A write that fails does not say where.
        raise UnpackError(f"{path}: {error.strerror or error}") from None
    if executable:
        path.chmod(path.stat().st_mode | 0o111)


class Joined(io.RawIOBase):
    """Files read one after the other, as one stream; each is opened when its turn comes."""

    def __init__(self, files: Iterator[BinaryIO]):
        self._files = files
        self._file: BinaryIO = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not (count := self._file.readinto(buffer)):
            self._file.close()
            file = next(self._files, None)
            if file is None:
                self._file = io.BytesIO()
                return 0
            self._file = file
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def decompressed(paths: list[Path], streams: list[int]) -> Iterator[BinaryIO]:
    """The archive that the pieces make up.

    Args:
        paths: the pieces.
        streams: bytes of each xz stream in them.

    Raises:
        UnpackError: if there is nothing that reads xz.
    """
    with io.BufferedReader(Joined(path.open("rb") for path in paths), BLOCK) as joined:
        if lzma is not None:
            with contextlib.closing(decoded(joined, streams)) as blocks:
                yield io.BufferedReader(Joined(map(io.BytesIO, blocks)), BLOCK)
            return
        if shutil.which("xz") is None:
            raise UnpackError("needs the program xz, or a Python with the module lzma")
        process = subprocess.Popen(
            ["xz", "--decompress", "--stdout"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        feeder = threading.Thread(target=feed, args=(joined, process.stdin))
        feeder.start()
        try:
            yield process.stdout
            while process.stdout.read(BLOCK):  # what follows the end of the archive: zeros
                pass
        finally:
            process.stdout.close()  # ends xz, and with it the feeder, where reading stopped early
            feeder.join()
            process.wait()
        if process.returncode:
            raise UnpackError(f"xz failed with exit code {process.returncode}")


def decoded(source: BinaryIO, streams: list[int]) -> Iterator[bytes]:
    """What each xz stream holds, in order. Threads share the work: gigabytes take one minutes."""
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    pool, pending = ThreadPoolExecutor(threads), collections.deque()
    try:
        for size in streams:
            pending.append(pool.submit(lzma.decompress, source.read(size)))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def feed(source: BinaryIO, sink: BinaryIO) -> None:
    """Copy all; a reader that stopped early is told by nobody and needs no telling."""
    with contextlib.suppress(BrokenPipeError), sink:
        shutil.copyfileobj(source, sink, BLOCK)


def what_python_can() -> str:
    """`venv`, or `folder` where a distribution ships Python without what makes environments."""
    able = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
    return "venv" if able else "folder"


def install(target: Path, packages: str) -> None:
    """Install the wheels into target/venv or target/packages; they are removed."""
    folder = target / "wheels"
    wheels = sorted(folder.glob("*.whl"))
    if packages == "venv":
        call("venv", [sys.executable, "-m", "venv", str(target / "venv")])
        # Isolated: settings of the machine's own pip (another index, --user) stay out.
        pip = [str(target / "venv/bin/python"), "-I", "-m", "pip", "--isolated", "install"]
        options = ["--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"]
        call("pip", [*pip, *options, *map(str, wheels)])
    else:
        for wheel in wheels:
            unzip(wheel, target / "packages")
    shutil.rmtree(folder)


def call(name: str, line: list[str]) -> None:
    """Run a program; where it fails, its last error says why."""
    result = subprocess.run(line, capture_output=True, text=True, errors="replace")
    if result.returncode:
        said = [text for text in (result.stdout + result.stderr).splitlines() if text.strip()]
        errors = [text for text in said if text.startswith("ERROR:")] or said or ["no words"]
        reason = errors[-1].removeprefix("ERROR: ")
        raise UnpackError(f"{name} failed: {reason} (--packages=folder does without it)")


def unzip(wheel: Path, folder: Path) -> None:
    """What of a wheel is imported, below `folder`: no scripts."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or NOT_IMPORTED.match(member.filename):
                continue
            found = INSTALLED_FROM.fullmatch(member.filename)
            name = found["name"] if found else member.filename
            with archive.open(member) as file:
                write_below(folder, name, file, executable=bool(member.external_attr >> 16 & 0o111))


def write_launcher(target: Path) -> None:
    """target/python: the interpreter with code, packages and data in their places."""
    paths = ["$here/code"]
    # As it was called: resolving the link of an environment would leave the environment.
    interpreter = shlex.quote(sys.executable)
    if (target / "venv").exists():
        interpreter = '"$here/venv/bin/python"'
    elif (target / "packages").exists():
        paths.append("$here/packages")
    lines = [
        "#!/bin/sh",
        'here=$(cd "$(dirname "$0")" && pwd -P) || exit',
        f'export PYTHONPATH="{":".join(paths)}${{PYTHONPATH:+:$PYTHONPATH}}"',
        # Not the tfsc of the directory this is called from; scripts keep their neighbours.
        'if [ "$1" = -m ]; then export PYTHONSAFEPATH=1; fi',
        # A repository further up is not the one that the code is from.
        'export GIT_CEILING_DIRECTORIES="$here"',
    ]
    if (target / "data").exists():
        lines.append('export TFDS_DATA_DIR="${TFDS_DATA_DIR:-$here/data}"')
    launcher = target / "python"
    launcher.write_text("\n".join([*lines, f'exec {interpreter} "$@"']) + "\n")
    launcher.chmod(0o755)


def farewell(target: Path, manifest: dict[str, Any]) -> str:
    commit = manifest["commit"]
    state = f"commit {commit['id']}{' with changes' if commit['changed'] else ''}"
    packages = f"{len(manifest['wheels'])} packages" if manifest["wheels"] else "no packages"
    content = ", ".join([f"code of {state}", packages, *manifest["data"]])
    name = manifest["data"][0].rpartition("/")[0] if manifest["data"] else ""
    code = shlex.quote(str(target.absolute() / "code"))
    flags = f"--dataset={name}" if name else f"--flagfile={code}/flags/digits.flags"
    launcher = shlex.quote(str(target.absolute() / "python"))
    return f"unpacked {content}; train with:\n{launcher} -m tfsc.train {flags}"


if __name__ == "__main__":
    main()
