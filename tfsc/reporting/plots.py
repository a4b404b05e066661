"""Pictures of a run, in the manner of the seeds' figures."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # pyplot's backend is the user's: nothing here changes it
from matplotlib.ticker import MaxNLocator

from tfsc import files
from tfsc.reporting.summary import evaluated

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
    figure = Figure(figsize=(8, 10), layout="constrained")
    accuracy, loss, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    figure.suptitle(title, fontsize=11)

    def draw(axes, name, color, label):
        rows = [row for row in history if row[name] is not None]
        if not rows:  # a line without points breaks the layout
            return
        points = [row["epoch"] for row in rows], [row[name] for row in rows]
        marker = {"marker": "o", "markersize": 3, "linewidth": 1.4, "clip_on": False}
        axes.plot(*points, color=color, label=label, **marker)

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
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        draw(axes, f"train_{name}", _TRAIN, "training")
        draw(axes, f"val_{name}", _VAL, "validation")
        if f"ema_val_{name}" in history[0]:
            draw(axes, f"ema_val_{name}", _EMA, "validation, averaged weights")
    if rows := evaluated(history):
        best = max(rows, key=lambda row: row["val_accuracy"])
        accuracy.set_title(
            f"validation accuracy: {rows[-1]['val_accuracy']:.4f} after epoch "
            f"{rows[-1]['epoch']}, best {best['val_accuracy']:.4f} at epoch {best['epoch']}",
            fontsize=9,
        )
    accuracy.set_ylabel("accuracy")
    accuracy.legend(loc="lower right")
    loss.set_ylabel("loss")
    loss.legend(loc="upper right")
    rate.plot(*rates, color="black", linewidth=1.2)
    rate.set_ylabel("learning rate")
    rate.set_ylim(0, 1.05 * rates[1].max() or 1.0)
    rate.set_xlabel("epoch")
    rate.set_xlim(0, max(epochs, 1))
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (accuracy, loss, rate):
        axes.grid(alpha=0.3)
    with files.atomic(path) as file:
        figure.savefig(file, dpi=120, format="png")


def plot_image_grid(path: Path, rows: np.ndarray, titles: list[str], title: str) -> None:
    """Draw images in rows.

    Args:
        path: PNG file to write.
        rows: [rows, columns, height, width, 1 or 3 channels], 0–255.
        titles: above the columns.
        title: above the picture.
    """
    count, columns = rows.shape[:2]
    figure = Figure(figsize=(1.1 * columns, 1.1 * count + 0.6), layout="constrained")
    axes = figure.subplots(count, columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for row, row_axes in zip(rows, axes, strict=True):
        for image, one in zip(row, row_axes, strict=True):
            shown = np.clip(np.rint(image), 0, 255).astype(np.uint8)
            one.imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray")
            one.set_axis_off()
    for name, one in zip(titles, axes[0], strict=True):
        one.set_title(name, fontsize=8)
    figure.savefig(path, dpi=110)
