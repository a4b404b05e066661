"""--precision, --xla and --native on machines of several kinds."""

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
    """`machine(gpu, amx, without, reason)`: its processor, and why it has no native operations.

    `without` is the kind of products that it does not have, "" for none at all.
    """

    def make(gpu=False, amx=False, without=None, reason="there is no compiler"):
        def load(products="float32"):
            if without in ("", products):
                raise NativeError(reason)

        monkeypatch.setattr(precision, "has_gpu", lambda: gpu)
        monkeypatch.setattr(precision.processor, "multiplies_in_amx", lambda: amx)
        monkeypatch.setattr(precision.library, "load", load)

    return make


@pytest.mark.parametrize(
    ("native", "of_machine", "name", "xla", "used"),
    [
        ("off", {}, "fp32", "auto", False),
        ("auto", {}, "fp32", "auto", True),
        ("auto", {}, "tf32", "off", True),
        ("auto", {}, "bf16", "auto", True),
        ("auto", {"amx": True, "without": "bfloat16"}, "bf16", "auto", True),
        ("auto", {}, "fp32", "on", False),
        ("auto", {}, "fp16", "auto", False),
        ("auto", {"gpu": True}, "bf16", "off", False),
        ("auto", {"without": ""}, "fp32", "auto", False),
        ("on", {}, "fp32", "auto", True),
    ],
)
def test_native_auto_is_on_where_it_can_be_had(machine, native, of_machine, name, xla, used):
    machine(**of_machine)
    assert precision.use_native(native, name, xla) is used


@pytest.mark.parametrize(
    ("native", "bf16_winograd", "of_machine", "name", "xla", "used"),
    [
        ("off", False, {}, "fp32", "auto", False),
        ("auto", False, {}, "fp32", "auto", True),
        ("auto", False, {}, "tf32", "auto", True),
        ("auto", False, {"amx": True, "without": "bfloat16"}, "fp32", "auto", True),
        ("auto", False, {}, "bf16", "auto", False),  # 1 % of rounding is the recipe's choice
        ("on", False, {}, "bf16", "auto", False),
        ("auto", True, {}, "bf16", "auto", True),
        ("auto", True, {}, "bf16", "on", False),
        ("auto", True, {"gpu": True}, "bf16", "auto", False),
        ("auto", True, {"amx": True}, "bf16", "auto", False),
        ("auto", True, {"without": "bfloat16"}, "bf16", "auto", False),
        ("auto", True, {"without": ""}, "bf16", "auto", False),
        ("on", True, {"amx": True}, "bf16", "off", True),
    ],
)
def test_winograd_is_in_bf16_where_it_was_asked_for_and_is_faster(
    machine, native, bf16_winograd, of_machine, name, xla, used
):
    machine(**of_machine)
    assert precision.use_winograd(native, bf16_winograd, name, xla) is used


@pytest.mark.parametrize(
    ("of_machine", "name", "reason"),
    [
        ({"without": "", "reason": "there is no compiler"}, "bf16", "there is no compiler$"),
        ({"gpu": True}, "fp32", "there is a GPU"),
    ],
)
def test_native_that_was_asked_for_and_cannot_be_had_is_an_error(machine, of_machine, name, reason):
    machine(**of_machine)
    for asked in (
        lambda: precision.use_native("on", name, "auto"),
        lambda: precision.use_winograd("on", False, name, "auto"),
    ):
        with pytest.raises(RecipeError, match=f"^--native=on: cannot be done here: {reason}"):
            asked()


def test_winograd_in_bf16_that_was_asked_for_and_cannot_be_had_is_an_error(machine):
    machine(without="bfloat16", reason="the processor has no avx512_bf16")
    rule = "^--bf16_winograd=true: cannot be done here: the processor has no avx512_bf16$"
    with pytest.raises(RecipeError, match=rule):
        precision.use_winograd("on", True, "bf16", "off")
    assert precision.use_native("on", "bf16", "off")


@pytest.mark.parametrize(
    ("asked", "of_machine", "line"),
    [
        (
            ("auto", False, "fp32", "auto"),
            {"without": ""},
            "--native=auto: nothing in C++ here, as with off (there is no compiler)",
        ),
        (
            ("auto", True, "bf16", "auto"),
            {"without": "bfloat16", "reason": "the processor has no avx512_bf16"},
            "--bf16_winograd=true: ordinary convolutions here (the processor has no avx512_bf16)",
        ),
        (
            ("auto", True, "bf16", "auto"),
            {"amx": True},
            "--bf16_winograd=true: ordinary convolutions here (AMX is faster; --native=on would do "
            "it)",
        ),
        (("auto", True, "bf16", "auto"), {}, ""),
        (("auto", False, "bf16", "auto"), {"amx": True, "without": "bfloat16"}, ""),
        (("off", False, "fp32", "auto"), {"without": ""}, ""),
        (("on", False, "fp32", "auto"), {}, ""),
        # These have operations of their own, and miss nothing.
        (("auto", False, "fp32", "on"), {"without": ""}, ""),
        (("auto", True, "bf16", "auto"), {"gpu": True, "without": ""}, ""),
    ],
)
def test_what_auto_does_without_is_one_line(machine, asked, of_machine, line):
    machine(**of_machine)
    assert precision.native_doubt(*asked) == line


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
