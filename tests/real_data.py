"""Real data and the reference's tables, which some tests compare with and are skipped without.

    TFDS_DATA_DIR        a TFDS directory with a prepared cifar10
    TFSC_REFERENCE_DIR   test_vectors.json: schedules and sizes of networks computed elsewhere

Both are read once, here: no test itself sees TFDS_DATA_DIR (tests/conftest.py).
"""

import os
from pathlib import Path


def _directory(variable: str) -> Path:
    return Path(os.environ.get(variable) or "/nonexistent")


TFDS = _directory("TFDS_DATA_DIR")
REFERENCE = _directory("TFSC_REFERENCE_DIR")
