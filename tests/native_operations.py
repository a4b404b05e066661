"""`needs_operations`, `needs_bfloat16`: skip tests of C++ operations where they cannot be had.

And `digests_by_threads`, of what they compute.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfsc.native import compiler, library

try:
    library.load()
except compiler.NativeError as reason:
    WHY = str(reason)
else:
    WHY = ""
NO_BFLOAT16 = WHY or ("" if library.is_available("bfloat16") else "no products of bfloat16")
needs_bfloat16 = pytest.mark.skipif(
    bool(NO_BFLOAT16), reason=f"no native operations: {NO_BFLOAT16}"
)
needs_operations = pytest.mark.skipif(bool(WHY), reason=f"no native operations: {WHY}")


def digests_by_threads(program: str) -> set[str]:
    """What a program prints, run with one thread and with three."""
    digests = set()
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": threads},
            cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout.strip())
    return digests
