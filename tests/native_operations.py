"""`needs_operations`: skips tests of the operations in C++ where they cannot be had."""

import pytest

from tfsc.native import library

try:
    library.load()
except library.NativeError as reason:
    WHY = str(reason)
else:
    WHY = ""
needs_operations = pytest.mark.skipif(bool(WHY), reason=f"no native operations: {WHY}")
