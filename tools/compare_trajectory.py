"""Compare a run's epochs with a reference trajectory, as a Markdown table.

    python tools/compare_trajectory.py runs/<run> docs/results/type1_bf16_seed0/reference.csv

Exits with 1 if a training accuracy is further than --points from the reference.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd


def compare(run: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Epochs that both have: training and validation accuracy of each, and the first's difference.

    Args:
        run: metrics.csv of a run (epoch, train_accuracy, val_accuracy).
        reference: epoch, train_acc, val_acc.

    Returns:
        A row an epoch; differences in percentage points.
    """
    both = run.merge(reference, on="epoch")
    return pd.DataFrame(
        {
            "epoch": both["epoch"],
            "train": both["train_accuracy"],
            "reference train": both["train_acc"],
            "difference": 100 * (both["train_accuracy"] - both["train_acc"]),
            "val": both["val_accuracy"],
            "reference val": both["val_acc"],
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--points", type=float, default=3.0, help="allowed difference (default 3)")
    arguments = parser.parse_args()
    try:
        run = pd.read_csv(arguments.run_dir / "metrics.csv")
        table = compare(run, pd.read_csv(arguments.reference))
    except (OSError, KeyError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        parser.error(str(error))
    if table.empty:
        parser.error("the two have no epoch in common")
    print("| " + " | ".join(table.columns) + " |")
    print("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print(
            f"| {row[0]:.0f} | {row[1]:.4f} | {row[2]:.4f} | {row[3]:+.2f} | {row[4]:.4f} "
            f"| {row[5]:.4f} |"
        )
    worst = table["difference"].abs().max()
    print(f"\nlargest difference in training accuracy: {worst:.2f} points")
    return int(worst > arguments.points)


if __name__ == "__main__":
    sys.exit(main())
