"""The settings of `tfsc.lr_find` that are not those of a recipe. Without TensorFlow and NumPy."""

from dataclasses import dataclass
from typing import Any

from absl import flags

from tfsc.errors import RecipeError, shown
from tfsc.recipe import Recipe, settings
from tfsc.recipe.setting import Setting

# The fewest that every rule of tfsc.lr_finder.suggestions can work with.
LEAST_STEPS = 24
LEAST_EVALUATIONS = 9  # three in each third of the test
_LEAST_START = 1e-30  # float32 has no exact powers of less

SETTINGS = {
    "measure": Setting(
        "What is looked at while the rate grows: the training loss; or the validation accuracy "
        "(Smith's test, with the criterion of super-convergence).",
        str,
        choices=("loss", "accuracy"),
    ),
    "start": Setting(
        "Learning rate of the first step; default: 1e-6, with --measure=accuracy 0.",
        float,
        low=0.0,
        high=10_000.0,
    ),
    "end": Setting(
        "Learning rate of the last step; default: 10, with --measure=accuracy 3.",
        float,
        low=0.0,
        high=10_000.0,
    ),
    "num_steps": Setting(
        f"Steps from the first rate to the last, at least {LEAST_STEPS} for the loss; default: "
        "100, with --measure=accuracy 1000.",
        int,
        low=2,
        high=1_000_000,
    ),
    "growth": Setting(
        "How the rate grows; default: exponential, with --measure=accuracy linear.",
        str,
        choices=("exponential", "linear"),
    ),
    "smoothing": Setting(
        "β of the losses' average: avg = β·avg + (1 − β)·loss, divided by 1 − β^k after k of them.",
        float,
        low=0.0,
        high=0.9999,
    ),
    "stop_at": Setting(
        "Stop when the smoothed loss exceeds so many times its least; 0: only when it is not "
        "finite; default: 4, with --measure=accuracy 0.",
        float,
        low=0.0,
        high=1e9,
    ),
    "seeds": Setting("How many seeds: --seed and those that follow it.", int, low=1, high=1000),
    "evaluate_every": Setting(
        "With --measure=accuracy: steps between evaluations; default: a fiftieth of --num_steps.",
        int,
        low=1,
        high=1_000_000,
    ),
    "val_examples": Setting(
        "With --measure=accuracy: evaluate on so many examples of the validation set, a fixed "
        "stratified draw; 0: all; default: 2000.",
        int,
        low=0,
        high=10_000_000,
    ),
    "out": Setting(
        "Directory for the table, the picture and the JSON; default: "
        "runs/lr_find-<measure>-<dataset>-<model>-<digest>-seed<seed>.",
        str,
    ),
}

# The others have a default for each measure.
DEFAULTS = {"measure": "loss", "smoothing": 0.98, "seeds": 1, "out": ""}
_DEFAULTS_BY_MEASURE = {
    "loss": {
        "start": 1e-6,
        "end": 10.0,
        "num_steps": 100,
        "growth": "exponential",
        "stop_at": 4.0,
        "evaluate_every": 0,
        "val_examples": 0,
    },
    "accuracy": {
        "start": 0.0,
        "end": 3.0,
        "num_steps": 1000,
        "growth": "linear",
        "stop_at": 0.0,
        "val_examples": 2000,
    },
}

# Settings of a training on which the test does not depend. A training's flagfile may have them.
NOT_USED = (
    "run_dir",
    "batch_schedule",
    "scale_lr_from",
    "replicas",
    "steps_per_execution",
    "checkpoint_every",
    "validate_every",
    "keep_checkpoints",
    "export",
    "threshold",
)

# Settings of a training that a flagfile may have, but that would be misunderstood where the test is
# described: what they are refused with.
ONLY_IN_FILES = {
    "steps": "must be in a flagfile, as the length of the training that is proposed; the test's is "
    "--num_steps",
}


def recipe_names() -> tuple[str, ...]:
    """The settings of a recipe on which the test depends.

    And --epochs and --steps, for what it proposes. The rate is the test's, but momentum's
    inverse(…) and adamwr's decay look at --schedule.
    """
    return tuple(name for name in settings() if name not in NOT_USED)


@dataclass(frozen=True)
class Options:
    """What to test; see `SETTINGS`. `evaluate_every` is 0 where the loss is looked at."""

    measure: str
    start: float
    end: float
    num_steps: int
    growth: str
    smoothing: float
    stop_at: float
    seeds: int
    evaluate_every: int
    val_examples: int
    out: str

    @classmethod
    def of(cls, recipe: Recipe, **given) -> "Options":
        """Options from those given, the others by default.

        Raises:
            RecipeError: if a value breaks its rule, alone or beside another one.
        """
        for name, value in given.items():
            try:
                given[name] = SETTINGS[name].check(value)
            except ValueError as error:
                received = shown(value if isinstance(value, str) else repr(value))
                raise RecipeError(f"--{name}={received}: {error}") from None
        measure = given.get("measure", DEFAULTS["measure"])
        values = {**DEFAULTS, **_DEFAULTS_BY_MEASURE[measure], **given}
        if measure == "accuracy":
            values.setdefault("evaluate_every", max(values["num_steps"] // 50, 1))
        for name in ("evaluate_every", "val_examples"):
            if name in given and measure != "accuracy":
                raise RecipeError(f"--{name}={given[name]}: needs --measure=accuracy")
        options = cls(**values)
        options._check_together(recipe)
        return options

    def _check_together(self, recipe: Recipe) -> None:
        if not self.start < self.end:
            raise RecipeError(f"--start={self.start:g}: must be below --end={self.end:g}")
        if self.growth == "exponential" and self.start < _LEAST_START:
            raise RecipeError(
                f"--start={self.start:g}: must be at least {_LEAST_START:g} with "
                "--growth=exponential"
            )
        if self.stop_at and self.stop_at <= 1:
            raise RecipeError(f"--stop_at={self.stop_at:g}: must be 0 or above 1")
        if self.measure == "loss" and self.num_steps < LEAST_STEPS:
            raise RecipeError(
                f"--num_steps={self.num_steps}: must be at least {LEAST_STEPS}; the rules skip the "
                "first tenth and the last 5 and compare steps 15 apart"
            )
        if self.measure == "accuracy" and self.evaluations < LEAST_EVALUATIONS:
            raise RecipeError(
                f"--num_steps={self.num_steps}: must be at least {LEAST_EVALUATIONS} times "
                f"--evaluate_every={self.evaluate_every}"
            )
        last = recipe.seed + self.seeds - 1
        if last > settings()["seed"].high:
            raise RecipeError(
                f"--seeds={self.seeds}: the last one, {last}, must be at most "
                f"{settings()['seed'].high}"
            )

    @property
    def evaluations(self) -> int:
        """How many are planned."""
        return self.num_steps // self.evaluate_every if self.evaluate_every else 0


def from_flags(values: flags.FlagValues) -> tuple[Recipe, Options]:
    """The recipe and the options that the parsed flags describe.

    Raises:
        RecipeError: if they are not allowed.
    """
    typed: dict[str, Any] = {name: values[name].value for name in recipe_names()}
    recipe = Recipe(**typed)
    given = {name: values[name].value for name in SETTINGS if values[name].value is not None}
    return recipe, Options.of(recipe, **given)
