"""Whether a machine multiplies in bfloat16, what is said where not, and `--precision=auto`."""

from types import SimpleNamespace

import pytest

from tfsc.hardware import bf16, gpu, processor
from tfsc.recipe import Recipe, auto_precision

_AUTO = Recipe(precision="auto")


@pytest.fixture
def machine(monkeypatch):
    """`machine(reason, *gpus)`: why its processor does not; names and capabilities of its GPUs."""

    def make(reason="", *gpus):
        monkeypatch.setattr(processor, "may_have_gpu", lambda: bool(gpus))
        monkeypatch.setattr(processor, "bf16_obstacle", lambda: reason)
        details = [{"device_name": name, "compute_capability": number} for name, number in gpus]
        config = gpu.tf.config
        found = [SimpleNamespace(name=str(number)) for number in range(len(gpus))]
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: found)
        monkeypatch.setattr(
            config.experimental, "get_device_details", lambda gpu: details[int(gpu.name)]
        )

    return make


def test_on_a_processor_that_multiplies_in_it_auto_is_bf16_and_nothing_is_warned_of(machine):
    machine()
    recipe, line = auto_precision.on_this_machine(_AUTO)
    assert recipe == Recipe(precision="bf16") and line.startswith(
        "--precision=auto: bf16, in which"
    )
    assert bf16.warning("bf16") == ""


def test_on_another_auto_is_fp32_and_bf16_is_warned_of_with_reason_and_faster_choice(machine):
    machine("this processor has no such thing")
    recipe, line = auto_precision.on_this_machine(_AUTO)
    assert recipe == Recipe(precision="fp32")
    assert line == "--precision=auto: fp32 (this processor has no such thing)"
    warning = bf16.warning("bf16")
    assert "\n" not in warning and "this processor has no such thing" in warning
    assert "faster: --precision=fp32, as a run of its own" in warning
    assert [bf16.warning(name) for name in ("fp32", "tf32", "fp16")] == ["", "", ""]


_V100, _A100, _H100 = ("V100", (7, 0)), ("A100", (8, 0)), ("H100", (9, 0))


@pytest.mark.parametrize(
    ("gpus", "used", "precision"),
    [
        ([_A100], 1, "bf16"),
        ([_H100], 1, "bf16"),
        ([_V100], 1, "fp32"),
        ([("T4", (7, 5))], 1, "fp32"),
        ([_A100, _V100], 1, "bf16"),  # the second one is not used
        ([_A100, _V100], 2, "fp32"),
        ([_A100, _A100], 2, "bf16"),
        ([("MI250", None)], 1, "fp32"),
    ],
)
def test_where_there_are_gpus_those_that_are_used_count(machine, gpus, used, precision):
    machine("this processor has no such thing", *gpus)
    recipe, line = auto_precision.on_this_machine(_AUTO.replace(replicas=used))
    assert recipe.precision == precision
    if precision == "fp32":
        slow = gpus[used - 1][0]
        assert f"this GPU ({slow}" in line and f"this GPU ({slow}" in bf16.warning("bf16", used)


def test_a_driver_without_a_gpu_that_tensorflow_can_use_leaves_the_processor(machine, monkeypatch):
    machine("this processor has no such thing")
    monkeypatch.setattr(processor, "may_have_gpu", lambda: True)
    assert bf16.obstacle() == "this processor has no such thing"


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_what_was_asked_for_stays(machine, precision):
    machine("this processor has no such thing")
    assert auto_precision.on_this_machine(Recipe(precision=precision)) == (
        Recipe(precision=precision),
        "",
    )
