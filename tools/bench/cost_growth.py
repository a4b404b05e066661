"""How the cost of an epoch grows with the training set, the batch and the depth.

    python tools/bench/cost_growth.py --precision=bf16 --out=docs/performance/growth

Trains real epochs of random CIFAR-sized images by the default recipe: seconds per epoch over the
training-set size (whole epochs, a network of 2 units a stack), and, from some steps each, over
batch size and depth n (ResNet(9n+2)v2). Writes growth.csv and growth.png into --out and prints the
table and the exponent of the growth over each axis: 1 is linear.
"""

import argparse
import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

EPOCH = 50_000  # examples of the epoch that batch size and depth are about


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--sizes", type=_counts, default="1280,2560,5120,10240")
    parser.add_argument("--batches", type=_counts, default="16,32,64,128,256,512,1024")
    parser.add_argument("--depths", type=_counts, default="2,4,6,8,10,12", help="empty: none")
    parser.add_argument("--units", type=int, default=6, help="units a stack for the batch sizes")
    parser.add_argument("--images", type=int, default=1280, help="to time a batch size or depth")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    import pandas as pd
    from measure import markdown

    rows = [("examples", size, _seconds(arguments, 2, 64, size, size)) for size in arguments.sizes]
    rows += [
        ("batch size", batch, _seconds(arguments, arguments.units, batch, arguments.images, EPOCH))
        for batch in arguments.batches
    ]
    rows += [
        ("n", depth, _seconds(arguments, depth, 64, arguments.images, EPOCH))
        for depth in arguments.depths
    ]
    table = pd.DataFrame(rows, columns=["axis", "value", "seconds_per_epoch"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "growth.csv", index=False, float_format="%.4g")
    _draw(table, arguments.out / "growth.png", arguments)
    print(markdown(["axis", "value", "seconds per epoch"], table.values.tolist()), end="\n\n")
    rows = [
        [axis, f"{exponent(part['value'], part['seconds_per_epoch']):.2f}"]
        for axis, part in table.groupby("axis", sort=False)
        if len(part) > 1
    ]
    print(markdown(["axis", "exponent"], rows))
    return 0


def _counts(text: str) -> list[int]:
    counts = [int(word) if word.isdigit() else 0 for word in text.split(",") if text]
    if not all(counts):
        raise argparse.ArgumentTypeError(f"must be positive integers, as 16,32; is {text!r}")
    return counts


def _seconds(
    arguments: argparse.Namespace, units: int, batch_size: int, images: int, epoch: int
) -> float:
    """Seconds of an epoch of that many examples: the least of three, from `images` of them."""
    import keras
    from measure import seconds
    from variants import default_learner

    from tfsc.data.examples import Examples
    from tfsc.data.pipeline import TrainingPipeline

    keras.utils.clear_session()
    gc.collect()
    learner, few = default_learner(arguments.precision, batch_size, f"{units},{units},{units}")
    images = max(images, 3 * batch_size)
    times = -(-images // len(few))
    examples = Examples(
        few.images.repeat(times, axis=0)[:images], few.labels.repeat(times)[:images]
    )
    pipeline = TrainingPipeline(examples, batch_size, seed=0)
    learner.fit(pipeline.batches(0, 2), verbose=0, shuffle=False)  # trace, warm up

    def one_epoch() -> None:
        learner.fit(pipeline.batches(0, pipeline.steps_per_epoch), verbose=0, shuffle=False)

    step = min(seconds(one_epoch) for _ in range(3)) / pipeline.steps_per_epoch
    return step * (epoch // batch_size)


def exponent(values, seconds) -> float:
    """The k of seconds ≈ c·valueᵏ, by least squares of the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


def _draw(table, path: Path, arguments: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    labels = {
        "examples": "training examples (n = 2, batch 64)",
        "batch size": f"batch size (n = {arguments.units}, 50,000 examples)",
        "n": "units a stack n (batch 64, 50,000 examples)",
    }
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    for panel, (axis, label) in zip(panels, labels.items(), strict=True):
        part = table[table["axis"] == axis]
        if part.empty:
            panel.set_axis_off()
            continue
        panel.plot(part["value"], part["seconds_per_epoch"], "o-", color="C0")
        if axis != "n":
            panel.set_xscale("log", base=2)
            panel.set_xticks(part["value"], [f"{value:,}" for value in part["value"]])
            panel.minorticks_off()
        if axis == "examples":
            panel.set_yscale("log", base=2)
            panel.yaxis.set_major_formatter("{x:.0f}")
            first = part.iloc[0]
            line = part["value"] / first["value"] * first["seconds_per_epoch"]
            panel.plot(part["value"], line, "--", color="0.6", label="linear")
            panel.legend()
        else:
            panel.set_ylim(bottom=0)
        panel.set_xlabel(label)
        panel.set_ylabel("seconds per epoch")
        panel.grid(alpha=0.3)
    figure.suptitle(f"Cost of an epoch · resnet_v2 · {arguments.precision}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
