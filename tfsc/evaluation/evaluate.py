"""`evaluate`: an exported model, its validation set, and the report."""

from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tfsc import bf16
from tfsc.data.examples import Examples
from tfsc.data.source import load
from tfsc.data.split import split
from tfsc.errors import ExportError
from tfsc.evaluation.exported import ExportedModel, export_home, read_export
from tfsc.evaluation.metrics import Scores, score
from tfsc.evaluation.report import text_table, write_report
from tfsc.evaluation.tta import tta_logits
from tfsc.recipe import Recipe
from tfsc.training.precision import set_tf32


def evaluate(path: Path, out: Path | None, given: dict[str, Any]) -> dict[str, Scores]:
    """Evaluate the export at `path`, print the scores and write the report into `out`.

    Args:
        path: see `read_export`.
        out: directory of the report; None: beside the export, "evaluation" for "export" and
            "evaluation-88" for "export-88".
        given: data settings that replace those of the export's recipe.

    Raises:
        ExportError: if the model cannot be read or does not fit the data.
        DataError: if the data cannot be had.
    """
    model = read_export(path)
    recipe = (model.recipe or Recipe()).replace(**given)
    source = load(recipe.dataset, recipe.data_dir)
    val = split(source, recipe.val_split, 0, recipe.seed).val
    set_tf32(recipe.precision)
    if recipe.precision == "bf16" and (why := bf16.obstacle()):
        logging.warning("the model computes in bf16, which is slow here: %s", why)
    if val.images.shape[1:] != model.image_shape:
        raise ExportError(
            f"--export={path}: takes images of {model.image_shape}, but --dataset={recipe.dataset} "
            f"has {val.images.shape[1:]}"
        )
    columns = score_columns(model, val, len(source.class_names), path)
    names = model.class_names or source.class_names
    if len(names) != len(source.class_names):
        raise ExportError(
            f"--export={path}: names {len(names)} classes, --dataset={recipe.dataset} has "
            f"{len(source.class_names)}"
        )
    about = {
        "export": str(path),
        "step": model.step,
        "dataset": {"name": source.name, "version": source.version, "digest": source.digest},
        "val_split": recipe.val_split,
        "examples": len(val),
    }
    print(
        f"{path}: {recipe.dataset}, {len(val)} validation examples (--val_split={recipe.val_split})"
    )
    print(text_table(columns, names))
    if not recipe.flip:
        print("(trained with --noflip: mirrored images are foreign to it, TTA may only harm)")
    place = report_place(export_home(path) or path)
    if out is None and place.is_symlink():
        raise ExportError(f"{place}: must not be a symbolic link; name a place by --out")
    out = out or place
    write_report(out, columns, names, about)
    print(f"report in {out}")
    return columns


def report_place(export: Path) -> Path:
    """Where the report of an export goes: exports beside each other have reports of their own."""
    if export.name.startswith("export"):
        return export.with_name(export.name.replace("export", "evaluation", 1))
    return export.with_name(f"{export.stem}-evaluation")


def score_columns(
    model: ExportedModel, val: Examples, classes: int, path: Path
) -> dict[str, Scores]:
    """Scores of the plain model, and each test-time augmentation in a column of its own."""
    columns = tta_logits(model, val.images)
    found = columns["plain"].shape[1]
    if found != classes:
        raise ExportError(
            f"--export={path}: must have a logit for each of the {classes} classes, has {found}"
        )
    if not all(np.isfinite(logits).all() for logits in columns.values()):
        raise ExportError(f"--export={path}: its logits are not finite")
    return {name: score(logits, val.labels) for name, logits in columns.items()}
