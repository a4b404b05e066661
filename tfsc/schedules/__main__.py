"""Show a learning-rate schedule: a table on standard output, and a plot.

    python -m tfsc.schedules --show='warmup(2) → cosine(0.1)' --steps=5000 --steps_per_epoch=500

With --momentum also that of the optimizer, and its time constant.
"""

from pathlib import Path

from absl import flags, logging

from tfsc.command_line import command
from tfsc.errors import RecipeError
from tfsc.schedules import momentum_and_batch_size, parser
from tfsc.schedules.doubts import doubts
from tfsc.schedules.parsed import ScheduleText

_SHOW = flags.DEFINE_string("show", None, "The schedule, as --schedule of tfsc.train takes it.")
_MOMENTUM = flags.DEFINE_string(
    "momentum", "0.9", "Momentum, as of sgd in --optimizer of tfsc.train."
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Steps of the run; default: 25 epochs.", lower_bound=1, upper_bound=10**9
)
_STEPS_PER_EPOCH = flags.DEFINE_integer(
    "steps_per_epoch",
    781,
    "Steps in an epoch (781: CIFAR-10 at batch size 64).",
    lower_bound=1,
    upper_bound=10**9,
)
_PER = flags.DEFINE_enum("per", "step", ["step", "epoch"], "Move at every step or every epoch.")
_ROWS = flags.DEFINE_integer(
    "rows", 21, "Rows of the table, evenly spaced.", lower_bound=2, upper_bound=10**6
)
_OUT = flags.DEFINE_string("out", "schedule.png", "PNG file to write; empty: none.")


def _parsed(values: flags.FlagValues) -> tuple[ScheduleText, ScheduleText]:
    """The schedule and the momentum on the command line, checked."""
    if not values.show:
        raise RecipeError("--show: must be a schedule, e.g. --show='cyclic(0.1, 3, 5000)'")
    name = "show"
    try:
        schedule = parser.parse(values.show)
        name = "momentum"
        return schedule, momentum_and_batch_size.parse_momentum(values.momentum, schedule)
    except parser.ScheduleSyntaxError as error:
        raise RecipeError(f"--{name}: {error}") from None


def main() -> None:
    schedule, momentum = _parsed(flags.FLAGS)
    # TensorFlow is imported only now, so that --help and errors in flags come at once.
    command.import_tensorflow()
    from tfsc.schedules import show
    from tfsc.schedules.builder import build

    run = _STEPS_PER_EPOCH.value, _STEPS.value or 25 * _STEPS_PER_EPOCH.value
    rates = build(schedule, *run, _PER.value, flag="show")
    momenta = build(momentum, *run, _PER.value, flag="momentum")
    doubted = {"show": schedule}
    if not _MOMENTUM.value.lstrip().startswith("inverse"):  # its times are those of the rate
        doubted["momentum"] = momentum
    for flag, parsed in doubted.items():
        for doubt in doubts(parsed, *run):
            logging.warning("--%s: %s", flag, doubt)
    print(show.table(rates, momenta, *run, rows=_ROWS.value))
    if _OUT.value:
        show.plot(Path(_OUT.value), rates, momenta, *run, title=str(schedule))
        print(f"plot: {_OUT.value}")


if __name__ == "__main__":
    command.run(main, check=_parsed)
