"""What `--precision`, `--xla` and the settings of C++ operations mean on this machine."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from absl import logging

from tfsc.errors import RecipeError
from tfsc.hardware import bf16, processor
from tfsc.hardware.gpu import has_gpu
from tfsc.native import library

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


def use_winograd(winograd: str, precision: str, xla: str) -> bool:
    """Whether 3×3 convolutions are those in C++: "off", "on", or "auto": where they are faster.

    Raises:
        RecipeError: for "on" where they cannot be had.
    """
    amx = precision == "bf16" and processor.multiplies_in_amx()
    elsewhere = has_gpu() or use_xla(xla) or amx
    products = "bfloat16" if precision == "bf16" else "float32"
    return _use_native("winograd", winograd, elsewhere, products)


def use_fused_norm(
    fused_norm: str, activation: str, precision: str, xla: str, replicas: int = 1
) -> bool:
    """Whether BatchNormalization and ReLU are one operation in C++: "off", "on", or "auto".

    Raises:
        RecipeError: for "on" where it cannot be had.
    """
    other = activation != "relu" or precision == "fp16" or replicas > 1
    return _use_native("fused_norm", fused_norm, elsewhere=has_gpu() or use_xla(xla) or other)


def use_fused_augment(fused_augment: str, xla: str) -> bool:
    """Whether augmentation is one operation in C++: "off", "on", or "auto".

    Raises:
        RecipeError: for "on" where it cannot be had.
    """
    return _use_native("fused_augment", fused_augment, elsewhere=has_gpu() or use_xla(xla))


def _use_native(name: str, value: str, elsewhere: bool, products: str = "float32") -> bool:
    """Whether to compute in C++, by a flag; `elsewhere`: what "auto" computes otherwise."""
    if value == "off" or (value == "auto" and elsewhere):
        return False
    try:
        library.load(products)
    except library.NativeError as error:
        if value == "on":
            raise RecipeError(f"--{name}=on: cannot be done here: {error}") from None
        logging.info("--%s=auto: as with off (%s)", name, error)
        return False
    return True
