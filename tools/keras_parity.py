"""Keras' own tests, with our classes in the place of Keras'.

    python tools/keras_parity.py --out=docs/keras-parity.md
    python tools/keras_parity.py --tests=<folder of another copy of keras/src>

Keras' wheel brings its tests along (`keras/src/**/*_test.py`); nothing of them is kept here. Each
class of `swaps` takes the place of Keras' under every name that the tests know it by, and the tests
run as they are. Those that make none of our classes do not count. What ours leave out is in
`LEFT_OUT`, with the reason: another test that fails, and one of these that passes, is an error
(exit code 1).
"""

import argparse
import collections
import fnmatch
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

FILES = (
    "optimizers/sgd_test.py",
    "optimizers/adam_test.py",
    "optimizers/adamw_test.py",
    "optimizers/rmsprop_test.py",
    "optimizers/adagrad_test.py",
    "optimizers/adadelta_test.py",
    "optimizers/lion_test.py",
    "optimizers/optimizer_test.py",
    "optimizers/optimizer_sparse_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "optimizers/schedules/learning_rate_schedule_test.py",
    "layers/normalization/batch_normalization_test.py",
    "backend/tensorflow/optimizer_distribute_test.py",  # the last: it changes the devices
)

_ROWS = (
    "The gradient of some rows only (`tf.IndexedSlices`) is made dense: the numbers are the same "
    "(`test_sparse_correctness` passes), the time is that of the whole variable."
)
_NAMES = "The class has a name of its own, as its instances (`fused_adam`) and `.keras` files show."
_STAIRCASE = (
    "`Exponential` has no `staircase`: `--schedule_per=epoch` moves any schedule in whole epochs."
)
_CYCLE = "`Polynomial` has no `cycle`; after its length it keeps its last rate."
_WARMUP = "`Cosine` has no warm-up in it: `warmup(5) → cosine(0.1)` plays one after the other."
_SHRINK = "`WarmRestarts` has no `m_mul`: every restart begins at the same rate, as in SGDR."

_IN = "::"  # file::class::test

# What ours leave out: pattern of file::class::test → reason.
LEFT_OUT = {
    "*::test_sparse_gradients_sgd": _ROWS,
    "*::test_sparse_gradients_loss_scale_optimizer_sgd": _ROWS,
    "*::test_sparse_gradients_rmsprop": _ROWS,
    "*::test_sparse_gradients_adagrad": _ROWS,
    "*::test_sparse_gradients_adadelta": _ROWS,
    "*::OptimizerTest::test_optimizer_auto_naming": _NAMES,
    "*::MultiOptimizerTest::test_serialization": _NAMES,
    "*::ExponentialDecayTest::test_config": _STAIRCASE,
    "*::ExponentialDecayTest::test_staircase": _STAIRCASE,
    "*::ExponentialDecayTest::test_variables": _STAIRCASE,
    "*::test_beyond_end_with_cycle": _CYCLE,
    "*::test_begin_with_cycle": _CYCLE,
    "*::CosineDecayTest::test_config": _WARMUP,
    "*::CosineDecayTest::test_warmup*": _WARMUP,
    "*::CosineDecayRestartsTest::test_config": _SHRINK,
    "*::CosineDecayRestartsTest::test_mmul": _SHRINK,
}


@dataclass(frozen=True)
class Row:
    """One test.

    Attributes:
        test: file::class::name, the file within `keras/src`.
        made: names of our classes that it made.
        error: its message; empty: it passed.
    """

    test: str
    made: tuple[str, ...]
    error: str


def classes() -> dict[type, type]:
    """Keras' classes and ours that take their place."""
    import keras

    from tfsc.layers.norm import FusedBatchNormalization
    from tfsc.optimizers.adadelta import FusedAdadelta
    from tfsc.optimizers.adagrad import FusedAdagrad
    from tfsc.optimizers.adam import FusedAdam, FusedAdamW
    from tfsc.optimizers.lion import Lion
    from tfsc.optimizers.rmsprop import FusedRMSprop
    from tfsc.optimizers.sgd import FusedSGD

    return {
        keras.optimizers.SGD: FusedSGD,
        keras.optimizers.Adam: FusedAdam,
        keras.optimizers.AdamW: FusedAdamW,
        keras.optimizers.RMSprop: FusedRMSprop,
        keras.optimizers.Adagrad: FusedAdagrad,
        keras.optimizers.Adadelta: FusedAdadelta,
        keras.optimizers.Lion: Lion,
        keras.layers.BatchNormalization: FusedBatchNormalization,
    }


def schedules() -> dict[type, Callable]:
    """Keras' schedules and functions of their arguments that make ours, or refuse."""
    from keras.optimizers import schedules as keras_schedules

    from tfsc.schedules.cosine import Cosine
    from tfsc.schedules.exponential import Exponential
    from tfsc.schedules.polynomial import Polynomial
    from tfsc.schedules.segments import SegmentSchedule
    from tfsc.schedules.warm_restarts import WarmRestarts

    def exponential(initial_learning_rate, decay_steps, decay_rate, staircase=False, name=None):
        _refuse(staircase, _STAIRCASE)
        return Exponential(initial_learning_rate, decay_steps, decay_rate)

    def polynomial(
        initial_learning_rate,
        decay_steps,
        end_learning_rate=1e-4,
        power=1.0,
        cycle=False,
        name=None,
    ):
        _refuse(cycle, _CYCLE)
        return Polynomial(initial_learning_rate, decay_steps, end_learning_rate, power)

    def cosine(
        initial_learning_rate,
        decay_steps,
        alpha=0.0,
        name=None,
        warmup_target=None,
        warmup_steps=0,
    ):
        _refuse(warmup_target is not None, _WARMUP)
        return Cosine(initial_learning_rate, decay_steps, alpha * initial_learning_rate)

    def restarts(
        initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name=None
    ):
        _refuse(m_mul != 1, _SHRINK)
        rate = initial_learning_rate
        return WarmRestarts(rate, first_decay_steps, t_mul, alpha * rate)

    def piecewise(boundaries, values, name=None):
        # Keras' value at a boundary is the one before it.
        jumps = [f"const[{v},{b + 1}]" for b, v in zip(boundaries, values[1:], strict=True)]
        return SegmentSchedule(f"[{values[0]},0]" + "".join(jumps), steps_per_epoch=1)

    return {
        keras_schedules.ExponentialDecay: exponential,
        keras_schedules.PolynomialDecay: polynomial,
        keras_schedules.CosineDecay: cosine,
        keras_schedules.CosineDecayRestarts: restarts,
        keras_schedules.PiecewiseConstantDecay: piecewise,
    }


class LeftOutError(ValueError):
    """An argument of Keras' that ours do not have."""


def _refuse(given: bool, reason: str) -> None:
    if given:
        raise LeftOutError(reason)


def run(files: Iterable[Path], folder: Path) -> list[Row]:
    """Swap the classes in this process and run Keras' tests."""
    import pytest

    made: set[str] = set()
    swaps = {theirs: _watched(ours, made) for theirs, ours in classes().items()}
    swaps |= {
        theirs: _noted(function, theirs.__name__, made) for theirs, function in schedules().items()
    }
    _swap(swaps)
    recorder = _Recorder(folder, made)
    quiet = ["-qq", "--tb=no", "--disable-warnings", "-p", "no:cacheprovider", "-c", os.devnull]
    pytest.main([*map(str, files), f"--rootdir={folder}", *quiet], plugins=[recorder])
    return recorder.rows


def _watched(ours: type, made: set[str]) -> type:
    """The class, which henceforth says when one is made."""
    inherited = ours.__new__

    def new(cls, *args, **kwargs):
        made.add(ours.__name__)
        return inherited(cls) if inherited is object.__new__ else inherited(cls, *args, **kwargs)

    ours.__new__ = staticmethod(new)
    return ours


def _noted(function: Callable, name: str, made: set[str]) -> Callable:
    def noted(*args, **kwargs):
        made.add(f"schedules: {name}")
        return function(*args, **kwargs)

    return noted


def _swap(swaps: dict[type, Callable]) -> None:
    """Put the values in the place of the keys, under every name in Keras' modules."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "keras"]
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value in swaps:
                setattr(module, name, swaps[value])
            elif name.startswith("ALL_OBJECTS_DICT"):
                value.update({key: swaps.get(held, held) for key, held in value.items()})


class _Recorder:
    """A pytest plugin: what each test made, and how it ended."""

    def __init__(self, folder: Path, made: set[str]):
        self.folder, self.made = folder, made
        self.rows: list[Row] = []

    def pytest_runtest_setup(self, item):
        self.made.clear()

    def pytest_runtest_makereport(self, item, call):
        skipped = call.excinfo is not None and call.excinfo.typename == "Skipped"
        if call.when != "call" or skipped or not self.made:
            return
        file = Path(item.path).relative_to(self.folder)
        error = f"{call.excinfo.typename}: {call.excinfo.value}" if call.excinfo else ""
        test = f"{file}::{item.cls.__name__}::{item.name}"
        self.rows.append(Row(test, tuple(sorted(self.made)), error))


def reason(row: Row) -> str | None:
    """Why ours leave out what this test wants; None: nothing says so."""
    found = [why for pattern, why in LEFT_OUT.items() if fnmatch.fnmatch(row.test, pattern)]
    return found[0] if found else None


def surprises(rows: list[Row]) -> list[str]:
    """Tests that fail without a reason or pass in spite of one, and reasons for no test."""
    tests = [row.test for row in rows]
    lines = [
        f"LEFT_OUT has {pattern}, which is no test"
        for pattern in LEFT_OUT
        if not fnmatch.filter(tests, pattern)
    ]
    for row in rows:
        if row.error and not reason(row):
            lines.append(f"{row.test} fails: {row.error.splitlines()[0]}")
        if not row.error and reason(row):
            lines.append(f"{row.test} passes, but LEFT_OUT has it")
    return lines


def report(rows: list[Row], version: str) -> str:
    """A page: how many tests pass by class, and what ours leave out."""
    by_class = collections.defaultdict(list)
    for row in rows:
        for name in row.made:
            by_class[name].append(row)
    table = ["| class | Keras' tests that make one | pass |", "|---|---|---|"]
    for name in sorted(by_class):
        passed = sum(not row.error for row in by_class[name])
        table.append(f"| {name} | {len(by_class[name])} | {passed} |")
    passed = sum(not row.error for row in rows)
    table.append(f"| all (a test may make several) | {len(rows)} | {passed} |")
    left_out = ["| what ours leave out | tests |", "|---|---|"]
    tests = collections.defaultdict(list)
    for row in rows:
        if row.error:
            tests[reason(row) or f"**unexpected**: {row.error.splitlines()[0]}"].append(row)
    for why, failed in tests.items():
        tests = [row.test.split(_IN) for row in failed]
        names = ", ".join(f"`{'.'.join(parts)}`" for _, *parts in tests)
        left_out.append(f"| {why} | {names} |")
    return "\n".join([INTRODUCTION.format(version=version), *table, "", *left_out, "", AFTERWORD])


INTRODUCTION = """\
# Parity with Keras

Written by `python tools/keras_parity.py --out=docs/keras-parity.md`: the tests that Keras {version}
brings along for its own optimizers, schedules and BatchNormalization, run with our classes in the
place of Keras' (schedules through a line that turns Keras' arguments into ours). Tests that make
none of ours do not count.
"""

AFTERWORD = """\
Where ours differ from Keras' on purpose and no test of Keras' sees it:

- With `gradient_accumulation_steps` the average of `use_ema` moves, and overwrites the weights,
  with each update; in Keras with each call of `apply`.
- `FusedAdagrad` has ε outside the root, as Duchi's; Keras inside. They differ where the accumulator
  is as small as ε.
- `FusedBatchNormalization` takes the statistics of the whole batch in several replicas,
  `synchronized` or not, and refuses a mask there.
- `Muon` is airbench's, for kernels of convolutions; Keras' is for matrices. It has no gradient
  accumulation.
- `Adamax`, `Nadam`, `Ftrl`, `Adafactor`, `Lamb`, `ScheduleFreeAdamW` and `InverseTimeDecay` have no
  counterpart.
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=Path, help="keras/src to take tests from (default: Keras')")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args(argv)

    import keras

    folder = arguments.tests or Path(keras.__file__).parent / "src"
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        parser.error(f"--tests={folder}: must hold Keras' tests, such as {FILES[0]}")
    rows = run(files, folder)
    text = report(rows, keras.__version__)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    wrong = surprises(rows)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
