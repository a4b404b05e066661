"""What tools/gpu_suite.py does, piece by piece: the one list that is executed and planned."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

BATCH = 64  # of the published runs


@dataclass(frozen=True)
class Config:
    """One way to compute a step. As a piece of the suite: its step time."""

    precision: str
    xla: str = "on"
    batch_size: int = BATCH
    data_on: str = "device"
    steps_per_execution: int = 20

    def flags(self) -> list[str]:
        return [f"--{name}={value}" for name, value in dataclasses.asdict(self).items()]

    def __str__(self) -> str:
        return (
            f"{self.precision} xla={self.xla} batch={self.batch_size} data_on={self.data_on} "
            f"steps_per_execution={self.steps_per_execution}"
        )


@dataclass(frozen=True)
class Run:
    """A recipe that is trained in full.

    Attributes:
        name: of its directory.
        precision: how it computes; what else is fastest with that, the step times say.
        flags: the recipe's.
    """

    name: str
    precision: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return f"run {self.name}"


@dataclass(frozen=True)
class Setting:
    """How much to measure, and what it is thought to take before anything is known.

    Attributes:
        pieces: in order of importance. TensorFlow's choice of kernels outlives a change of
            TF32, so step times of fp32 and of the others need processes of their own: the fewer
            changes, the fewer starts.
        default: how a run computes if nothing of its precision could be timed.
        dataset: unless --dataset says otherwise.
        flags: of every recipe that is timed.
        run_flags: of the runs, after their own.
        steps: of a run.
        run_seconds: what a run needs beside compilation and steps: start, 25 evaluations, ...
        seconds: to time each configuration.
        guess: seconds that timing a configuration takes, with and without XLA.
        guess_step: seconds of a run's step.
        run_mib: what a run leaves on disk, checkpoints among it.
        limit: seconds after which a configuration is given up.
        grace: seconds between SIGTERM and the end of a call, for a run's last checkpoint.
        needs_gpu: whether a machine without one is an error.
    """

    pieces: tuple[Config | Run, ...]
    default: Config
    dataset: str
    flags: tuple[str, ...]
    run_flags: tuple[str, ...]
    steps: int
    run_seconds: float
    seconds: float
    guess: dict[str, float]
    guess_step: float
    run_mib: float
    limit: float
    grace: float
    needs_gpu: bool

    def without_runs(self) -> "Setting":
        return dataclasses.replace(
            self, pieces=tuple(piece for piece in self.pieces if isinstance(piece, Config))
        )


def _full_pieces() -> Iterator[Config | Run]:
    """Enough step times to choose how the runs compute; the runs; the other step times."""
    yield Config("fp32")
    yield from (Config("bf16"), Config("fp16"), Config("bf16", "off"))
    yield Config("bf16", data_on="host")
    yield from _published_runs("type1")
    yield from _published_runs("type2")
    yield from (Config("tf32"), Config("bf16", batch_size=1024), Config("bf16", batch_size=256))
    yield Config("bf16", data_on="prefetch")
    yield from (Config("bf16", data_on=p, steps_per_execution=1) for p in ("host", "device"))
    yield from (Config("tf32", "off"), Config("fp16", "off"))
    for precision in ("tf32", "fp16"):
        yield from (Config(precision, batch_size=size) for size in (1024, 256))
    for precision in ("bf16", "tf32", "fp16"):
        yield from (Config(precision, "off", size) for size in (1024, 256))
    yield Config("fp32", "off")
    yield from (Config("fp32", xla, size) for xla in ("on", "off") for size in (1024, 256))


def _published_runs(schedule: str) -> Iterator[Run]:
    """Table 1 of seed 000 has them in fp32."""
    for precision in ("fp32", "bf16", "fp16"):
        recipe = (f"--flagfile=seeds/000-{schedule}.flags",)
        yield Run(f"{schedule}-{precision}", precision, recipe)


SETTINGS = {
    "full": Setting(
        pieces=tuple(_full_pieces()),
        default=Config("bf16"),
        dataset="cifar10",
        flags=("--flagfile=seeds/000-type1.flags",),
        run_flags=("--export=false",),
        steps=25 * (40_000 // BATCH),
        run_seconds=75,
        seconds=3,
        guess={"on": 75, "off": 35},
        guess_step=0.005,
        run_mib=55,  # two checkpoints of 25, logs, plots
        limit=150,
        grace=30,
        needs_gpu=True,
    ),
    "small": Setting(
        pieces=(
            Config("fp32", "off", 25, "host", 1),
            Config("bf16", "on", 25, "device", 2),
            Config("fp16", "off", 25, "prefetch", 2),
            Run("fp32", "fp32", ()),
            Run("bf16", "bf16", ()),
            Run("fp16", "fp16", ()),
        ),
        default=Config("fp32", "off", 25, "host", 1),
        dataset="digits",
        flags=("--model=resnet_v2([1])", "--train_examples=100", "--schedule=1e-3"),
        run_flags=(
            *("--model=resnet_v2([1])", "--train_examples=100", "--schedule=1e-3"),
            *("--export=false", "--epochs=2"),
        ),
        steps=8,
        run_seconds=10,
        seconds=0.1,
        guess={"on": 10, "off": 10},
        guess_step=0.05,
        run_mib=2,
        limit=60,
        grace=5,
        needs_gpu=False,
    ),
}
