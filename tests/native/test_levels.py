"""Every level that this processor has: its operations pass the tests that the best one passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfsc.native import compiler

ROOT = Path(__file__).parents[2]
_TESTS = (
    "layers/test_winograd.py",
    "layers/test_norm_relu.py",
    "layers/test_fused_pointwise.py",
    "augment/test_separable.py",
)


def _lower():
    """Levels below the one of this process, the lowest last."""
    try:
        here = compiler.level()
    except compiler.NativeError:
        return []
    return [*compiler.LEVELS][[*compiler.LEVELS].index(here) + 1 :]


def _passed(level, *arguments):
    # The processor is not what is tested here: a level below another has fewer instructions.
    environment = {**os.environ, compiler.LEVEL_VARIABLE: level, "PYTHONPATH": str(ROOT)}
    tests = [str(ROOT / "tests" / name) for name in _TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.skipif("avx2" not in _lower(), reason="no level below this processor's is AVX2")
def test_the_arithmetic_of_avx2():
    _passed("avx2", "-k", "numpys or exact or small or formula or rounding or product")


@pytest.mark.slow  # above, the lowest level's arithmetic
@pytest.mark.parametrize("level", [*compiler.LEVELS][1:])
def test_all_of_a_lower_level(level):
    if level not in _lower():
        pytest.skip(f"{level} is no level below this processor's")
    _passed(level)
