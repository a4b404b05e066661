"""How fast a wide, shallow network trains: the recipe speedrun94, and what bounds it.

    python tools/bench/bench_wide.py --out=docs/performance/wide.json

The training step of flags/records/speedrun94.flags (airbench: 118 million multiply-adds an image)
on one resident batch, in turn: with ordinary convolutions, with those by Winograd in C++, and with
these once the stem's bias is frozen, as it is after three of ten epochs. Beside them the arithmetic
rate of a matrix product of the same precision, which no direct convolution can pass.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

TARGET = 1000
SIDE = 2048  # of the matrix product
FLAGFILE = Path(__file__).resolve().parents[2] / "flags" / "records" / "speedrun94.flags"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--batch_size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7, help="(default 7)")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    if min(arguments.batch_size, arguments.rounds) < 1:
        parser.error("--batch_size and --rounds must be at least 1")

    import tensorflow as tf
    from measure import interleaved, markdown, record, seconds, write_json

    steps, operations = _steps(arguments)
    dtype = tf.bfloat16 if arguments.precision == "bf16" else tf.float32
    matrix = tf.cast(tf.random.normal([SIDE, SIDE]), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)[0]))
    variants = {name: lambda step=step: seconds(step) for name, step in steps.items()}
    variants["product"] = lambda: seconds(lambda: [float(product()) for _ in range(5)]) / 5
    for variant in [*variants.values()] * 2:
        variant()
    figures = interleaved(variants, arguments.rounds)
    speeds = {name: [arguments.batch_size / t for t in figures[name]] for name in steps}
    medians = {name: statistics.median(speed) for name, speed in speeds.items()}
    rows = [
        [
            name,
            f"{medians[name]:.0f}",
            f"{min(speed):.0f}–{max(speed):.0f}",
            f"{medians[name] / medians['direct']:.2f}",
            "met" if medians[name] >= TARGET else "not met",
        ]
        for name, speed in speeds.items()
    ]
    header = [arguments.precision, "images/s (median)", "range", "× direct", f"≥ {TARGET}"]
    print(markdown(header, rows))
    peak = 2 * SIDE**3 / statistics.median(figures["product"])
    print(
        f"\nn = {arguments.rounds}. {operations / 1e6:.0f} million operations an image, forward "
        f"and backward: direct, {operations * medians['direct'] / 1e9:.0f} GFLOP/s. Matrix "
        f"products of side {SIDE} reach {peak / 1e9:.0f}; at that rate direct convolutions would "
        f"be {peak / operations:.0f} images/s."
    )
    if arguments.out:
        results = {"images_per_second": medians, "operations": operations}
        write_json(arguments.out, record(seconds=figures, product_gflops=peak / 1e9, **results))
        print(f"\nwritten to {arguments.out}")
    return 0


def _steps(arguments: argparse.Namespace):
    """Functions that train one batch, by name, and the arithmetic operations an image takes."""
    from absl import flags

    from tfsc.command_line.parse import parse
    from tfsc.native import compiler, library
    from tfsc.precision import set_precision
    from tfsc.recipe import Recipe
    from tfsc.recipe.flags import define_flags

    set_precision(arguments.precision)
    values = flags.FlagValues()
    define_flags("tfsc.train", flag_values=values)
    parse(["tfsc.train", f"--flagfile={FLAGFILE}"], values, Recipe.from_flags)
    recipe = Recipe.from_flags(values).replace(
        precision=arguments.precision,
        batch_size=arguments.batch_size,
        native="off",
        bf16_winograd=False,
    )
    direct, learner = _step(recipe)
    operations = 6 * _multiply_adds(learner.network)
    in_bf16 = arguments.precision == "bf16"
    try:
        library.load("bfloat16" if in_bf16 else "float32")
    except compiler.NativeError as error:
        print(f"without Winograd: {error}\n")
        return {"direct": direct}, operations
    recipe = recipe.replace(native="on", bf16_winograd=in_bf16)
    steps = {"direct": direct, "Winograd": _step(recipe)[0]}
    steps["Winograd, stem frozen"] = _step(recipe, frozen=True)[0]
    return steps, operations


def _step(recipe, frozen=False):
    import numpy as np
    import tensorflow as tf
    from variants import resident_batch

    from tfsc.data.examples import Examples
    from tfsc.data.split import Split
    from tfsc.training.build import build_learner

    rng = np.random.default_rng(0)
    count = recipe.batch_size
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    examples = Examples(images, rng.integers(0, 10, count).astype(np.int32))
    learner = build_learner(recipe, Split(examples, examples, None, None), classes=10)
    if frozen:
        learner.leave_out_frozen(updates=10**6)
    batch = resident_batch(examples, count)
    batch["visit"] = tf.zeros(count, tf.int64)
    train = tf.function(learner.train_step)
    return lambda: float(train(batch)["loss"]), learner


def _multiply_adds(network) -> int:
    """Of all convolutions, for one image."""
    import numpy as np

    count = 0
    for layer in network.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4:
            count += int(np.prod(kernel.shape) * np.prod(layer.output.shape[1:3]))
    return count


if __name__ == "__main__":
    sys.exit(main())
