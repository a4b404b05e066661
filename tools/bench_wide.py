"""How fast a wide, shallow network trains: airbench94's shape, and what bounds it.

    python tools/bench_wide.py --precision=bf16 --out=docs/performance/wide.json

2×2 convolution to 24 channels, then three groups conv3–maxpool–BN–GELU–conv3–BN–GELU of 64, 256 and
256 channels, maxpool, dense: 118 million multiply-adds an image. Trains batches of 1024 with
Nesterov SGD and the seeds' augmentation; measures, in turn, the arithmetic rate of a matrix product
of the same precision, which no network can pass.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

TARGET = 1000
WIDTHS = (64, 256, 256)
SIDE = 2048  # of the matrix product


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

    step, operations = _step(arguments)
    dtype = tf.bfloat16 if arguments.precision == "bf16" else tf.float32
    matrix = tf.cast(tf.random.normal([SIDE, SIDE]), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)[0]))
    for _ in range(2):
        step(), product()
    figures = interleaved(
        {
            "step": lambda: seconds(step),
            "product": lambda: seconds(lambda: [float(product()) for _ in range(5)]) / 5,
        },
        arguments.rounds,
    )
    taken, peak = statistics.median(figures["step"]), statistics.median(figures["product"])
    speed = arguments.batch_size / taken
    rate, peak_rate = operations * speed / 1e9, 2 * SIDE**3 / peak / 1e9
    rows = [
        ["images/s (median)", f"{speed:.0f}"],
        ["range", f"{arguments.batch_size / max(figures['step']):.0f}–"
                  f"{arguments.batch_size / min(figures['step']):.0f}"],
        [f"target: ≥ {TARGET}", "met" if speed >= TARGET else "not met"],
        ["operations an image, forward and backward", f"{operations / 1e6:.0f} million"],
        ["rate", f"{rate:.0f} GFLOP/s"],
        [f"rate of a matrix product of side {SIDE}", f"{peak_rate:.0f} GFLOP/s"],
        ["images/s at that rate", f"{peak_rate * 1e9 / operations:.0f}"],
    ]  # fmt: skip
    print(markdown(["figure", arguments.precision], rows))
    if arguments.out:
        result = {"images_per_second": speed, "gflops": rate, "product_gflops": peak_rate}
        write_json(arguments.out, record(seconds=figures, **result))
        print(f"\nwritten to {arguments.out}")
    return 0


def _step(arguments: argparse.Namespace):
    """A function that trains one batch, and the arithmetic operations an image takes."""
    import keras
    import numpy as np
    import tensorflow as tf
    from variants import resident_batch

    from tfsc import augment
    from tfsc.data.examples import Examples
    from tfsc.optimizers.sgd import FusedSGD
    from tfsc.training.learner import Learner
    from tfsc.training.precision import set_precision

    set_precision(arguments.precision)
    network = _network()
    learner = Learner(network, augment.build(0.07, True, seed=0))
    learner.compile(FusedSGD(0.1, momentum=0.85, nesterov=True, weight_decay=1e-3))
    rng = np.random.default_rng(0)
    count = arguments.batch_size
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    examples = Examples(images, rng.integers(0, 10, count).astype(np.int32))
    batch = resident_batch(examples, count)
    multiply_adds = sum(
        keras.ops.size(layer.kernel) * np.prod(layer.output.shape[1:3])
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    train = tf.function(learner.train_step)
    return lambda: float(train(batch)["loss"]), 6 * int(multiply_adds)


def _network():
    import keras
    from keras import layers

    from tfsc.models.norm import FusedBatchNormalization

    def conv(x, width, kernel=3, padding="same"):
        return layers.Conv2D(width, kernel, padding=padding, use_bias=False)(x)

    def normalize(x):
        x = FusedBatchNormalization(scale=False, momentum=0.6, epsilon=1e-12)(x)
        return layers.Activation("gelu")(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(inputs)
    x = layers.Activation("gelu")(conv(x, 24, 2, "valid"))
    for width in WIDTHS:
        x = normalize(layers.MaxPooling2D(2)(conv(x, width)))
        x = normalize(conv(x, width))
    x = layers.Flatten()(layers.MaxPooling2D(3)(x))
    x = layers.Dense(10, use_bias=False, dtype="float32")(x)
    return keras.Model(inputs, x)


if __name__ == "__main__":
    sys.exit(main())
