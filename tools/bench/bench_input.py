"""Time the input pipeline: images/s into the training graph, and what real input costs a step.

    python tools/bench/bench_input.py --data_dir=<tfds> --out=docs/performance/input.json

Five ways to the same batches of 64 float images, shifted by up to 0.07 with the nearest pixel
beyond the edge and mirrored with probability 1/2, taken in turn, each at its own steady state:

    tfsc        the cached pipeline, augmentation in a graph as in the training step
    tfsc plain  the same with --native=off: not one operation in C++, but products of matrices
    pipeline    the same without the augmentation: uint8 batches
    keras       tf.data with RandomTranslation and RandomFlip, batches mapped in parallel
    generator   keras' ImageDataGenerator.flow

Then a training step of the default recipe on that input, and the same step on one resident batch
(--steps=0 leaves this out).
"""

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

BATCH = 64
SHIFT = 0.07
TARGETS = {"generator": 20.0, "keras": 5.0}
SLOWER = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data_dir", default="", help="as in tfsc.train")
    parser.add_argument("--rounds", type=int, default=9, help="(default 9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a measurement (default 1)")
    parser.add_argument("--steps", type=int, default=10, help="training steps a round (default 10)")
    parser.add_argument("--stack_units", default="6,6,6", help="of the training step")
    parser.add_argument("--precision", default="bf16", help="of the training step")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.steps < 0 or not arguments.seconds > 0:
        parser.error("--rounds must be at least 1, --steps at least 0, --seconds above 0")

    from tfsc.errors import TfscError

    try:
        return _run(arguments)
    except TfscError as error:
        parser.error(str(error))


def _run(arguments: argparse.Namespace) -> int:
    from measure import interleaved, markdown, ratios, record, summary, write_json

    from tfsc.data.source import load

    examples = load(arguments.dataset, arguments.data_dir).train
    sources = {
        "tfsc": _tfsc(examples),
        "tfsc plain": _tfsc(examples, native="off"),
        "pipeline": _pipeline(examples),
        "keras": _keras(examples),
        "generator": _generator(examples),
    }
    speeds = interleaved(
        {name: _speed(run, arguments.seconds) for name, run in sources.items()},
        arguments.rounds,
    )
    rows = [
        [name, f"{statistics.median(values):,.0f}", f"{min(values):,.0f}–{max(values):,.0f}"]
        for name, values in speeds.items()
    ]
    print(markdown(["input", "images/s (median)", "range"], rows), end="\n\n")
    found, rows = {}, []
    for ours, (name, target) in itertools.product(("tfsc", "tfsc plain"), TARGETS.items()):
        ratio = summary(ratios(speeds[ours], speeds[name]))
        found[f"{ours} / {name}"] = ratio
        met = "yes" if ratio["median"] >= target else "no"
        rows.append([f"{ours} / {name}", f"{ratio['median']:.1f}", f"≥ {target:g}", met])
    steps = None
    if arguments.steps:
        steps = interleaved(_steps(arguments, examples), arguments.rounds)
        ratio = summary(ratios(steps["input"], steps["resident"]))
        found["step with input / on a resident batch"] = ratio
        met = "yes" if ratio["median"] <= 1 + SLOWER else "no"
        ms = {name: 1000 * statistics.median(values) for name, values in steps.items()}
        what = f"step with input / resident ({ms['input']:.1f} / {ms['resident']:.1f} ms)"
        rows.append([what, f"{ratio['median']:.3f}", f"≤ {1 + SLOWER:g}", met])
    print(markdown(["ratio", "median", "target", "met"], rows))
    if arguments.out:
        write_json(arguments.out, record(ratios=found, images_per_second=speeds, seconds=steps))
        print(f"\nwritten to {arguments.out}")
    return 0


def _speed(run: Callable[[], int], seconds: float) -> Callable[[], float]:
    """A function that calls `run` for so long and returns images a second.

    Args:
        run: takes some batches and returns how many.
        seconds: of one measurement.
    """
    from time import perf_counter

    run()  # caches, traces, threads

    def measure() -> float:
        run()  # what was prefetched while others had the machine
        count, started = 0, perf_counter()
        while perf_counter() - started < seconds:
            count += run()
        return count * BATCH / (perf_counter() - started)

    return measure


def _in_graph(dataset, finish: Callable) -> Callable[[], int]:
    """A function that takes 50 batches through `finish` in one call of a graph, as `fit` does.

    Python's own call would take as long as a batch does.
    """
    import tensorflow as tf

    iterator, count = iter(dataset), 50

    @tf.function
    def take(iterator):
        total = 0.0
        for _ in tf.range(count):
            images = finish(next(iterator))
            total += tf.cast(images[0, 0, 0, 0], tf.float32)  # nothing may be left out
        return total

    def run() -> int:
        float(take(iterator))
        return count

    return run


def _forever(examples):
    from tfsc.data.pipeline import TrainingPipeline

    pipeline = TrainingPipeline(examples, BATCH, seed=0)
    return pipeline.batches(0, 1000 * pipeline.steps_per_epoch)


def _tfsc(examples, native: str = "auto") -> Callable[[], int]:
    from tfsc import augment
    from tfsc.precision import use_native

    in_cpp = use_native(native, "fp32", xla="off")
    augmentation = augment.build(f"shift({SHIFT}) flip", seed=0, native=in_cpp)
    return _in_graph(_forever(examples), lambda b: augmentation(b["image"], b["number"]))


def _pipeline(examples) -> Callable[[], int]:
    return _in_graph(_forever(examples), lambda batch: batch["image"])


def _keras(examples) -> Callable[[], int]:
    from variants import stock_batches

    return _in_graph(stock_batches(examples, BATCH), lambda batch: batch[0])


def _generator(examples) -> Callable[[], int]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        width_shift_range=SHIFT,
        height_shift_range=SHIFT,
        fill_mode="nearest",
        horizontal_flip=True,
    )
    flow = generator.flow(examples.images, examples.labels, batch_size=BATCH, seed=0)

    def run() -> int:
        for _ in range(5):
            next(flow)
        return 5

    return run


def _steps(arguments: argparse.Namespace, examples) -> dict[str, Callable[[], float]]:
    """Seconds of a training step: on the pipeline, and on one batch for ever."""
    import tensorflow as tf
    from measure import seconds

    from tfsc.data.pipeline import TrainingPipeline
    from tfsc.data.split import Split
    from tfsc.precision import set_precision
    from tfsc.recipe import Recipe
    from tfsc.training.build import build_learner

    set_precision(arguments.precision)
    recipe = Recipe(
        dataset=arguments.dataset,
        batch_size=BATCH,
        precision=arguments.precision,
        model=f"resnet_v2([{arguments.stack_units}])",
    )
    classes = int(examples.labels.max()) + 1
    learner = build_learner(recipe, Split(examples, examples, None, None), classes)
    pipeline = TrainingPipeline(examples, BATCH, seed=0)
    pipeline = pipeline.batches(0, 1000 * pipeline.steps_per_epoch)
    resident = tf.data.Dataset.from_tensors(next(iter(pipeline))).cache().repeat()
    learner.make_train_function()  # what `fit` calls; `fit` itself also starts an epoch

    def steps_on(dataset: tf.data.Dataset) -> Callable[[], float]:
        iterator = iter(dataset)

        def run() -> None:
            for _ in range(arguments.steps):
                metrics = learner.train_function(iterator)
            float(metrics["loss"])

        run()  # trace
        return lambda: seconds(run) / arguments.steps

    return {"input": steps_on(pipeline), "resident": steps_on(resident)}


if __name__ == "__main__":
    sys.exit(main())
