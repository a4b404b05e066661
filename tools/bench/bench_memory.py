"""Watch the memory of a training run: peak, and whether it grows from epoch to epoch.

    python tools/bench/bench_memory.py --out=docs/performance/memory.csv -- \\
        --precision=bf16 --epochs=25 --train_examples=1280 --val_split=stratified

Runs `python -m tfsc.train` with the flags after `--` (in a run directory of its own, without export
unless they say otherwise), reads its resident memory ten times a second, and prints its peak and
the growth of each epoch's highest value after the second epoch. Linux only.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import split_flags

PEAK_GIB, GROWTH = 2.5, 0.02
SETTLED = 2  # epochs after which memory is to be flat


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write a row an epoch to this CSV file")
    own, train = split_flags(sys.argv[1:])
    arguments = parser.parse_args(own)
    with tempfile.TemporaryDirectory(prefix="tfsc-memory-") as scratch:
        run_dir = Path(scratch) / "run"
        command = [sys.executable, "-m", "tfsc.train", "--noexport", *train]
        process = subprocess.Popen([*command, f"--run_dir={run_dir}"], stdout=subprocess.DEVNULL)
        try:
            samples = _watch(process, run_dir / "metrics.csv")
        finally:
            process.terminate()
            process.wait()
        if process.returncode:
            print(f"bench_memory: the run ended with exit code {process.returncode}")
            return 1
    return report(samples, arguments.out)


def _watch(process: subprocess.Popen, metrics: Path) -> list[tuple[int, float]]:
    """(epochs done, resident MiB) ten times a second until the process ends."""
    samples = []
    while process.poll() is None:
        if (resident := _resident(process.pid)) is not None:
            samples.append((_epochs(metrics), resident))
        time.sleep(0.1)
    return samples


def _resident(pid: int) -> float | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _epochs(metrics: Path) -> int:
    try:
        return max(metrics.read_text().count("\n") - 1, 0)
    except OSError:  # not there yet
        return 0


def report(samples: list[tuple[int, float]], out: Path | None) -> int:
    """Print what (epochs done, resident MiB) say, and write the highest of each epoch."""
    epochs = sorted({epoch for epoch, _ in samples})
    highest = [max(value for epoch, value in samples if epoch == k) for k in epochs]
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["epoch", "highest_resident_mib"])
            rows = zip(epochs, highest, strict=True)
            writer.writerows((epoch + 1, f"{value:.1f}") for epoch, value in rows)
    peak = max(highest) / 1024
    print(f"peak resident memory: {peak:.2f} GiB (target: ≤ {PEAK_GIB}) {_met(peak <= PEAK_GIB)}")
    settled = highest[SETTLED:-1]  # after the last epoch the process only winds up
    if len(settled) < 2:
        print(f"growth: not measured; it takes {SETTLED + 2} epochs or more")
        return 0
    growth = max(settled) / settled[0] - 1
    print(
        f"growth after epoch {SETTLED}, over {len(settled)} epochs: {growth:.2%} "
        f"(target: ≤ {GROWTH:.0%}) {_met(growth <= GROWTH)}"
    )
    return 0


def _met(condition: bool) -> str:
    return "met" if condition else "NOT met"


if __name__ == "__main__":
    sys.exit(main())
