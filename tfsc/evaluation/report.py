"""An evaluation as files: JSON, CSV tables and the picture of the confusion matrix."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure  # pyplot's backend is the user's: nothing here changes it

from tfsc import files
from tfsc.evaluation.metrics import Scores

_MEASURES = (("accuracy", "accuracy"), ("nll", "NLL"), ("ece", "ECE"), ("brier", "Brier"))


def write_report(
    directory: Path,
    columns: dict[str, Scores],
    class_names: tuple[str, ...],
    about: dict[str, Any],
) -> None:
    """Write evaluation.json, per_class.csv, confusion.csv and confusion.png.

    Args:
        directory: made if missing.
        columns: scores by the name of the way they were obtained; the first is the plain one, whose
            confusion matrix is written.
        class_names: one for each class.
        about: what was evaluated, for the JSON.
    """
    directory.mkdir(parents=True, exist_ok=True)
    measures = {
        name: {key: getattr(scores, key) for key, _ in _MEASURES}
        for name, scores in columns.items()
    }
    files.write_text(
        directory / "evaluation.json", json.dumps({**about, **measures}, indent=1) + "\n"
    )
    table = per_class_table(columns, class_names)
    files.write_text(directory / "per_class.csv", table.to_csv(index=False, lineterminator="\n"))
    plain = next(iter(columns.values()))
    confusion = pd.DataFrame(plain.confusion, index=class_names, columns=class_names)
    confusion.index.name = "label"
    files.write_text(directory / "confusion.csv", confusion.to_csv(lineterminator="\n"))
    plot_confusion(directory / "confusion.png", plain, class_names)


def per_class_table(columns: dict[str, Scores], class_names: tuple[str, ...]) -> pd.DataFrame:
    """A row a class: examples, and recall and precision of each column."""
    plain = next(iter(columns.values()))
    table = pd.DataFrame({"class": class_names, "examples": plain.confusion.sum(axis=1)})
    for name, scores in columns.items():
        table[f"{name} recall"] = scores.recall.round(4)
        table[f"{name} precision"] = scores.precision.round(4)
    return table


def text_table(columns: dict[str, Scores], class_names: tuple[str, ...]) -> str:
    """The scores and the per-class table for a terminal."""
    width = max(len(name) for name in columns) + 4
    lines = [" " * 12 + "".join(name.rjust(width) for name in columns)]
    for key, title in _MEASURES:
        values = "".join(f"{getattr(s, key):.4f}".rjust(width) for s in columns.values())
        lines.append(title.ljust(12) + values)
    if len(class_names) <= 20:
        lines += ["", per_class_table(columns, class_names).to_string(index=False)]
    return "\n".join(lines)


def plot_confusion(path: Path, scores: Scores, class_names: tuple[str, ...]) -> None:
    """Draw the confusion matrix: colour is the share of the label's examples, figures count."""
    classes = len(class_names)
    shares = scores.confusion / np.maximum(scores.confusion.sum(axis=1, keepdims=True), 1)
    size = max(5.0, min(0.55 * classes + 2.5, 22))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    # The diagonal would drown the errors on a linear scale.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(classes), class_names, rotation=90 if classes > 12 else 45, ha="right")
    axes.set_yticks(range(classes), class_names)
    if classes > 30:
        axes.tick_params(labelsize=5)
    else:
        for row in range(classes):
            for column in range(classes):
                if count := scores.confusion[row, column]:
                    dark = shares[row, column] > 0.35
                    axes.text(
                        column,
                        row,
                        str(count),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if dark else "black",
                    )
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(f"accuracy {scores.accuracy:.4f}, colour: √(share of the label)", fontsize=10)
    with files.atomic(path) as file:
        figure.savefig(file, dpi=130, format="png")
