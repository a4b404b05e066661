"""`load`: the C++ operations, compiled on first use."""

import ctypes
import functools
import os
from types import ModuleType

import tensorflow as tf

from tfsc.errors import one_line
from tfsc.native import compiler
from tfsc.native.compiler import NativeError


def load(products: str = "float32") -> ModuleType:
    """The operations of this folder, for the processor's `compiler.level`.

    The first call on a machine compiles them, which takes some 15 seconds, unless
    `compiler.start` has begun that before.

    Args:
        products: "float32", or "bfloat16" where convolutions of bfloat16 are wanted, too: only the
            levels amx and avx512_bf16 have these.

    Raises:
        NativeError: if the processor has no level, there is no compiler, it fails, or what it made
            cannot be loaded.
    """
    found = _attempt()
    if isinstance(found, NativeError):
        raise found
    if products == "bfloat16" and "avx512_bf16" not in compiler.LEVELS[compiler.level()]:
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
    library = compiler.compiled()
    try:
        operations = tf.load_op_library(str(library))
    except (tf.errors.OpError, OSError) as error:
        raise NativeError(f"{library} cannot be loaded: {one_line(error)}") from None
    ctypes.CDLL(str(library)).tfsc_set_threads(_threads())
    return operations


def _threads() -> int:
    """As many as TensorFlow's operations compute with."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    environment = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    asked = configured or (int(environment) if environment.isdigit() else 0)
    return asked or len(os.sched_getaffinity(0))
