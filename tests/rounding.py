"""What two kernels may differ in: each rounds its sums as its processor's instructions do."""

import numpy as np

UNIT = 2.0**-23  # a float32's unit in the last place, relative to its power of two


def assert_equal_but_for_rounding(found, expected, units: int = 4) -> None:
    """Each value within so many units in the last place of the largest one.

    Bits are promised only where the same kernel computes both sides. A compiler that contracts
    a·b + c to one rounding (FMA), or sums in another order, differs by less than this.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype == np.float32
    largest = np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=units * UNIT * largest)
