"""What a run amounts to: `summarize` turns its epochs into summary.json."""

import resource
from typing import Any

from tfsc.reporting.energy import Usage

# Seed 001's "transition epochs".
TRANSITIONS = (0.91, 0.92, 0.925, 0.927, 0.928, 0.93)


def evaluated(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of epochs that have been evaluated."""
    return [row for row in history if row["val_accuracy"] is not None]


def transition_epochs(history: list[dict[str, Any]], threshold: float) -> dict[str, int | None]:
    """First epoch (from 1) whose validation accuracy reaches each level; None if none does."""
    rows = evaluated(history)
    return {
        str(level): next((row["epoch"] for row in rows if row["val_accuracy"] >= level), None)
        for level in sorted({*TRANSITIONS, threshold})
    }


def result(summary: dict[str, Any]) -> str:
    """A finished run's summary in a line."""
    final, best = summary["final"], summary["best"]
    return (
        f"validation accuracy {final['val_accuracy']:.4f} after epoch {final['epoch']}, best "
        f"{best['val_accuracy']:.4f} at epoch {best['epoch']}"
    )


def summarize(
    history: list[dict[str, Any]],
    status: str,
    threshold: float,
    clock: dict[str, float],
    gpus: Usage,
) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        history: rows of metrics.csv.
        status: running, done, diverged or interrupted.
        threshold: the recipe's target accuracy.
        clock: totals of `tfsc.training.clock.Clock`, in seconds and images.
        gpus: what they used in all processes of the run.

    Returns:
        A dict: status; epochs; first, final and best (by validation accuracy, the first of equals)
        rows' numbers, None for those of an evaluation that was left out; val_loss_max with its
        epoch (the seeds' "fluctuation"); transition epochs; images_per_second without compilation
        and evaluation; seconds of training, of the calls in it that compile the step (and take
        it), of evaluation and in total; joules and utilisation of the GPUs, None where they were
        not measured throughout; peak memory of the host in MiB.
    """
    summary = {"status": status, "epochs": len(history), "threshold": threshold}
    if history:
        summary |= {"first": _numbers(history[0]), "final": _numbers(history[-1])}
    if rows := evaluated(history):
        best = max(rows, key=lambda row: row["val_accuracy"])
        worst = max(rows, key=lambda row: row["val_loss"])
        summary |= {
            "best": _numbers(best),
            "val_loss_max": {"epoch": worst["epoch"], "val_loss": worst["val_loss"]},
            "transition_epochs": transition_epochs(history, threshold),
            "reached_threshold": best["val_accuracy"] >= threshold,
        }
    timed = clock["timed_seconds"]
    summary |= {
        "images_per_second": round(clock["timed_images"] / timed, 1) if timed else None,
        "seconds": {
            "train": round(clock["train_seconds"], 1),
            "compilation": round(clock["train_seconds"] - timed, 1),
            "evaluation": round(clock["evaluation_seconds"], 1),
            "total": round(clock["total_seconds"], 1),
        },
        "joules": gpus.joules and round(gpus.joules, 1),
        "gpu_utilization": gpus.utilization and round(gpus.utilization, 3),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }
    return summary


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its timings."""
    return {name: value for name, value in row.items() if "second" not in name}


def peak_memory_mib() -> float:
    """Largest resident set of this process so far, in MiB (Linux: ru_maxrss is in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
