"""Compare recipes that tfsc.repeat ran: a table of differences from the first one, a picture.

    python -m tfsc.compare runs/base runs/no-flip runs/crop-0 --out=ablations
    python -m tfsc.compare runs/epochs-* --over=epochs --out=budget

Each directory is an --out of tfsc.repeat. Prints, as Markdown, and writes to OUT.csv for each
of them: n, mean ± sd (n − 1) of --column, the difference of its mean from the first one's with the
half-width of its 95 % confidence interval, and the flags in which its recipe differs. OUT.png shows
every run and the means; --over puts a number of the recipe on the horizontal axis and may have
several columns, separated by commas. Runs that diverged have no accuracy: their seeds are named.

Half-width: t(0.975, ν)·s·√(1/n + 1/m), where s² = Σ(nᵢ − 1)·sᵢ²/ν is the variance within recipes,
of all of them together, ν = Σ(nᵢ − 1), and n, m are the runs of both: with three runs each, a pair
alone says little about s. It supposes that seeds scatter alike in all recipes, and is for one
difference; of twenty without any effect one lies outside.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from tfsc.errors import TfscError
from tfsc.recipe import Recipe, old_spelling
from tfsc.runs.repeats import Spread, spread
from tfsc.runs.run_directory import read_json


@dataclass(frozen=True)
class Repeats:
    """What tfsc.repeat left in one directory."""

    name: str
    recipe: dict[str, str]
    rows: list[dict[str, Any]]

    def values(self, column: str) -> list[float]:
        """The column, of the runs that have it."""
        return [row[column] for row in self.rows if row.get(column) is not None]


def options_parser() -> argparse.ArgumentParser:
    """The command's options, which docs/reference/ lists as well."""
    parser = argparse.ArgumentParser("tfsc.compare", description=__doc__.splitlines()[0])
    parser.add_argument("repeats", nargs="+", type=Path, help="directories; their names label them")
    parser.add_argument("--column", default="final_val_accuracy", help="of repeat.csv")
    parser.add_argument("--over", default="", help="a number of the recipe, for the x axis")
    parser.add_argument("--title", default="")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.csv and OUT.png")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = options_parser().parse_args(arguments)
    columns = options.column.split(",")
    if len(columns) > 1 and not options.over:
        sys.exit(f"tfsc.compare: --column={options.column}: must be one column without --over")
    try:
        found = [read(directory) for directory in options.repeats]
        tables = {column: compared(found, column) for column in columns}
        if options.over:
            positions = [number(repeats, options.over) for repeats in found]
    except TfscError as error:
        sys.exit(f"tfsc.compare: {error}")
    for repeats in found:
        if others := [row["seed"] for row in repeats.rows if row["status"] != "done"]:
            print(f"{repeats.name}: seeds {others} are not done and count nowhere")
    for table in tables.values():
        print(markdown(table), end="\n\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables.values()).to_csv(f"{options.out}.csv", index=False, lineterminator="\n")
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    if options.over:
        draw_over(axes, found, positions, columns, options.over)
    else:
        draw_beside(axes, found, tables[columns[0]], columns[0])
    axes.set_title(options.title, fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(f"{options.out}.png", dpi=120)


def read(directory: Path) -> Repeats:
    """What repeat.json of a directory says.

    Raises:
        TfscError: if there is none, or it is damaged.
    """
    path = directory / "repeat.json"
    content = read_json(path)
    try:
        return Repeats(directory.name, dict(content["recipe"]), [dict(r) for r in content["runs"]])
    except (KeyError, TypeError, ValueError) as error:
        raise TfscError(f"{path}: must be of tfsc.repeat. Received: {error!r}") from None


def number(repeats: Repeats, name: str) -> float:
    """A flag of a recipe as a number.

    Raises:
        TfscError: if it has none.
    """
    text = repeats.recipe.get(name)
    try:
        return float(text or "none")
    except ValueError:
        raise TfscError(
            f"--over={name}: must be a number of each recipe. Received: {text} in {repeats.name}"
        ) from None


def compared(found: list[Repeats], column: str) -> pd.DataFrame:
    """A row for each of the repeats: spread, difference from the first one, changed flags.

    Raises:
        TfscError: if one has no such column.
    """
    spreads = [_spread(repeats, column) for repeats in found]
    first = spreads[0]
    freedom = sum(one.n - 1 for one in spreads)
    squares = sum((one.n - 1) * one.sd**2 for one in spreads if one.sd is not None)
    within = math.sqrt(squares / freedom) if freedom else math.nan
    rows = []
    for repeats, one in zip(found, spreads, strict=True):
        half = stats.t.ppf(0.975, freedom) * within * math.sqrt(1 / one.n + 1 / first.n)
        rows.append(
            {
                "recipe": repeats.name,
                "column": column,
                "n": one.n,
                "mean": one.mean,
                "sd": one.sd,
                "min": one.min,
                "max": one.max,
                "difference": None if one is first else one.mean - first.mean,
                "half_width_95": None if one is first else half,
                "changed": changes(found[0].recipe, repeats.recipe),
            }
        )
    return pd.DataFrame(rows)


def _spread(repeats: Repeats, column: str) -> Spread:
    if values := repeats.values(column):
        return spread(values)
    names = dict.fromkeys(name for row in repeats.rows for name in row)
    raise TfscError(f"--column={column}: must be one of {', '.join(names)} in {repeats.name}")


def changes(first: dict[str, str], other: dict[str, str]) -> str:
    """The flags of `other` that differ from `first`.

    One that only a later record has was added since: before, all did what is its default now, but
    for --native, which was off.
    """
    first, other = _today(first), _today(other)
    names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
    return " ".join(f"--{name}={other.get(name, '')}" for name in names)


def _today(recipe: dict[str, str]) -> dict[str, str]:
    """A record's recipe with the flags that are younger than it."""
    if old_spelling.is_old(recipe):
        recipe = old_spelling.translated(recipe)
    return Recipe().identity() | recipe


def markdown(table: pd.DataFrame) -> str:
    """The table for a terminal and for docs/."""
    lines = [f"| | {table['column'][0]} | n | difference | changed |", "|---|---|---|---|---|"]
    for row in table.itertuples():
        sd = "" if pd.isna(row.sd) else f" ± {row.sd:.4f}"
        difference = "" if pd.isna(row.difference) else f"{row.difference:+.4f}"
        if difference and not pd.isna(row.half_width_95):
            difference += f" ± {row.half_width_95:.4f}"
        changed = f"`{row.changed}`" if row.changed else ""
        lines.append(f"| {row.recipe} | {row.mean:.4f}{sd} | {row.n} | {difference} | {changed} |")
    return "\n".join(lines)


def draw_beside(axes: Axes, found: list[Repeats], table: pd.DataFrame, column: str) -> None:
    """Recipes one below the other: runs as points, means with the interval of the difference."""
    for position, (repeats, row) in enumerate(zip(found, table.itertuples(), strict=True)):
        values = repeats.values(column)
        axes.plot(values, [position] * len(values), "o", color="tab:gray", markersize=4)
        half = None if pd.isna(row.half_width_95) else row.half_width_95
        color = "black" if position == 0 else "tab:blue"
        axes.errorbar(row.mean, position, xerr=half, fmt="D", color=color, markersize=6, capsize=4)
    axes.axvline(table["mean"][0], color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(found)), [repeats.name for repeats in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(
        f"{column.replace('_', ' ')}: runs (grey), means, 95 % interval of the difference "
        f"from {found[0].name}",
        fontsize=9,
    )


def draw_over(
    axes: Axes, found: list[Repeats], positions: list[float], columns: list[str], over: str
) -> None:
    """Columns over a number of the recipe: runs as points, a line through the means."""
    order = sorted(range(len(found)), key=positions.__getitem__)
    for index, column in enumerate(columns):
        color = f"C{index}"
        means = [spread(found[k].values(column)).mean for k in order]
        x = [positions[k] for k in order]
        label = column.removesuffix("_accuracy").replace("_", " ")
        axes.plot(x, means, "-", color=color, linewidth=1.4, label=label)
        for k in order:
            values = found[k].values(column)
            axes.plot([positions[k]] * len(values), values, "o", color=color, markersize=3.5)
        for place, mean in zip(x, means, strict=True):
            axes.annotate(
                f"{mean:.4f}",
                (place, mean),
                xytext=(6, -9),
                textcoords="offset points",
                color=color,
                fontsize=8,
            )
    axes.margins(x=0.09)  # the last number stays inside
    axes.set_xticks(sorted(set(positions)))
    axes.set_xlabel(over.replace("_", " "))
    axes.set_ylabel("accuracy" if all("accuracy" in name for name in columns) else "")
    axes.legend(fontsize=9, loc="lower right")


if __name__ == "__main__":
    main()
