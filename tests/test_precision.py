"""--precision, --xla and --winograd on machines of several kinds."""

import keras
import pytest
import tensorflow as tf

from tfsc import precision
from tfsc.errors import RecipeError
from tfsc.native.library import NativeError


def _tf32():
    return tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize(
    ("name", "policy", "tf32"),
    [
        ("fp32", "float32", False),
        ("tf32", "float32", True),
        ("bf16", "mixed_bfloat16", True),
    ],
)
def test_policy_and_tf32(name, policy, tf32):
    precision.set_precision(name)
    assert keras.mixed_precision.dtype_policy().name == policy
    assert _tf32() is tf32


def test_fp16_on_a_cpu_is_refused_with_reason_and_alternative(monkeypatch):
    monkeypatch.setattr(precision, "has_gpu", lambda: False)
    with pytest.raises(RecipeError, match=r"--precision=fp16: needs a GPU.*--precision=bf16"):
        precision.set_precision("fp16")


def test_fp16_on_a_gpu_is_mixed_float16(monkeypatch):
    monkeypatch.setattr(precision, "has_gpu", lambda: True)
    precision.set_precision("fp16")
    assert keras.mixed_precision.dtype_policy().name == "mixed_float16"


@pytest.mark.parametrize(
    ("xla", "gpu", "used"),
    [
        ("on", False, True),
        ("off", True, False),
        ("auto", True, True),
        ("auto", False, False),
    ],
)
def test_xla_auto_follows_the_device(monkeypatch, xla, gpu, used):
    monkeypatch.setattr(precision, "has_gpu", lambda: gpu)
    assert precision.use_xla(xla) is used


def test_a_keras_json_of_the_user_changes_nothing():
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    keras.config.set_epsilon(1e-3)
    precision.set_precision("bf16")
    assert keras.config.image_data_format() == "channels_last"
    assert (keras.config.floatx(), keras.config.epsilon()) == ("float32", 1e-7)


@pytest.fixture
def machine(monkeypatch):
    """`machine(gpu, amx, reason)`: its processor, and why it has no native operations, or None."""

    def make(gpu=False, amx=False, reason=None):
        def load(products="float32"):
            if reason:
                raise NativeError(reason)

        monkeypatch.setattr(precision, "has_gpu", lambda: gpu)
        monkeypatch.setattr(precision.processor, "multiplies_in_amx", lambda: amx)
        monkeypatch.setattr(precision.library, "load", load)

    return make


@pytest.mark.parametrize(
    ("setting", "of_machine", "name", "xla", "used"),
    [
        ("off", {}, "bf16", "auto", False),
        ("auto", {}, "bf16", "auto", True),
        ("auto", {}, "fp32", "auto", True),
        ("auto", {"amx": True}, "fp32", "auto", True),
        ("auto", {}, "bf16", "on", False),
        ("auto", {"gpu": True}, "bf16", "auto", False),
        ("auto", {"amx": True}, "bf16", "auto", False),
        ("auto", {"reason": "no compiler"}, "bf16", "auto", False),
        ("on", {"amx": True}, "bf16", "off", True),
    ],
)
def test_winograd_auto_is_on_where_it_is_faster(machine, setting, of_machine, name, xla, used):
    machine(**of_machine)
    assert precision.use_winograd(setting, name, xla) is used


def test_winograd_that_was_asked_for_and_cannot_be_had_is_an_error(machine):
    machine(reason="the processor has no avx512_bf16")
    with pytest.raises(RecipeError, match="--winograd=on: cannot be done here: the processor has"):
        precision.use_winograd("on", "bf16", "off")


def test_what_onednn_cannot_compute_in_bf16_is_one_line(monkeypatch):
    monkeypatch.setattr(precision.bf16, "obstacle", lambda: "ONEDNN_MAX_CPU_ISA=AVX2 hides it")
    error = tf.errors.AbortedError(
        None, None, "Graph execution error:\nStatus: 3, message: no primitive"
    )
    with pytest.raises(RecipeError) as caught, precision.onednn_faults("bf16"):
        raise error
    assert str(caught.value) == (
        "--precision=bf16: cannot be computed here, ONEDNN_MAX_CPU_ISA=AVX2 hides it; take "
        "--precision=fp32, as a run of its own"
    )
    other = tf.errors.AbortedError(None, None, "of something else")
    with pytest.raises(tf.errors.AbortedError), precision.onednn_faults("bf16"):
        raise other
    for name, reason in (("fp32", "ONEDNN_MAX_CPU_ISA=AVX2 hides it"), ("bf16", "")):
        monkeypatch.setattr(precision.bf16, "obstacle", lambda reason=reason: reason)
        with pytest.raises(tf.errors.AbortedError), precision.onednn_faults(name):
            raise error
