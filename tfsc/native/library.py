"""`load`: the C++ operations, compiled on first use and kept in the user's cache."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import tensorflow as tf
from absl import logging

from tfsc import files
from tfsc.errors import one_line
from tfsc.hardware.processor import cpu_flags

_FOLDER = Path(__file__).parent
_SOURCE = _FOLDER / "operations.cc"  # includes the others
_FLAGS = ("-std=c++20", "-O3", "-w", "-ffp-contract=off", "-shared", "-fPIC")
_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
# What the one source is compiled for, best first: the instructions that each level needs, as Linux
# names them.
LEVELS = {"avx512_bf16": (*_AVX512, "avx512_bf16"), "avx512": _AVX512, "avx2": _AVX2}
# A level to compile for instead of the best that the processor has, such as avx2.
LEVEL_VARIABLE = "TFSC_NATIVE_LEVEL"


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
    missing = next(need for need in LEVELS[asked or "avx2"] if need not in flags)
    raise NativeError(f"the processor has no {missing}")


def load(products: str = "float32") -> ModuleType:
    """The operations of this folder, for the processor's `level`.

    The first call on a machine compiles them with $CXX, or g++, which takes some 15 seconds.

    Args:
        products: "float32", or "bfloat16" where convolutions of bfloat16 are wanted, too: only the
            level avx512_bf16 has these.

    Raises:
        NativeError: if the processor has no level, there is no compiler, it fails, or what it made
            cannot be loaded.
    """
    found = _attempt()
    if isinstance(found, NativeError):
        raise found
    if products == "bfloat16" and level() != "avx512_bf16":
        raise NativeError("the processor has no avx512_bf16")
    return found


def is_available(products: str = "float32") -> bool:
    """Whether this machine has the operations; the first call may compile them."""
    try:
        load(products)
    except NativeError:
        return False
    return True


@functools.cache
def _attempt() -> ModuleType | NativeError:
    try:
        return _load()
    except NativeError as error:
        return error  # and not try again at each layer


def _load() -> ModuleType:
    needs = LEVELS[level()]
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise NativeError(f"there is no C++ compiler {compiler} (CXX names another)")
    library = _compiled(compiler, needs)
    try:
        return tf.load_op_library(str(library))
    except (tf.errors.OpError, OSError) as error:
        raise NativeError(f"{library} cannot be loaded: {one_line(error)}") from None


def _compiled(compiler: str, needs: Sequence[str]) -> Path:
    """The library of this source, compiler, level and TensorFlow; made if it is not there."""
    own = [*_FLAGS, *(f"-m{need.replace('_', '')}" for need in needs)]
    flags = [*tf.sysconfig.get_compile_flags(), *own]  # ours last: TensorFlow asks for C++17
    version = _run([compiler, "--version"])
    sources = sorted([*_FOLDER.glob("*.cc"), *_FOLDER.glob("*.h")])
    texts = [source.read_text(encoding="utf-8") for source in sources]
    parts = [*texts, version, tf.version.VERSION, *flags]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    library = files.cache_root() / "native" / f"operations-{key}.so"
    if library.is_file():
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with files.one_at_a_time(library.parent):
            if library.is_file():  # by another process, in the meantime
                return library
            logging.info("compiling %s for this machine", _SOURCE.name)
            with tempfile.TemporaryDirectory(prefix=".build-", dir=library.parent) as folder:
                made = Path(folder) / library.name
                link = tf.sysconfig.get_link_flags()
                _run([compiler, *flags, str(_SOURCE), "-o", str(made), *link])
                made.rename(library)  # there whole or not at all
    except OSError as error:
        raise NativeError(f"cannot write {library.parent}: {one_line(error)}") from None
    return library


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
