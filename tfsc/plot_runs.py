"""Draw one column of several runs' metrics.csv over epochs or steps, in one picture.

python -m tfsc.plot_runs runs/clr runs/multistep --out=clr.png
python -m tfsc.plot_runs runs/*-seed0 --column=train_loss --over=step --log --out=loss.png
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure


def options_parser() -> argparse.ArgumentParser:
    """The command's options, which docs/reference/ lists as well."""
    parser = argparse.ArgumentParser("tfsc.plot_runs", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="directories; their names label them")
    parser.add_argument("--column", default="val_accuracy", help="what to draw")
    parser.add_argument("--over", default="epoch", choices=("epoch", "step"))
    parser.add_argument("--log", action="store_true", help="logarithmic axes where they help")
    parser.add_argument("--title", default="")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = options_parser().parse_args(arguments)
    tables = {run.name: _read(run, options.column) for run in options.runs}
    draw(tables, options.column, options.over, options.log, options.title, options.out)
    for name, table in tables.items():
        last = table.iloc[-1]
        print(f"{name}: {options.column} {last[options.column]:g} after {last['step']:.0f} steps")


def _read(run: Path, column: str) -> pd.DataFrame:
    """metrics.csv of a run; ends the program where it is missing or has no such column."""
    path = run / "metrics.csv"
    if not path.exists():
        sys.exit(f"plot_runs: {path}: there is no such file")
    table = pd.read_csv(path)
    if column not in table:
        sys.exit(f"plot_runs: --column={column}: must be one of {', '.join(table)}")
    return table


def draw(
    tables: dict[str, pd.DataFrame], column: str, over: str, log: bool, title: str, out: Path
) -> None:
    """Draw one line a run.

    Args:
        tables: metrics by the run's label.
        column, over: of the axes.
        log: y logarithmic, and x too where it counts steps.
        title: above the picture.
        out: PNG file.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, table in tables.items():
        axes.plot(table[over], table[column], marker="o", markersize=3, label=name)
    axes.set_xlabel("optimizer step" if over == "step" else "epoch")
    axes.set_ylabel(column.replace("_", " "))
    if log:
        axes.set_yscale("log")
        if over == "step":
            axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    axes.set_title(title, fontsize=10)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
