"""Runs of one recipe with several seeds: a row a run, and mean ± sd of each column.

Imports no TensorFlow.
"""

import csv
import dataclasses
import io
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsc import files
from tfsc.errors import RunDirectoryError
from tfsc.runs.run_directory import read_json, read_recipe

# Columns by the beginning of their names, with what the table says above them.
FINAL, BEST, EXPORT = "final_", "best_", "export_"
_SECTIONS = {
    FINAL: "final epoch",
    BEST: "best epoch by val_accuracy: picked on the validation set",
    EXPORT: "export, by tfsc.evaluate",
    "": "time",
}
_TIMES = (
    "train_seconds",
    "evaluation_seconds",
    "total_seconds",
    "wall_seconds",
    "images_per_second",
)


@dataclass(frozen=True)
class Spread:
    """How some numbers x of n runs lie.

    Attributes:
        n: how many.
        mean: Σx/n.
        sd: √(Σ(x − mean)²/(n − 1)), the sample standard deviation; None for n = 1.
        min, max: the smallest and the largest.
    """

    n: int
    mean: float
    sd: float | None
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one number.

    Raises:
        ValueError: if there is none.
    """
    if not values:
        raise ValueError("values must hold at least one number. Received: none")
    return Spread(
        n=len(values),
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        min=min(values),
        max=max(values),
    )


def run_row(run_dir: Path, seed: int) -> dict[str, Any]:
    """What one run amounts to, as a flat row.

    Returns:
        seed, status (of summary.json; "missing" without one) and epochs. Of a run that is done:
        final_step and `final_…` of each accuracy after the last epoch; best_epoch and `best_…` of
        each at the epoch with the largest validation accuracy; `export_…_accuracy` of each column
        of tfsc.evaluate's report, if there is one of the final weights on the run's validation
        set; seconds, and images_per_second without compilation and evaluation; the commits that
        its starts were of, the first seven digits of each, with a + where the checkout had changes.
        Of one that diverged: the step.

    Raises:
        RunDirectoryError: if it is no run, or its summary or report is damaged.
    """
    summary = read_json(run_dir / "summary.json")
    row = {"seed": seed, "status": summary.get("status", "missing")}
    try:
        row["epochs"] = summary.get("epochs", 0)
        if "diverged" in summary:
            row["diverged_step"] = summary["diverged"]["step"]
        if row["status"] != "done":
            return row
        row |= {"final_step": summary["final"]["step"], **_accuracies(FINAL, summary["final"])}
        row |= {"best_epoch": summary["best"]["epoch"], **_accuracies(BEST, summary["best"])}
        seconds = {f"{name}_seconds": value for name, value in summary["seconds"].items()}
        times = seconds | {"images_per_second": summary["images_per_second"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{run_dir / 'summary.json'} is damaged: {error!r}") from None
    return row | _export_accuracies(run_dir, row["final_step"]) | times | _commit(run_dir)


def _commit(run_dir: Path) -> dict[str, str]:
    """The column of commits; none for runs outside a checkout."""
    path = run_dir / "provenance.json"
    try:
        commits = [start.get("commit") for start in read_json(path).get("starts", [])]
        names = [one["id"][:7] + "+" * bool(one["changed"]) for one in commits if one]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error!r}") from None
    return {"commit": " ".join(dict.fromkeys(names))} if names else {}


def _accuracies(prefix: str, epoch: Mapping[str, Any]) -> dict[str, float]:
    """The accuracies in an epoch's row, that of training last."""
    names = [name for name in epoch if name.endswith("accuracy")]
    names.sort(key=lambda name: name.startswith("train"))
    return {prefix + name: epoch[name] for name in names}


def _export_accuracies(run_dir: Path, step: int) -> dict[str, float]:
    """Accuracies in the report on a run's export; none if it is of other weights or other data."""
    report = read_json(run_dir / "evaluation" / "evaluation.json")
    data = {name: report.pop(name, None) for name in ("step", "val_split", "dataset")}
    if not report or (data["step"], data["val_split"]) != (step, read_recipe(run_dir).val_split):
        return {}
    digest = read_json(run_dir / "split" / "data.json").get("digest")
    if not isinstance(data["dataset"], dict) or data["dataset"].get("digest") != digest:
        return {}
    return {
        f"{EXPORT}{_word(name)}_accuracy": scores["accuracy"]
        for name, scores in report.items()
        if isinstance(scores, dict) and "accuracy" in scores
    }


def _word(name: str) -> str:
    """ "6-view TTA" → "6_view_tta"."""
    return re.sub(r"\W+", "_", name.lower())


def spreads(rows: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """The spread of each column of `run_row` that measures something, over the runs that have it.

    Only runs that are done have one: say beside it how many were not.
    """
    names = dict.fromkeys(name for row in rows for name in row if _is_measure(name))
    found = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: spread(values) for name, values in found.items() if values}


def _is_measure(name: str) -> bool:
    return name.endswith("accuracy") or name in _TIMES


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Runs and their spreads for a terminal: n, mean ± sd (n − 1), min and max of each column."""
    found = spreads(rows)
    lines: list[tuple[str, ...]] = [("", "n", "mean ± sd", "min", "max")]
    for prefix, title in _SECTIONS.items():
        section = {name: value for name, value in found.items() if _section(name) == prefix}
        if section:
            lines.append((title,))
        for name, value in section.items():
            digits = 4 if name.endswith("accuracy") else 1
            mean, low, high = (f"{x:.{digits}f}" for x in (value.mean, value.min, value.max))
            sd = "–" if value.sd is None else f"{value.sd:.{digits}f}"
            name = f"  {name.removeprefix(prefix)}"
            lines.append((name, str(value.n), f"{mean} ± {sd}", low, high))
    cells = [line for line in lines if len(line) > 1]
    widths = [max(len(line[column]) for line in cells) for column in range(len(lines[0]))]
    texts = [_aligned(line, widths) if len(line) > 1 else line[0] for line in lines]
    return "\n".join([_counts(rows), *(texts if found else [])])


def _section(name: str) -> str:
    return next(prefix for prefix in _SECTIONS if name.startswith(prefix))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        text.rjust(width) if column else text.ljust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *rest])


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many runs ended how; spreads are over those that are done."""
    done = sum(row["status"] == "done" for row in rows)
    others = "".join(
        f"; seed {row['seed']} {row['status']}"
        + (f" at step {row['diverged_step']}" if "diverged_step" in row else "")
        for row in rows
        if row["status"] != "done"
    )
    return f"{len(rows)} seeds: {done} done{others}"


def write_repeats(
    directory: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> None:
    """Write repeat.csv, a row a seed, and repeat.json, with the spreads.

    Args:
        directory: made if missing.
        rows: of `run_row`.
        about: what was repeated, for the JSON.
    """
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        **about,
        "spreads": {name: dataclasses.asdict(value) for name, value in spreads(rows).items()},
        "runs": rows,
    }
    files.write_text(directory / "repeat.json", json.dumps(content, indent=1) + "\n")
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(directory / "repeat.csv", text.getvalue())
