"""`StepTable`: steps.csv, a row for each step of a run."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tfsc import files

COLUMNS = ("step", "loss", "learning_rate", "momentum", "batch_size", "noise_scale")
_HEADER = ",".join(COLUMNS) + "\n"


class StepTable:
    """Appends rows to steps.csv.

    Args:
        path: of the file.
        after_step: the step from which the run goes on. Rows of later steps, which a killed process
            wrote ahead of its checkpoint, are cut off, and all from the first damaged line on.

    Raises:
        OSError: with the path, here and from every method, if it cannot be read or written.
    """

    def __init__(self, path: Path, after_step: int = 0):
        self.path = path
        if path.exists():
            with files.naming(path):
                _cut(path, after_step)
        self._is_begun = path.exists() and path.stat().st_size > 0

    def append(self, rows: Iterable[tuple[int, float, float, float, float, float]]) -> None:
        """Append rows, values in the order of the columns, and bring them to the disk.

        Loss and rate are float32: they are written with the fewest digits that tell it from its
        neighbours.
        """
        text = "".join(
            f"{step},{np.float32(loss)!s},{np.float32(rate)!s},{momentum},{batch_size},{noise}\n"
            for step, loss, rate, momentum, batch_size, noise in rows
        )
        if text:
            files.append(self.path, text if self._is_begun else _HEADER + text, sync=True)
            self._is_begun = True

    def losses_from(self, step: int) -> list[tuple[int, float]]:
        """Pairs (step, loss) of the rows from a step on."""
        if not self._is_begun:
            return []
        with files.naming(self.path), self.path.open(encoding="ascii") as file:
            next(file)
            rows = (line.split(",", 2)[:2] for line in file)
            return [(int(n), float(np.float32(loss))) for n, loss in rows if int(n) >= step]


def _cut(path: Path, after_step: int) -> None:
    """End a file before its first line that is of a later step, or damaged."""
    content = path.read_bytes()
    position, last = 0, 0
    header = _HEADER.encode()
    if content.startswith(header):
        position = len(header)
        for line in content[position:].splitlines(keepends=True):
            step = _step_of(line)
            if step is None or not last < step <= after_step:
                break
            position, last = position + len(line), step
    if position < len(content):
        os.truncate(path, position)


def _step_of(line: bytes) -> int | None:
    """The step of a line that is a whole row; None for any other."""
    cells = line[:-1].split(b",")
    if not line.endswith(b"\n") or len(cells) != len(COLUMNS) or not cells[0].isdigit():
        return None
    try:
        for cell in cells[1:]:
            float(cell)
    except ValueError:
        return None
    return int(cells[0])
