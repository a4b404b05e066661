"""Pack wheels, code and data into pieces of limited size, for a machine without network.

    python tools/offline/pack_offline.py --out=build/pack --python=3.12 --extra=cuda \
        --data=<tfds>/cifar10
    # bring build/pack there, piece by piece, then:
    python3.12 build/pack/unpack.py --check
    python3.12 build/pack/unpack.py lab
    lab/python -m tfsc.train --wd=0.19 --precision=auto

Packed are the tracked files of this checkout, as they are now; the wheels of its dependencies;
prepared TFDS directories. The pieces are one tar.xz, cut; MANIFEST.json has their SHA-256. The
same input gives the same bytes; another pack in --out is replaced.
"""

import argparse
import collections
import hashlib
import json
import lzma
import math
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import offline_wheels  # noqa: E402
from unpack_offline import FORMAT, MANIFEST  # noqa: E402

from tfsc import files  # noqa: E402
from tfsc.errors import DataError, RecipeError, TfscError  # noqa: E402

PROJECT = ROOT / "pyproject.toml"
UNPACK = "unpack.py"
PIECE = re.compile(r"piece-\d{3,}")
BLOCK = 32 << 20  # what one thread compresses: the more, the smaller; the fewer, the less memory
MOST_THREADS = 16
SMALLEST_PIECE = 1000  # bytes


def main() -> None:
    """Pack as the flags say; errors are one line."""
    parser = make_parser()
    arguments = parser.parse_args()
    try:
        pack(arguments)
    except TfscError as error:
        parser.exit(error.exit_code, f"{parser.prog}: error: {error}\n")
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error
        parser.exit(1, f"{parser.prog}: error: {reason}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s --out=DIR [flags] (--help shows them)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    add("--out", type=Path, required=True, help="new or empty directory, or one with a pack")
    add("--piece_mb", type=piece_bytes, default="60", help="every piece is below it (default 60)")
    add("--python", default=running, help=f"version of Python there (default {running})")
    add("--extra", action="append", default=[], help="of pyproject.toml too, as cuda or test")
    add("--requirements", type=Path, help="file of requirements instead of pyproject.toml's")
    add("--replace", type=replacement, action="append", default=[], metavar="NAME=OTHER",
        help="another package instead of a required one, as tensorflow=tensorflow-cpu")  # fmt: skip
    add("--wheels", type=Path, help="directory to take wheels from instead of the network")
    add("--no_wheels", action="store_true", help="no packages: those of the Python there will do")
    add("--keep_headers", action="store_true", help="of TensorFlow and CUDA; left out otherwise")
    add("--data", type=Path, action="append", default=[], metavar="DIR",
        help="prepared TFDS dataset, as <tfds>/cifar10 or <tfds>/cifar10/3.0.2")  # fmt: skip
    add("--level", type=int, choices=range(10), default=6, help="of xz, 0-9 (default 6)")
    return parser


def piece_bytes(text: str) -> int:
    """Bytes a piece may have, from a size in MB (10^6 bytes) that it must be below."""
    try:
        limit = math.ceil(float(text) * 1e6) - 1
    except (ValueError, OverflowError):
        limit = 0
    if limit < SMALLEST_PIECE:
        raise argparse.ArgumentTypeError(
            f"must be a number of megabytes above {SMALLEST_PIECE / 1e6}, received {text!r}"
        )
    return limit


def replacement(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"([\w.-]+)=([\w.-]+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be NAME=OTHER, received {text!r}")
    return found[1], found[2]


def pack(arguments: argparse.Namespace) -> None:
    """Collect what the flags name and write it as pieces.

    Raises:
        TfscError, OSError: --out is as before, or empty where the writing itself failed.
    """
    check_out(arguments.out)
    requirements = wanted_packages(arguments)
    code = {f"code/{name}": ROOT / name for name in tracked_files()}
    datasets = dict(map(prepared_dataset, arguments.data))
    about = {
        "format": FORMAT,
        "commit": commit_of_checkout(),
        "data": sorted(datasets),
        "requirements": list(map(str, requirements)),
        "headers": arguments.keep_headers,
        "wheels": {},
    }
    with tempfile.TemporaryDirectory(prefix="tfsc-pack-") as scratch:
        wheels = {}
        if requirements:
            print(f"collecting wheels for Python {arguments.python}", flush=True)
            found = offline_wheels.collect(
                requirements, arguments.python, arguments.wheels, Path(scratch)
            )
            about |= {"python": arguments.python, "machine": offline_wheels.MACHINE}
            about["wheels"] = {path.name: files.sha256(path) for path in found}
            for path in found:
                offline_wheels.store(path, headers=arguments.keep_headers)
            wheels = {f"wheels/{path.name}": path for path in found}
        content = code | wheels | data_files(datasets)
        print(f"packing {len(content)} files", flush=True)
        manifest = write_pack(arguments, content, about)
    print(
        f"{len(manifest['pieces'])} pieces, {manifest['bytes'] / 1e6:.1f} MB, of "
        f"{len(code)} files of code, {len(wheels)} wheels, data: {', '.join(datasets) or 'none'}"
    )


def check_out(out: Path) -> None:
    """Only a pack may be replaced."""
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out={out}: must be a directory")
    foreign = sorted(path.name for path in out.glob("*") if not is_ours(path))
    if foreign:
        raise RecipeError(
            f"--out={out}: must be new, empty or hold a pack alone, but holds {foreign[0]}"
        )


def is_ours(path: Path) -> bool:
    ours = path.name in (MANIFEST, UNPACK) or PIECE.fullmatch(path.name)
    return bool(ours) and path.is_file() and not path.is_symlink()


def wanted_packages(arguments: argparse.Namespace) -> list[offline_wheels.Requirement]:
    """Requirements as the flags say; none with --no_wheels.

    Raises:
        RecipeError: if a flag is wrong, or meaningless beside another one.
    """
    if arguments.no_wheels:
        for flag in ("wheels", "requirements", "extra", "replace"):
            if getattr(arguments, flag):
                raise RecipeError(f"--{flag}: must not be given beside --no_wheels")
        return []
    offline_wheels.check_python(arguments.python, PROJECT)
    if arguments.wheels and not arguments.wheels.is_dir():
        raise RecipeError(f"--wheels={arguments.wheels}: must be a directory")
    if arguments.requirements and arguments.extra:
        raise RecipeError(f"--extra={arguments.extra[0]}: must not be given beside --requirements")
    if arguments.requirements:
        requirements = offline_wheels.listed_requirements(arguments.requirements)
    else:
        requirements = offline_wheels.project_requirements(PROJECT, arguments.extra)
    return offline_wheels.replaced(requirements, dict(arguments.replace))


def tracked_files() -> list[str]:
    """Names of the files that git tracks and that are there."""
    names = git("ls-files", "-z").split("\0")
    return sorted(name for name in names if name and (ROOT / name).is_file())


def commit_of_checkout() -> dict[str, Any]:
    return {
        "id": git("rev-parse", "HEAD").strip(),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no").strip()),
    }


def git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise TfscError(f"packing needs a git checkout: {said.strip().splitlines()[-1]}") from None


def prepared_dataset(path: Path) -> tuple[str, Path]:
    """A dataset as name[/config]/version, and its directory.

    Raises:
        RecipeError: if the path is not that of one prepared dataset.
        DataError: if files are missing.
    """
    name = "dataset_info.json"
    found = [path] if (path / name).is_file() else sorted(p.parent for p in path.glob(f"*/{name}"))
    if len(found) != 1:
        seen = ", ".join(p.name for p in found) or f"no {name}"
        raise RecipeError(
            f"--data={path}: must be the directory of one prepared dataset and version, as "
            f"<tfds>/cifar10/3.0.2; it holds {seen}"
        )
    directory = found[0]
    try:
        info = json.loads((directory / name).read_bytes())
        parts = [info["name"], info.get("configName", ""), info["version"]]
        shards = {split["name"]: len(split["shardLengths"]) for split in info["splits"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{directory / name} is damaged") from None
    for split, count in shards.items():
        there = len(list(directory.glob(f"{info['name']}-{split}.*-of-{count:05}")))
        if there != count:
            raise DataError(f"{directory} has {there} of the {count} files of split '{split}'")
    return "/".join(filter(None, parts)), directory


def data_files(datasets: dict[str, Path]) -> dict[str, Path]:
    """All files of prepared datasets, by their names in the archive."""
    return {
        f"data/{name}/{path.relative_to(directory).as_posix()}": path
        for name, directory in sorted(datasets.items())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write_pack(
    arguments: argparse.Namespace, content: dict[str, Path], about: dict[str, Any]
) -> dict[str, Any]:
    """Write pieces, unpack.py and, last, the manifest, which is returned."""
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    remove_pack(out)
    try:
        with (
            Pieces(out, arguments.piece_mb) as pieces,
            Compressed(pieces, arguments.level) as stream,
        ):
            write_archive(stream, content)
        with files.atomic(out / UNPACK) as file:
            file.write((ROOT / "tools/offline/unpack_offline.py").read_bytes())
        total = sum(piece["bytes"] for piece in pieces.written)
        manifest = {
            **about,
            "bytes": total,
            "streams": stream.streams,
            "pieces": pieces.written,
        }
        files.write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    except BaseException:
        remove_pack(out)
        raise
    return manifest


def remove_pack(out: Path) -> None:
    """Remove an earlier pack, manifest first: what is half removed is no pack."""
    for path in sorted(filter(is_ours, out.iterdir())):
        path.unlink()


def write_archive(stream: BinaryIO, content: dict[str, Path]) -> None:
    """Write a tar of files, with nothing in it that differs between two times or two users."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, path in content.items():
            # A file that shrinks under its reader raises an error without a name.
            with path.open("rb") as file, files.naming(path):
                status = os.fstat(file.fileno())
                member = tarfile.TarInfo(name)
                member.size = status.st_size
                member.mode = 0o755 if status.st_mode & 0o111 else 0o644
                archive.addfile(member, file)


class Compressed:
    """A sink for bytes that passes them on as xz; a context.

    Every block is a stream of its own: threads share the work, here and when it is undone, and the
    bytes do not depend on how many there are. Streams one after the other are a valid xz file.

    Attributes:
        streams: bytes of each finished stream.
    """

    def __init__(self, sink: "Pieces", level: int):
        threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
        self._sink, self._level = sink, level
        self._pool = ThreadPoolExecutor(threads)
        self._pending: collections.deque[Future] = collections.deque()
        self._most_pending = threads + 1
        self._buffer = bytearray()
        self.streams: list[int] = []

    def __enter__(self) -> "Compressed":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        try:
            if kind is None:
                self._submit(bytes(self._buffer))
                self._pass_on(until=0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) >= BLOCK:
            self._submit(bytes(self._buffer[:BLOCK]))
            del self._buffer[:BLOCK]
        return len(data)

    def _submit(self, block: bytes) -> None:
        self._pending.append(self._pool.submit(lzma.compress, block, preset=self._level))
        self._pass_on(until=self._most_pending)

    def _pass_on(self, until: int) -> None:
        while len(self._pending) > until:
            stream = self._pending.popleft().result()
            self.streams.append(len(stream))
            self._sink.write(stream)


class Pieces:
    """A sink for bytes that cuts them into files of at most `limit` bytes; a context.

    Attributes:
        written: name, size and SHA-256 of each finished piece.
    """

    def __init__(self, out: Path, limit: int):
        self._out, self._limit = out, limit
        self._file: BinaryIO | None = None
        self.written: list[dict[str, Any]] = []

    def __enter__(self) -> "Pieces":
        return self

    def __exit__(self, *_) -> None:
        self._finish()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._file is None:
                self._begin()
            part = view[: self._room]
            with files.naming(self._path):
                self._file.write(part)
            self._digest.update(part)
            self._room -= len(part)
            view = view[len(part) :]
            if not self._room:
                self._finish()

    def _begin(self) -> None:
        self._path = self._out / f"piece-{len(self.written):03}"
        self._file = self._path.open("xb")
        self._digest, self._room = hashlib.sha256(), self._limit

    def _finish(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        with files.naming(self._path):
            file.close()  # writes what is left in the buffer
        size = self._limit - self._room
        self.written.append(
            {"name": self._path.name, "bytes": size, "sha256": self._digest.hexdigest()}
        )


if __name__ == "__main__":
    main()
