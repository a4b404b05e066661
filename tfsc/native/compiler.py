"""`compiled`: the C++ sources as a library for this processor, kept in the user's cache.

Without TensorFlow, so that compiling can begin before TensorFlow is imported.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from absl import logging

from tfsc import files
from tfsc.errors import one_line
from tfsc.hardware.processor import cpu_flags, may_have_gpu

_FOLDER = Path(__file__).parent
_FLAGS = ("-std=c++20", "-O3", "-w", "-ffp-contract=off", "-fPIC", "-pthread")
_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
_BF16 = (*_AVX512, "avx512_bf16")
# What the one source is compiled for, best first: the instructions that each level needs, as Linux
# names them.
LEVELS = {
    "amx": (*_BF16, "amx_tile", "amx_bf16"),
    "avx512_bf16": _BF16,
    "avx512": _AVX512,
    "avx2": _AVX2,
}
_NAME = "operations-"
# A level to compile for instead of the best that the processor has, such as avx2.
LEVEL_VARIABLE = "TFSC_NATIVE_LEVEL"
# What the sources include of TensorFlow: its C interface.
_HEADERS = ("kernels.h", "ops.h", "tf_tensor.h")


class NativeError(Exception):
    """The operations cannot be had on this machine; the message is why."""


def level() -> str:
    """The best of `LEVELS` that this processor has, or the one that TFSC_NATIVE_LEVEL asks for.

    Raises:
        NativeError: if it has none, or not the one that is asked for.
    """
    flags = cpu_flags()
    asked = os.environ.get(LEVEL_VARIABLE, "")
    if asked and asked not in LEVELS:
        raise NativeError(f"{LEVEL_VARIABLE}={asked} must be one of {', '.join(LEVELS)}")
    for name in [asked] if asked else LEVELS:
        if flags.issuperset(LEVELS[name]):
            return name
    if not flags:
        raise NativeError(f"this is {platform.machine()} ({platform.system()}), not x86-64 Linux")
    missing = next(need for need in LEVELS[asked or "avx2"] if need not in flags)
    raise NativeError(f"the processor has no {missing}")


def start(native: str = "auto", xla: str = "auto") -> None:
    """Begin to compile beside what the process does next; `compiled` waits for it.

    Args:
        native, xla: a recipe's settings; nothing is begun where these, or a GPU, leave no use for
            it.
    """
    if native != "off" and xla != "on" and not may_have_gpu():
        _begun()


def compiled() -> Path:
    """The library, by $CXX or g++; compiled unless the cache has it.

    Raises:
        NativeError: if the processor has no level, there is no compiler, it fails, or the cache
            cannot be written.
    """
    return _begun().result()


def key() -> str:
    """A digest of all that the library's bits depend on: sources, compiler, its flags, headers.

    Raises:
        NativeError: as `compiled`.
    """
    return compiled().stem.removeprefix(_NAME)


@functools.cache
def _begun() -> Future[Path]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="compiler")
    future = pool.submit(_compiled)
    pool.shutdown(wait=False)
    return future


def _compiled() -> Path:
    """The library of these sources, headers, compiler and level; made if it is not there."""
    needs = LEVELS[level()]
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise NativeError(f"there is no C++ compiler {compiler} (CXX names another)")
    tensorflow = _tensorflow()
    own = [*_FLAGS, *(f"-m{_as_gcc_says(need)}" for need in needs)]
    version = _run([compiler, "--version"])
    sources = sorted(_FOLDER.glob("*.cc"))
    headers = [tensorflow / "include/tensorflow/c" / name for name in _HEADERS]
    read = [*sources, *sorted(_FOLDER.glob("*.h")), *headers]
    parts = [*(source.read_text(encoding="utf-8") for source in read), version, *own]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    library = files.cache_root() / "native" / f"{_NAME}{digest}.so"
    if library.is_file():
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with files.one_at_a_time(library.parent):
            if library.is_file():  # by another process, in the meantime
                return library
            logging.info("compiling operations in C++ for this machine")
            with tempfile.TemporaryDirectory(prefix=".build-", dir=library.parent) as folder:
                made = Path(folder) / library.name
                _make([compiler, *own], sources, tensorflow, made)
                made.rename(library)  # there whole or not at all
    except OSError as error:
        raise NativeError(f"cannot write {library.parent}: {one_line(error)}") from None
    return library


def _as_gcc_says(need: str) -> str:
    return need.replace("avx512_", "avx512").replace("_", "-")


def _tensorflow() -> Path:
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        raise NativeError("there is no TensorFlow")
    return Path(found.origin).parent


def _make(command: Sequence[str], sources: Sequence[Path], tensorflow: Path, made: Path) -> None:
    """Compile the sources, several at a time, and link them."""
    include = f"-I{tensorflow / 'include'}"
    objects = {source: str(made.with_name(source.stem + ".o")) for source in sources}
    longest_first = sorted(sources, key=lambda source: -source.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(
            pool.map(
                lambda source: _run([*command, include, "-c", str(source), "-o", objects[source]]),
                longest_first,
            )
        )
    link = ["-shared", f"-L{tensorflow}", "-l:libtensorflow_framework.so.2"]
    _run([*command, *objects.values(), "-o", str(made), *link])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NativeError(f"{command[0]} cannot be run: {one_line(error)}") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise NativeError(
            f"{command[0]} failed with exit code {done.returncode}: "
            f"{(errors or done.stderr.splitlines() or ['no message'])[0][:200]}"
        )
    return done.stdout
