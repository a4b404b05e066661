"""Which processors multiply in bfloat16, by what Linux says of them and the environment."""

import pytest

from tfsc.hardware import processor

_SKYLAKE = {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq"}
_ICE_LAKE = _SKYLAKE | {"avx512_vnni"}
_ZEN_4 = _ICE_LAKE | {"avx512_bf16"}
_SAPPHIRE_RAPIDS = _ZEN_4 | {"avx_vnni", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"}
_ARROW_LAKE = {"avx2", "fma", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"}
_NEITHER = "this processor has neither AVX-512 BF16 nor AMX"


@pytest.fixture
def machine(monkeypatch):
    """`machine(flags, **environment)`: a processor, and what a user has set."""

    def make(flags, **environment):
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(processor, "cpu_flags", lambda: frozenset(flags))

    return make


@pytest.mark.parametrize("flags", [{"avx2", "fma"}, _SKYLAKE, _ICE_LAKE, _ARROW_LAKE])
def test_processors_without_the_instructions(machine, flags):
    machine(flags)
    assert processor.bf16_obstacle() == _NEITHER
    assert not processor.multiplies_in_amx()


@pytest.mark.parametrize(("flags", "amx"), [(_ZEN_4, False), (_SAPPHIRE_RAPIDS, True)])
def test_processors_that_multiply_in_it(machine, flags, amx):
    machine(flags)
    assert processor.bf16_obstacle() == ""
    assert processor.multiplies_in_amx() is amx


@pytest.mark.parametrize(
    ("limit", "bf16", "amx"),
    [
        ("AVX2", False, False),
        ("avx2_vnni_2", False, False),
        ("AVX512_CORE", False, False),
        ("AVX512_CORE_VNNI", False, False),
        ("AVX512_CORE_BF16", True, False),
        ("avx10_1_512", True, False),
        ("AVX512_CORE_AMX", True, True),
        ("DEFAULT", True, True),
        ("ALL", True, True),  # no word of oneDNN's: it takes it for no limit
        ("", True, True),
    ],
)
@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_limit_hides_what_the_processor_has(machine, name, limit, bf16, amx):
    machine(_SAPPHIRE_RAPIDS, **{name: limit})
    hidden = f"{name}={limit} hides the processor's AVX-512 BF16 and AMX"
    assert processor.bf16_obstacle() == ("" if bf16 else hidden)
    assert processor.multiplies_in_amx() is amx


def test_the_old_name_of_the_limit_counts_only_where_the_new_one_is_unset(machine):
    machine(_ZEN_4, ONEDNN_MAX_CPU_ISA="AVX512_CORE_BF16", DNNL_MAX_CPU_ISA="AVX2")
    assert processor.bf16_obstacle() == ""


@pytest.mark.parametrize(("value", "off"), [("0", True), ("False", True), ("1", False)])
def test_without_onednn_nothing_multiplies_in_it(machine, value, off):
    machine(_SAPPHIRE_RAPIDS, TF_ENABLE_ONEDNN_OPTS=value)
    why = f"TF_ENABLE_ONEDNN_OPTS={value} switches off what would multiply in bf16"
    assert processor.bf16_obstacle() == (why if off else "")
    assert processor.multiplies_in_amx() is not off


def test_a_limit_says_nothing_about_a_processor_that_has_nothing_to_hide(machine):
    machine(_ICE_LAKE, ONEDNN_MAX_CPU_ISA="AVX2", TF_ENABLE_ONEDNN_OPTS="0")
    assert processor.bf16_obstacle() == _NEITHER


@pytest.mark.parametrize(("kind", "system"), [("aarch64", "Linux"), ("arm64", "Darwin")])
def test_other_processors_are_not_known_to(monkeypatch, kind, system):
    monkeypatch.setattr(processor.platform, "machine", lambda: kind)
    monkeypatch.setattr(processor.platform, "system", lambda: system)
    assert processor.cpu_flags() == frozenset()
    assert f"of this processor ({kind}, {system}) it is not known" in processor.bf16_obstacle()
