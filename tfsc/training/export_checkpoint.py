"""`export_checkpoint`: a run's checkpoint as an exported model."""

from pathlib import Path

from absl import logging

from tfsc.data.source import load
from tfsc.data.split import split
from tfsc.errors import RunDirectoryError
from tfsc.exports.write import check_place, write_export
from tfsc.precision import onednn_faults, set_precision
from tfsc.reporting.summary import evaluated
from tfsc.runs.run_directory import earlier_digests, read_recipe
from tfsc.training.build import build_learner
from tfsc.training.checkpoint import Checkpoint, CheckpointStore


def export_checkpoint(run_dir: Path, which: str, weights: str, out: Path | None) -> Path:
    """Export one checkpoint; return where to.

    Args:
        run_dir: directory of the run.
        which: "last", "best" or a step in digits.
        weights: "network" or "ema".
        out: directory to write; None: export-<step> (export-<step>-ema) in the run.

    Raises:
        RunDirectoryError: if the run, the checkpoint or the average does not exist.
    """
    recipe = read_recipe(run_dir)
    if weights == "ema" and recipe.parsed("average").family == "none":
        raise RunDirectoryError(f"--weights=ema: {run_dir} was trained with --average=none")
    store = CheckpointStore(
        run_dir / "checkpoints", recipe.digest, earlier=earlier_digests(run_dir)
    )
    checkpoint = _choose(store, which, run_dir)
    suffix = "-ema" if weights == "ema" else ""
    out = out or run_dir / f"export-{checkpoint.step}{suffix}"
    check_place(out)
    set_precision(recipe.precision)
    source = load(recipe.dataset, recipe.data_dir)
    data = split(source, recipe.val_split, recipe.train_examples, recipe.seed)
    # What is exported has no C++ in it: this machine need not be one that has it.
    anywhere = recipe.replace(native="auto") if recipe.native == "on" else recipe
    learner = build_learner(anywhere, data, len(source.class_names))
    store.restore(checkpoint, learner.state())
    if weights == "ema":
        learner.swap_ema()
    images = data.val.images
    with onednn_faults(recipe.precision):
        write_export(
            learner.network,
            source.class_names,
            recipe.flagfile(),
            recipe.digest,
            checkpoint.step,
            out,
            images,
        )
    print(f"step {checkpoint.step} of {run_dir} exported to {out}")
    return out


def _choose(store: CheckpointStore, which: str, run_dir: Path) -> Checkpoint:
    checkpoints, faults = store.read_all()
    for fault in faults.values():
        logging.warning("%s", fault)
    if not checkpoints:
        raise RunDirectoryError(f"{run_dir} has no checkpoint that can be read")
    if which == "last":
        return checkpoints[0]
    step = _best_step(checkpoints) if which == "best" else int(which)
    for checkpoint in checkpoints:
        if checkpoint.step == step:
            return checkpoint
    have = ", ".join(str(checkpoint.step) for checkpoint in checkpoints)
    raise RunDirectoryError(f"--checkpoint={which}: {run_dir} has steps {have}")


def _best_step(checkpoints: list[Checkpoint]) -> int:
    """Among the epochs that have a checkpoint, the one of best validation accuracy."""
    steps = {checkpoint.step for checkpoint in checkpoints}
    history = evaluated(checkpoints[0].progress["history"])
    rows = [row for row in history if row["step"] in steps]
    if not rows:
        return checkpoints[0].step
    return max(rows, key=lambda row: row["val_accuracy"])["step"]
