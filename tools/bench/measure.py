"""What the benchmarks share: interleaved rounds, medians and ratios, results on disk."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfsc import files


def split_flags(flags: list[str]) -> tuple[list[str], list[str]]:
    """A tool's own flags, and those after `--`, which it passes on."""
    cut = flags.index("--") if "--" in flags else len(flags)
    return flags[:cut], flags[cut + 1 :]


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def interleaved(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure every variant once a round, in turn, so that a drift of the machine meets all.

    Args:
        variants: functions that measure once and return the figure.
        rounds: at least 1; every second round runs in reverse order (A B, B A, ...).

    Returns:
        Each variant's figures, in order of the rounds.
    """
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for index in range(rounds):
        for name in list(variants)[:: -1 if index % 2 else 1]:
            figures[name].append(variants[name]())
    return figures


def ratios(numerator: list[float], denominator: list[float]) -> list[float]:
    """Round by round: what the two had in common cancels."""
    return [one / other for one, other in zip(numerator, denominator, strict=True)]


def summary(figures: list[float]) -> dict[str, float]:
    """n, median, least and greatest."""
    return {
        "n": len(figures),
        "median": statistics.median(figures),
        "min": min(figures),
        "max": max(figures),
    }


def record(**results: Any) -> dict[str, Any]:
    """A result as it goes to disk, with the command and what it depends on."""
    # It imports TensorFlow, which tools that only start other processes do without.
    from tfsc.reporting.provenance import environment

    return {
        "command": ["python", *sys.argv],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **environment(),
        **results,
    }


def write_json(path: str | Path, value: Any) -> None:
    """Write (replacing atomically) a JSON file; its folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


def markdown(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; floats with three significant digits."""

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)
