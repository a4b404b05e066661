"""`evaluate`: an exported model, its validation set, and the report."""

from pathlib import Path
from typing import Any

import numpy as np

from tfsc.data.examples import Examples
from tfsc.data.source import load, names_classes
from tfsc.data.split import split
from tfsc.errors import ExportError, RecipeError
from tfsc.evaluation.class_names import class_order
from tfsc.evaluation.metrics import Scores, score
from tfsc.evaluation.outputs import Outputs
from tfsc.evaluation.report import text_table, write_report
from tfsc.evaluation.tta import tta_logits
from tfsc.exports.exported_model import ExportedModel, export_home, read_export
from tfsc.precision import set_tf32
from tfsc.recipe import Recipe


def evaluate(
    path: Path,
    out: Path | None,
    given: dict[str, Any],
    class_names: str = "check",
    outputs: str = "auto",
) -> dict[str, Scores]:
    """Evaluate the export at `path`, print the scores and write the report into `out`.

    Args:
        path: see `read_export`.
        out: directory of the report; None: beside the export, "evaluation" for "export" and
            "evaluation-88" for "export-88".
        given: data settings that replace those of the export's recipe.
        class_names: "check" or "ignore" the names of the classes (see `class_order`), where both
            the model and the set have some.
        outputs: what the model gives, see `Outputs`.

    Raises:
        ExportError: if the model cannot be read or does not fit the data.
        DataError: if the data cannot be had.
    """
    model = read_export(path)
    recipe = trained_by(model, path).replace(**given)
    source = load(recipe.dataset, recipe.data_dir)
    val = split(source, recipe.val_split, 0, recipe.seed).val
    # Exports compute in float32; only what was trained in TF32 was validated in it.
    set_tf32("tf32" if recipe.precision == "tf32" else "fp32")
    if val.images.shape[1:] != model.image_shape:
        raise ExportError(
            f"--export={path}: takes images of {model.image_shape}, but --dataset={recipe.dataset} "
            f"has {val.images.shape[1:]}"
        )
    names, order = source.class_names, None
    named = model.class_names if class_names == "check" else None
    compared = bool(named) and names_classes(recipe.dataset, recipe.data_dir)
    if named and compared:
        order = class_order(named, names, str(path), recipe.dataset)
    reading = Outputs(outputs)
    columns = score_columns(model, val, len(names), path, reading, order)
    about = {
        "export": str(path),
        "step": model.step,
        "dataset": {"name": source.name, "version": source.version, "digest": source.digest},
        "val_split": recipe.val_split,
        "examples": len(val),
        "outputs": reading.kind,
        "class_names": ("mapped" if order else "same") if compared else "not compared",
    }
    print(
        f"{path}: {recipe.dataset}, {len(val)} validation examples (--val_split={recipe.val_split})"
    )
    print(text_table(columns, names))
    if reading.kind == "probabilities":
        print("(its outputs are probabilities: scored by their logarithms)")
    if reading.is_doubtful:
        print(
            "(its outputs lie between 0 and 1 and do not sum to 1: taken for logits; see --outputs)"
        )
    if order:
        print("(its classes are those of the set in another order: mapped by name)")
    elif not compared:
        print("(names of classes not compared: its outputs are taken for the set's, in order)")
    if not recipe.parsed("augment").named("flip"):
        print(
            "(trained without flip in --augment: mirrored images are foreign to it, "
            "TTA may only harm)"
        )
    place = report_place(export_home(path) or path)
    if out is None and place.is_symlink():
        raise ExportError(f"{place}: must not be a symbolic link; name a place by --out")
    out = out or place
    write_report(out, columns, names, about)
    print(f"report in {out}")
    return columns


def trained_by(model: ExportedModel, path: Path) -> Recipe:
    """The recipe of a model's training, the defaults where it does not tell.

    Raises:
        ExportError: if this version of tfsc cannot read it.
    """
    if model.recipe is None:
        return Recipe()
    try:
        return Recipe.from_flagfile(model.recipe)
    except RecipeError as error:
        raise ExportError(f"--export={path}: recipe.flags: {error}") from None


def report_place(export: Path) -> Path:
    """Where the report of an export goes: exports beside each other have reports of their own."""
    if export.name.startswith("export"):
        return export.with_name(export.name.replace("export", "evaluation", 1))
    return export.with_name(f"{export.stem}-evaluation")


def score_columns(
    model: ExportedModel,
    val: Examples,
    classes: int,
    path: Path,
    outputs: Outputs | None = None,
    order: list[int] | None = None,
) -> dict[str, Scores]:
    """Scores of the plain model, and each test-time augmentation in a column of its own.

    Args:
        model: to score.
        val: on these examples.
        classes: number of labels.
        path: of the model, for errors.
        outputs: what it gives; default: see `Outputs`.
        order: which of the outputs is each class; None: they are in order.

    Raises:
        ExportError: if the outputs are not logits or probabilities of so many classes.
    """
    columns = tta_logits(model, val.images, outputs)
    found = columns["plain"].shape[1]
    if found != classes:
        raise ExportError(
            f"--export={path}: must have a logit for each of the {classes} classes, has {found}"
        )
    if not all(np.isfinite(logits).all() for logits in columns.values()):
        raise ExportError(f"--export={path}: its logits are not finite")
    if order is not None:
        columns = {name: logits[:, order] for name, logits in columns.items()}
    return {name: score(logits, val.labels) for name, logits in columns.items()}
