"""What `--precision`, `--xla` and `--native` mean on this machine."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from absl import logging

from tfsc.errors import RecipeError
from tfsc.hardware import bf16, processor
from tfsc.hardware.gpu import has_gpu
from tfsc.native import compiler, library

_POLICIES = {
    "fp32": "float32",
    "tf32": "float32",
    "bf16": "mixed_bfloat16",
    "fp16": "mixed_float16",
}


def set_precision(precision: str) -> None:
    """Set Keras' dtype policy and TensorFlow's TF32 switch for networks built from now on.

    Args:
        precision: "fp32" (TF32 off), "tf32", "bf16" or "fp16"; "auto" is made out before.

    Raises:
        RecipeError: for fp16 without a GPU.
    """
    if precision == "fp16" and not has_gpu():
        raise RecipeError(
            "--precision=fp16: needs a GPU; on a CPU it is more than 100 times slower than fp32 "
            "(no 16-bit float arithmetic). Use --precision=bf16 (fast on CPUs with AMX or AVX-512 "
            "BF16) or --precision=fp32"
        )
    if precision == "tf32" and not has_gpu():
        logging.warning("--precision=tf32 without a GPU computes in fp32")
    set_tf32(precision)
    # A user's keras.json may say otherwise, and the recipe would not show it.
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    keras.mixed_precision.set_dtype_policy(_POLICIES[precision])


@contextlib.contextmanager
def onednn_faults(precision: str) -> Iterator[None]:
    """Within, a bf16 operation that oneDNN cannot compute on this machine is an error of one line.

    So where ONEDNN_MAX_CPU_ISA hides AVX-512 itself: TensorFlow looks at the processor and leaves
    convolutions to oneDNN, which has none.

    Raises:
        RecipeError: for such an operation.
    """
    try:
        yield
    except tf.errors.AbortedError as error:
        why = bf16.obstacle() if precision == "bf16" and "primitive" in str(error) else ""
        if not why:
            raise
        raise RecipeError(
            f"--precision=bf16: cannot be computed here, {why}; take --precision=fp32, as a run "
            "of its own"
        ) from error


def set_tf32(precision: str) -> None:
    """Switch TF32 off for fp32 and on for all else (TensorFlow's default)."""
    tf.config.experimental.enable_tensor_float_32_execution(precision != "fp32")


def use_xla(xla: str) -> bool:
    """Whether to compile the step: "on", "off", or "auto": on a GPU (on a CPU it is slower)."""
    return xla == "on" or (xla == "auto" and has_gpu())


def use_native(native: str, precision: str, xla: str) -> bool:
    """Whether to compute in C++ what comes out the same within the rounding of a float32 sum.

    That is BatchNormalization with ReLU, augmentation, and `use_winograd`'s convolutions.

    Args:
        native: "off", "on", or "auto": where they can be had and nothing else is faster.
        precision: "fp32", "tf32", "bf16" or "fp16".
        xla: of the step.

    Raises:
        RecipeError: for "on" where they cannot be had.
    """
    if native == "off":
        return False
    why = _elsewhere(precision, xla) or _missing()
    if why and native == "on":
        raise RecipeError(f"--native=on: cannot be done here: {why}")
    return not why


def use_winograd(native: str, bf16_winograd: bool, precision: str, xla: str) -> bool:
    """Whether 3×3 convolutions of stride 1 are those in C++, by Winograd's F(4×4, 3×3).

    In fp32 and tf32 wherever `use_native`. In bf16 their errors are 1 %, not 0.2 %: only if the
    recipe says so, for "auto" also only where convolutions by AMX are not faster.

    Args:
        native, precision, xla: as for `use_native`.
        bf16_winograd: whether also in bf16.

    Raises:
        RecipeError: for "on" where they cannot be had.
    """
    if not use_native(native, precision, xla):
        return False
    if precision != "bf16":
        return True
    if not bf16_winograd:
        return False
    why = _missing("bfloat16")
    if why and native == "on":
        raise RecipeError(f"--bf16_winograd=true: cannot be done here: {why}")
    return not why and (native == "on" or not processor.multiplies_in_amx())


def native_doubt(native: str, bf16_winograd: bool, precision: str, xla: str) -> str:
    """A line about what "auto" does without here, and why; empty where that is nothing.

    Nothing where a GPU, XLA or fp16 has operations of its own.

    Args:
        native, bf16_winograd, precision, xla: as for `use_winograd`.
    """
    if native != "auto" or _elsewhere(precision, xla):
        return ""
    if why := _missing():
        return f"--native=auto: nothing in C++ here, as with off ({why})"
    if precision != "bf16" or not bf16_winograd:
        return ""
    why = _missing("bfloat16")
    if not why and processor.multiplies_in_amx():
        why = "AMX is faster; --native=on would do it"
    return why and f"--bf16_winograd=true: ordinary convolutions here ({why})"


def _elsewhere(precision: str, xla: str) -> str:
    """What has operations of its own in place of those in C++; empty if nothing has."""
    if has_gpu():
        return "there is a GPU, which has operations of its own"
    if use_xla(xla):
        return "the step is compiled by XLA"
    return "fp16 has none of these operations" if precision == "fp16" else ""


def _missing(products: str = "float32") -> str:
    """Why the operations in C++ cannot be had on this machine; empty if they can."""
    try:
        library.load(products)
    except compiler.NativeError as error:
        return str(error)
    return ""
