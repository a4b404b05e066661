"""`deep_graphs`: networks of more layers, one behind another, than Python has calls."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CALLS = 1_000_000


@contextmanager
def deep_graphs() -> Iterator[None]:
    """Let Keras make a functional network, from layers or of a file, however deep it is.

    Keras walks from the outputs to the input with one call a layer, and Python allows a thousand.
    Such calls take memory, but nothing of the C stack that a limit would have to protect.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
