"""`needs_operations`, `needs_bfloat16`: skip tests of C++ operations where they cannot be had."""

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
