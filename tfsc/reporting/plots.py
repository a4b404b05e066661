"""Pictures of a run, in the manner of the seeds' figures."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from tfsc import files

matplotlib.use("Agg")  # no display needed
import matplotlib.pyplot as plt

_TRAIN, _VAL, _EMA = "tab:red", "tab:blue", "tab:purple"


def plot_curves(
    path: Path,
    history: list[dict[str, Any]],
    rates: tuple[np.ndarray, np.ndarray],
    title: str,
    epochs: int,
) -> None:
    """Draw accuracy (with the 0.92 and 0.93 lines), loss and learning rate over epochs.

    Args:
        path: PNG file to write.
        history: rows of metrics.csv, at least one.
        rates: epochs (fractional) and learning rates of the whole run.
        title: above the picture.
        epochs: planned length of the run.
    """
    epoch = [row["epoch"] for row in history]
    column = {name: [row[name] for row in history] for name in history[0]}
    figure, (accuracy, loss, rate) = plt.subplots(
        3, 1, figsize=(8, 10), sharex=True, height_ratios=(3, 3, 2), layout="constrained"
    )
    figure.suptitle(title, fontsize=11)
    marker = {"marker": "o", "markersize": 3, "linewidth": 1.4, "clip_on": False}

    accuracy.axhline(0.92, color="green", linewidth=1)
    accuracy.axhline(0.93, color="green", linewidth=1, linestyle=":")
    for level, side in ((0.92, "top"), (0.93, "bottom")):
        accuracy.annotate(
            f"{level}",
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va=side,
            color="green",
            fontsize=8,
        )
    accuracy.plot(epoch, column["train_accuracy"], color=_TRAIN, label="training", **marker)
    accuracy.plot(epoch, column["val_accuracy"], color=_VAL, label="validation", **marker)
    loss.plot(epoch, column["train_loss"], color=_TRAIN, label="training", **marker)
    loss.plot(epoch, column["val_loss"], color=_VAL, label="validation", **marker)
    if "ema_val_accuracy" in column:
        label = "validation, averaged weights"
        accuracy.plot(epoch, column["ema_val_accuracy"], color=_EMA, label=label, **marker)
        loss.plot(epoch, column["ema_val_loss"], color=_EMA, label=label, **marker)
    best = int(np.argmax(column["val_accuracy"]))
    final = column["val_accuracy"][-1]
    accuracy.set_title(
        f"validation accuracy: {final:.4f} after epoch {epoch[-1]}, best "
        f"{column['val_accuracy'][best]:.4f} at epoch {epoch[best]}",
        fontsize=9,
    )
    accuracy.set_ylabel("accuracy")
    accuracy.legend(loc="lower right")
    loss.set_ylabel("loss")
    loss.legend(loc="upper right")
    rate.plot(*rates, color="black", linewidth=1.2)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    rate.set_xlabel("epoch")
    rate.set_xlim(0, max(epochs, 1))
    rate.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    for axes in (accuracy, loss, rate):
        axes.grid(alpha=0.3)
    with files.atomic(path) as file:
        figure.savefig(file, dpi=120, format="png")
    plt.close(figure)
