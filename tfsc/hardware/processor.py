"""What this machine's processor can compute, as far as Linux and the environment tell it.

Without TensorFlow.
"""

import os
import platform
import sys
from pathlib import Path

# What oneDNN wants of a processor before it multiplies in bfloat16: its avx512_core_bf16. AMX adds
# to it, and no processor has AMX alone. What only converts (AVX-NE-CONVERT) multiplies in float32.
_ONEDNN_BF16 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"}
_ONEDNN_AMX = _ONEDNN_BF16 | {"avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
# Values of ONEDNN_MAX_CPU_ISA, lower case, that forbid what the processor has; oneDNN takes any
# word that it does not know for no limit. The old name counts where the new one is unset.
_HIDE_BF16 = ("sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni")
_HIDE_AMX = (*_HIDE_BF16, "avx512_core_bf16", "avx512_core_fp16", "avx10_1_512")
_ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this machine's processor, as Linux names them; none elsewhere."""
    if platform.machine() != "x86_64":
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = (line.split(":", 1)[1].split() for line in lines if line.startswith("flags"))
    return frozenset(next(flags, ()))


def bf16_obstacle() -> str:
    """Why TensorFlow does not multiply in bfloat16 on this processor; empty where it does."""
    flags = cpu_flags()
    if not flags:
        return (
            f"of this processor ({platform.machine()}, {platform.system()}) it is not known that "
            "TensorFlow multiplies in bf16 on it"
        )
    if not flags >= _ONEDNN_BF16:
        return "this processor has neither AVX-512 BF16 nor AMX"
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false"):
        value = os.environ["TF_ENABLE_ONEDNN_OPTS"]
        return f"TF_ENABLE_ONEDNN_OPTS={value} switches off what would multiply in bf16"
    name, limit = _isa_limit()
    if limit.lower() in _HIDE_BF16:
        return f"{name}={limit} hides the processor's AVX-512 BF16 and AMX"
    return ""


def multiplies_in_amx() -> bool:
    """Whether TensorFlow multiplies in bfloat16 by AMX."""
    if bf16_obstacle() or not cpu_flags() >= _ONEDNN_AMX:
        return False
    return _isa_limit()[1].lower() not in _HIDE_AMX


def _isa_limit() -> tuple[str, str]:
    """The environment variable that limits oneDNN's instruction sets, and its value."""
    limits = ((name, os.environ.get(name, "")) for name in _ISA_LIMITS)
    return next((limit for limit in limits if limit[1]), ("", ""))


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU; only TensorFlow knows whether it can use one."""
    return sys.platform != "linux" or any(Path(path).exists() for path in _GPU_DRIVERS)
