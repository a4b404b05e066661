"""Time training steps of recipes, the real Learner's: a line of JSON in, a line of JSON out.

    echo '{"flags": ["--dataset=digits", "--precision=bf16"], "seconds": 3}' \\
        | python tools/bench/step_timing.py

The first line out says on what it runs. Each request names the recipe's flags (--name=value) and
for how long to time it; the answer holds its figures, or "error" with one line. Everything that
libraries print goes to standard error. tools/gpu_suite.py drives it.
"""

import functools
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

os.environ["KERAS_BACKEND"] = "tensorflow"  # there is no other choice here
if __name__ == "__main__":  # before any library can print to it
    ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfsc.data.examples import Source  # noqa: E402
from tfsc.data.pipeline import TrainingPipeline  # noqa: E402
from tfsc.data.source import load  # noqa: E402
from tfsc.data.split import split  # noqa: E402
from tfsc.errors import TfscError, one_line  # noqa: E402
from tfsc.hardware.gpu import has_gpu  # noqa: E402
from tfsc.precision import set_precision  # noqa: E402
from tfsc.recipe import Recipe  # noqa: E402
from tfsc.recipe.auto_precision import on_this_machine  # noqa: E402
from tfsc.reporting.energy import GpuMeter, Usage  # noqa: E402
from tfsc.reporting.provenance import environment  # noqa: E402
from tfsc.training.build import build_learner  # noqa: E402

LEAST = 3  # executions to time, however long they take
MOST = 1_000_000  # executions: the time ends it


def serve(requests: Iterable[str], answers: TextIO) -> None:
    """Answer requests until there are no more."""
    with GpuMeter(1 if has_gpu() else 0, interval=0.1) as meter:
        _answer(answers, machine(meter))
        for line in requests:
            request = json.loads(line)
            try:
                # The defaults first: a text without them is read as an earlier version's.
                text = Recipe().flagfile() + "\n".join(request["flags"])
                recipe, _ = on_this_machine(Recipe.from_flagfile(text))
                answer = measure(recipe, request["seconds"], meter)
            except TfscError as error:
                answer = {"error": str(error), "refused": True}
            except Exception as error:  # out of memory, XLA that does not compile, ...
                answer = {"error": f"{type(error).__name__}: {one_line(error)}"}
            _answer(answers, answer)


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def machine(meter: GpuMeter) -> dict[str, Any]:
    """What the figures depend on, and why there are no joules, if there are none."""
    build = tf.sysconfig.get_build_info()
    built_for = "no CUDA"
    if build["is_cuda_build"]:
        built_for = f"CUDA {build.get('cuda_version')}, cuDNN {build.get('cudnn_version')}"
    return {**environment(), "built_for": built_for, "not_measured": meter.missing}


def measure(recipe: Recipe, seconds: float, meter: GpuMeter) -> dict[str, Any]:
    """Train by a recipe for a while, and time it.

    Args:
        recipe: what to train, from its first step.
        seconds: how long to time, after the compilation and a warm-up of a quarter of that.
        meter: of the GPU.

    Returns:
        step_ms, the median over the executions; what follows from it: images_per_second and
        train_seconds_per_epoch; compile_seconds, tracing included; executions timed, with the
        least and greatest step_ms; utilization 0–1, watts and joules_per_1000_images, None where
        not measured; peak_gpu_mib of TensorFlow's allocator, None without a GPU.
    """
    # What the last network left behind is neither memory nor names of this one.
    keras.utils.clear_session()
    gc.collect()
    set_precision(recipe.precision)
    source = _source(recipe.dataset, recipe.data_dir)
    data = split(source, recipe.val_split, recipe.train_examples, recipe.seed)
    if has_gpu():
        tf.config.experimental.reset_memory_stats("GPU:0")
    pipeline = TrainingPipeline(data.train, recipe.batch_size, recipe.seed, recipe.data_on)
    learner = build_learner(recipe, data, len(source.class_names), pipeline.resident)
    timer = ExecutionTimer(meter, seconds)
    steps = MOST * recipe.steps_per_execution
    learner.fit(
        pipeline.batches(0, steps),
        steps_per_epoch=steps,
        callbacks=[timer],
        shuffle=False,
        verbose=0,
    )
    step = statistics.median(timer.timed) / recipe.steps_per_execution
    images = len(timer.timed) * recipe.steps_per_execution * recipe.batch_size
    used, span = timer.usage, sum(timer.timed)
    return {
        "step_ms": 1000 * step,
        "images_per_second": recipe.batch_size / step,
        "train_seconds_per_epoch": pipeline.steps_per_epoch * step,
        "compile_seconds": timer.first - statistics.median(timer.timed),
        "executions": len(timer.timed),
        "step_ms_min": 1000 * min(timer.timed) / recipe.steps_per_execution,
        "step_ms_max": 1000 * max(timer.timed) / recipe.steps_per_execution,
        "utilization": used.utilization,
        "watts": used.joules and used.joules / span,
        "joules_per_1000_images": used.joules and 1000 * used.joules / images,
        "peak_gpu_mib": _peak_gpu_mib(),
    }


class ExecutionTimer(keras.callbacks.Callback):
    """Times calls of the compiled function, as many as fit into a time, and then ends `fit`.

    Args:
        meter: of the GPU.
        seconds: how long to time.

    Attributes:
        first: seconds of the first call, which traces and compiles.
        timed: seconds of each call after the warm-up.
        usage: of the GPU meanwhile.
    """

    def __init__(self, meter: GpuMeter, seconds: float):
        super().__init__()
        self.meter, self.seconds = meter, seconds
        self.first, self.timed, self.usage = 0.0, [], Usage()
        self._warm, self._warm_from = 0, None
        self._usage_before: Usage | None = None

    def on_train_begin(self, logs=None):
        self._before = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # The number is here when the device is done. A run reads it as often (StepLog).
        float(logs["batch_loss"])
        now = time.perf_counter()
        passed = now - self._before
        if self._warm_from is None:
            self.first, self._warm_from = passed, now
        elif self._usage_before is None:
            self._warm += 1
            if self._warm >= 2 and now - self._warm_from >= self.seconds / 4:
                self._usage_before = self.meter.usage()
        else:
            self.timed.append(passed)
            if len(self.timed) >= LEAST and sum(self.timed) >= self.seconds:
                self.usage = self.meter.usage() - self._usage_before
                self.model.stop_training = True
        self._before = time.perf_counter()


@functools.cache
def _source(dataset: str, data_dir: str) -> Source:
    return load(dataset, data_dir)


def _peak_gpu_mib() -> float | None:
    if not has_gpu():
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


if __name__ == "__main__":
    serve(sys.stdin, ANSWERS)
