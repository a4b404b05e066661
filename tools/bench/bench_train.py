"""Time a training step of tfsc against Keras' stock layers, or against PyTorch, in turn.

    python tools/bench/bench_train.py --vs=keras --out=docs/performance/train-keras.json
    python tools/bench/bench_train.py --vs=torch --torch_python=<venv of PyTorch 2.13>/bin/python
    python tools/bench/bench_train.py --vs=keras --check      # against the committed ratios

Every variant waits in a process of its own; in each round each takes --steps steps, alone. Ratios
are formed round by round, so that a slow minute of the machine meets both sides of one.

--vs=keras: both sides augment (shift 0.07, flip) and take the steps of `fit` over a dataset of
batches in memory; what `fit` itself does once an epoch is left out. The stock side is the same
network of Keras' own layers and AdamW, with RandomTranslation and RandomFlip in the dataset.
--vs=torch: both sides train the bare network on one resident batch.
tfsc stands for its default, which computes in C++ where it can; `tfsc plain` for --native=off.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_worker

TOOLS = Path(__file__).parent
COMMITTED = TOOLS.parents[1] / "docs" / "performance"

PLAIN = {"native": "off"}  # settings of tfsc plain

# What must be so many times faster than what.
_TARGETS = {
    "keras": [
        ("fp32", "keras fp32", 2.2),
        ("bf16", "keras bf16", 1.5),
        ("bf16", "keras fp32", 2.5),
    ],
    "torch": [
        ("fp32", "torch eager fp32", 1.6),
        ("fp32", "torch compile fp32", 1.2),
        ("bf16", "torch eager bf16", 1.8),
        ("bf16", "torch compile bf16", 1.2),
    ],
}
TARGETS = {
    vs: [(f"{ours} {p}", theirs, x) for ours in ("tfsc", "tfsc plain") for p, theirs, x in rows]
    for vs, rows in _TARGETS.items()
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vs", choices=tuple(TARGETS), default="keras")
    parser.add_argument("--rounds", type=_positive, default=9, help="(default 9)")
    parser.add_argument("--steps", type=_positive, default=5, help="steps a round (default 5)")
    parser.add_argument("--precisions", default="fp32,bf16", help="(default fp32,bf16)")
    parser.add_argument("--batch_size", type=_positive, default=64)
    parser.add_argument("--stack_units", default="6,6,6")
    parser.add_argument("--torch_python", default=sys.executable, help="Python that has torch")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--check", action="store_true", help="fail where a ratio got worse")
    parser.add_argument("--committed", type=Path, help="with --check: JSON file to compare with")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of --check (default 0.1)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not all(units.isdigit() and int(units) for units in arguments.stack_units.split(",")):
        parser.error(f"--stack_units={arguments.stack_units}: must be positive integers, as 6,6,6")
    if not set(arguments.precisions.split(",")) <= {"fp32", "bf16"}:
        parser.error(f"--precisions={arguments.precisions}: must be of fp32 and bf16")
    if arguments.worker:
        kind, *variant = arguments.worker.split()
        _WORKERS[kind](arguments, *variant)
        return 0
    committed = None
    if arguments.check:
        path = arguments.committed or COMMITTED / f"train-{arguments.vs}.json"
        try:
            committed = json.loads(path.read_text(encoding="utf-8"))["ratios"]
        except (OSError, ValueError, KeyError) as error:
            parser.error(f"--committed={path}: must be a file that --out wrote: {error}")
    try:
        figures, facts = _measure(arguments)
    except (OSError, RuntimeError) as error:
        print(f"bench_train: {error}", file=sys.stderr)
        return 1
    return _report(arguments, figures, facts, committed)


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive integer, is {text!r}")
    return int(text)


def _measure(arguments: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds a step of every variant, in order of the rounds, and what the workers said."""
    from measure import interleaved

    size = [f"--batch_size={arguments.batch_size}", f"--stack_units={arguments.stack_units}"]
    pairs = _pairs(arguments)
    names = sorted({name for pair in pairs for name in pair[:2]}, reverse=True)
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in names:
            print(f"building {name}", file=sys.stderr, flush=True)
            kind, *mode, precision = name.split()
            if kind == "torch":
                rival = str(TOOLS / "torch_worker.py")
                command = [arguments.torch_python, rival, f"--mode={mode[0]}"]
                command += [f"--precision={precision}", *size]
            else:
                kind = f"bare-{kind}" if arguments.vs == "torch" else kind
                worker = " ".join([kind, precision, *mode])
                command = [sys.executable, __file__, f"--worker={worker}", *size]
            workers[name] = stack.enter_context(bench_worker.Worker(command))
        figures = interleaved(
            {
                name: lambda worker=worker: worker.seconds(arguments.steps)
                for name, worker in workers.items()
            },
            arguments.rounds,
        )
        return figures, {name: worker.facts for name, worker in workers.items()}


def _pairs(arguments: argparse.Namespace) -> list[tuple[str, str, float]]:
    """The targets among the chosen precisions."""
    chosen = set(arguments.precisions.split(","))
    return [p for p in TARGETS[arguments.vs] if {name.split()[-1] for name in p[:2]} <= chosen]


def _report(arguments, figures, facts, committed) -> int:
    from measure import markdown, ratios, record, summary, write_json

    medians = {name: statistics.median(values) for name, values in figures.items()}
    rows = [
        [name, 1000 * medians[name], 1000 * min(values), arguments.batch_size / medians[name]]
        for name, values in figures.items()
    ]
    print(markdown(["variant", "ms a step (median)", "least", "images/s"], rows), end="\n\n")
    found, rows = {}, []
    for ours, theirs, target in _pairs(arguments):
        ratio = summary(ratios(figures[theirs], figures[ours]))
        found[f"{theirs} / {ours}"] = ratio
        spread = f"{ratio['min']:.2f}–{ratio['max']:.2f}"
        met = "yes" if ratio["median"] >= target else "no"
        rows.append([f"{theirs} / {ours}", f"{ratio['median']:.3f}", spread, target, met])
    print(markdown(["ratio of step times", "median", "range", "target", "met"], rows))
    if arguments.out:
        result = record(ratios=found, seconds=figures, workers=facts)
        write_json(arguments.out, result)
        print(f"\nwritten to {arguments.out}")
    return 0 if committed is None else check(found, committed, arguments.tolerance)


def check(found, committed, tolerance: float) -> int:
    """Name each ratio that is worse than the committed one by more than the tolerance.

    Returns:
        1 if there is one, else 0.
    """
    slower = 0
    for name, ratio in found.items():
        if name not in committed:
            print(f"not in the committed file: {name}")
            continue
        before = committed[name]["median"]
        if ratio["median"] < before * (1 - tolerance):
            slower += 1
            print(
                f"slower: {name} is {ratio['median']:.3f}, was {before:.3f} "
                f"(allowed: {before * (1 - tolerance):.3f})"
            )
    print(f"check: {slower} of {len(found)} ratios got worse by more than {tolerance:.0%}")
    return 1 if slower else 0


def _serve_fit(model, dataset) -> None:
    """Serve steps of what `fit` calls for each step, on an endless dataset."""
    model.fit(dataset.take(2), verbose=0, shuffle=False)
    iterator = iter(dataset)

    def run(steps: int) -> None:
        for _ in range(steps):
            metrics = model.train_function(iterator)
        float(metrics["loss"])

    _serve(run, model)


def _serve(run: Callable[[int], object], model) -> None:
    import keras
    import tensorflow as tf

    from tfsc.layers.norm_relu import NormReLU
    from tfsc.layers.winograd import WinogradConv2D

    run(3)
    trainable = sum(weight.shape.num_elements() for weight in model.trainable_weights)
    layers = getattr(model, "network", model).layers
    native = sum(isinstance(layer, (WinogradConv2D, NormReLU)) for layer in layers)
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    bench_worker.serve(run, parameters=trainable, native_layers=native, version=versions)


def _tfsc(arguments, precision: str, plain: str = "") -> None:
    """`fit` of the Learner on tfsc's own pipeline."""
    from variants import default_learner

    from tfsc.data.pipeline import TrainingPipeline

    size = arguments.batch_size, arguments.stack_units
    learner, examples = default_learner(precision, *size, **_settings(plain))
    pipeline = TrainingPipeline(examples, arguments.batch_size, seed=0)
    _serve_fit(learner, pipeline.batches(0, 1_000_000))


def _keras(arguments, precision: str) -> None:
    """`fit` of the same network of Keras' own layers, augmentation in the dataset."""
    from variants import default_learner, stock_batches, stock_model

    size = arguments.batch_size, arguments.stack_units
    learner, examples = default_learner(precision, *size, **PLAIN)
    data = stock_batches(examples, arguments.batch_size)
    _serve_fit(stock_model(learner), data)


def _bare_tfsc(arguments, precision: str, plain: str = "") -> None:
    """Training steps of the Learner on one resident batch, without augmentation."""
    import tensorflow as tf
    from variants import default_learner, resident_batch

    size = arguments.batch_size, arguments.stack_units
    learner, examples = default_learner(precision, *size, augment="none", **_settings(plain))
    batch = resident_batch(examples, arguments.batch_size)
    step = tf.function(learner.train_step)

    def run(steps: int) -> None:
        for _ in range(steps):
            metrics = step(batch)
        float(metrics["loss"])

    _serve(run, learner)


def _settings(plain: str) -> dict[str, str]:
    """What a variant changes of the default."""
    return PLAIN if plain else {}


_WORKERS = {"tfsc": _tfsc, "keras": _keras, "bare-tfsc": _bare_tfsc}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
