"""`Windows`: a long series as few points that lose no extreme."""

import math
from collections.abc import Mapping

# TensorBoard serves a thousand points of a tag; of more it takes a thousand at random.
MOST_POINTS = 1000


class Windows:
    """Sums up a series in windows of equal length, at most `most` of them.

    With n = ⌈total/most⌉, a window ends at the first number in the series that reaches another
    multiple of n, and at `total`. Which window a number falls into depends on nothing else: fed
    with what a run had before it was interrupted, windows go on as if it had not been.

    Args:
        total: the last number (of a step or an epoch), counted from 1.
        most: windows.

    Attributes:
        length: n.
    """

    def __init__(self, total: int, most: int = MOST_POINTS):
        self.total, self.length = total, max(-(-total // most), 1)
        self._last = 0
        self._values: dict[str, list[float]] = {}

    def first_of(self, number: int) -> int:
        """From which number on a series that stands at `number` must be fed again to go on."""
        return number // self.length * self.length

    def add(self, number: int, values: Mapping[str, float | None]) -> dict[str, float]:
        """The point of the window that ends with this number; empty if none does.

        Args:
            number: rising.
            values: by name; None: no value here.
        """
        for name, value in values.items():
            if value is not None:
                self._values.setdefault(name, []).append(value)
        ends = number // self.length > self._last // self.length or number >= self.total
        self._last = number
        return self.end() if ends else {}

    def end(self) -> dict[str, float]:
        """What is in the window, which ends: the mean by name, the least and the largest beside it.

        The least and the largest, `<name>_min` and `<name>_max`, leave NaN out as long as there is
        anything else; the mean is NaN then. Windows of a single number have none but the number.
        """
        point = {}
        for name, values in self._values.items():
            point[name] = sum(values) / len(values)
            if self.length > 1:
                numbers = [value for value in values if not math.isnan(value)] or values
                point[f"{name}_min"], point[f"{name}_max"] = min(numbers), max(numbers)
        self._values.clear()
        return point
