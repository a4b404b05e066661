"""Profile the default recipe's training step with TensorFlow's profiler; sum up by operation.

    python tools/bench/profile_step.py --precision=bf16          # tfsc's step
    python tools/bench/profile_step.py --precision=bf16 --plain  # with --native=off
    python tools/bench/profile_step.py --precision=bf16 --stock  # the network of Keras' own layers

One thread for each operation and one operation at a time (--parallel: as in training), so that
the times add up. --trace keeps the profile for TensorBoard's profile plugin.
"""

import argparse
import collections
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--stock", action="store_true", help="Keras' own layers and optimizer")
    kind.add_argument("--plain", action="store_true", help="no operations in C++")
    parser.add_argument("--parallel", action="store_true", help="as many threads as in training")
    parser.add_argument("--steps", type=int, default=5, help="steps to profile (default 5)")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--stack_units", default="6,6,6")
    parser.add_argument("--rows", type=int, default=15, help="operations to show (default 15)")
    parser.add_argument("--trace", type=Path, help="directory for the profile")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.batch_size, arguments.rows) < 1:
        parser.error("--steps, --batch_size and --rows must be at least 1")

    import tensorflow as tf
    from measure import markdown, seconds

    if not arguments.parallel:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
    step = _step(arguments)
    first = seconds(step)
    step()
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(arguments.trace or scratch)
        plain = min(seconds(step) for _ in range(arguments.steps))
        tf.profiler.experimental.start(folder)
        for _ in range(arguments.steps):
            step()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        times, calls = operations(path.read_bytes())
    total = sum(times.values())
    rows = [
        [
            name,
            f"{calls[name] / arguments.steps:.0f}",
            time / arguments.steps,
            f"{time / total:.1%}",
        ]
        for name, time in times.most_common(arguments.rows)
    ]
    shown = sum(time for _, time in times.most_common(arguments.rows))
    rows.append(["all others", "", (total - shown) / arguments.steps, f"{1 - shown / total:.1%}"])
    rows.append(
        ["all", f"{sum(calls.values()) / arguments.steps:.0f}", total / arguments.steps, ""]
    )
    print(f"first step {first:.1f} s, then {1000 * plain:.0f} ms a step (least)\n")
    print(markdown(["operation", "calls a step", "ms a step", "share"], rows))
    return 0


def _step(arguments: argparse.Namespace):
    import tensorflow as tf
    from bench_train import PLAIN
    from variants import default_learner, resident_batch, stock_augmentation, stock_model

    size = arguments.batch_size, arguments.stack_units
    changes = PLAIN if arguments.plain or arguments.stock else {}
    learner, examples = default_learner(arguments.precision, *size, **changes)
    batch = resident_batch(examples, arguments.batch_size)
    if not arguments.stock:
        train = tf.function(learner.train_step)
        return lambda: float(train(batch)["loss"])
    model, augmentation = stock_model(learner), stock_augmentation()

    augment = tf.function(
        lambda: augmentation(tf.cast(batch["image"], tf.float32), training=True), autograph=False
    )
    return lambda: model.train_on_batch(augment(), batch["label"])


def operations(profile: bytes) -> tuple[collections.Counter, collections.Counter]:
    """Milliseconds and calls of each kind of operation in a profile (XSpace) of a CPU."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(profile)
    times, calls = collections.Counter(), collections.Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            # Operations are "node:Type"; a whole function is one too, and holds the others.
            _, colon, kind = names[event.metadata_id].rpartition(":")
            if colon and "::" not in names[event.metadata_id] and kind.isidentifier():
                if kind.startswith("__"):
                    continue
                times[kind] += event.duration_ps / 1e9
                calls[kind] += 1
    return times, calls


if __name__ == "__main__":
    sys.exit(main())
