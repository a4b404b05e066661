"""What a learning-rate range test leaves: a table, a picture, JSON, and text for a terminal."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tfsc import files
from tfsc.lr_finder.options import Options, recipe_names
from tfsc.lr_finder.plots import number
from tfsc.lr_finder.range_test import Sweep
from tfsc.lr_finder.suggestions import (
    STAYS_HIGH,
    AccuracyRange,
    OverSeeds,
    Suggestion,
    over_seeds,
    suggest,
    together,
)
from tfsc.optimizers.catalog import innermost
from tfsc.recipe import Recipe, settings
from tfsc.reporting.provenance import environment
from tfsc.schedules import parser
from tfsc.schedules.parsed import Moving


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        table: lr_find.csv.
        answers: by name: a rule's, or a bound's.
        schedule: text of a schedule to try; None without an answer.
        seeds: for the JSON, by seed.
        lines: for the terminal, below the answers.
    """

    table: pd.DataFrame
    answers: dict[str, OverSeeds]
    schedule: str | None
    seeds: dict[int, Any]
    lines: tuple[str, ...] = ()

    def write(self, out: Path, recipe: Recipe, options: Options, dataset: dict[str, str]) -> None:
        """Write lr_find.csv and lr_find.json.

        Args:
            out: directory that exists.
            recipe, options: what was tested.
            dataset: name, version and digest.
        """
        csv = self.table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
        files.write_text(out / "lr_find.csv", csv)
        record = {
            "command": ["python", "-m", "tfsc.lr_find", *sys.argv[1:]],
            "recipe": {
                name: settings()[name].text(getattr(recipe, name)) for name in recipe_names()
            },
            "options": {k: v for k, v in dataclasses.asdict(options).items() if k != "out"},
            "suggestions": _plain(self.answers),
            "schedule": self.schedule,
            "seeds": self.seeds,
            "dataset": dataset,
            **environment(),
        }
        files.write_text(out / "lr_find.json", json.dumps(record, indent=1) + "\n")

    def text(self, recipe: Recipe) -> str:
        """The answers as a table, and the command that trains by them."""
        width = max(len(name) for name in self.answers) + 2
        several = len(self.seeds) > 1
        lines = []
        for name, answer in self.answers.items():
            rate = "none" if answer.rate is None else number(answer.rate)
            line = f"{name:{width}}{rate:10}"
            if several and answer.low is not None and answer.high is not None:
                count = f"{answer.answers} of {len(self.seeds)} seeds"
                line += f"{number(answer.low)} to {number(answer.high)}, {count}  "
            lines.append((line + answer.note).rstrip())
        lines += self.lines
        if self.schedule:
            lines += [f"--schedule='{self.schedule}'", train_command(recipe, self.schedule)]
        else:
            lines.append("no schedule to propose: try other rates (--start, --end) or more steps")
        return "\n".join(lines)


def report_losses(recipe: Recipe, sweeps: Mapping[int, Sweep], planned: int) -> Report:
    """What tests of the loss, of `planned` steps each, by seed, suggest.

    The schedule is a 1cycle up to the median of the rules.
    """
    found = {seed: suggest(sweep.rates, sweep.smoothed, planned) for seed, sweep in sweeps.items()}
    answers = _over_seeds(list(found.values()))
    peak = together([answer.rate for answer in answers.values()])
    frames = [
        _frame(seed, range(1, len(sweep.rates) + 1), sweep.rates)
        .assign(loss=sweep.losses, smoothed_loss=sweep.smoothed)
        for seed, sweep in sweeps.items()
    ]  # fmt: skip
    return Report(
        table=pd.concat(frames),
        answers=answers,
        schedule=one_cycle(recipe, peak) if peak else None,
        seeds={
            seed: {**_extent(sweep), "suggestions": _plain(found[seed])}
            for seed, sweep in sweeps.items()
        },
        lines=(*_early_ends(sweeps), *([f"median of the rules: {number(peak)}"] if peak else [])),
    )


def report_accuracies(
    recipe: Recipe, sweeps: Mapping[int, Sweep], ranges: Mapping[int, AccuracyRange]
) -> Report:
    """What tests of the accuracy, by seed, suggest: a triangle between base_lr and max_lr."""
    answers = _over_seeds([{"base_lr": r.base_lr, "max_lr": r.max_lr} for r in ranges.values()])
    base, top = answers["base_lr"].rate, answers["max_lr"].rate
    frames, seeds, lines = [], {}, []
    for seed, sweep in sweeps.items():
        found, steps = ranges[seed], [step for step, _ in sweep.measured]
        frames.append(
            _frame(seed, [step + 1 for step in steps], [sweep.rates[step] for step in steps])
            .assign(
                val_accuracy=[accuracy for _, accuracy in sweep.measured],
                smoothed_accuracy=found.smoothed,
                smoothed_loss=[sweep.smoothed[step] for step in steps],
            )
        )  # fmt: skip
        record = dataclasses.asdict(found)
        del record["smoothed"]  # the table has it
        seeds[seed] = {**_extent(sweep), **record}
        lines.append(
            f"seed {seed}: over the last third of the rates the mean accuracy is "
            f"{found.last_third:.3f}, {found.ratio:.2f} × the best: "
            f"{'it stays high' if found.stays_high else 'it does not stay high'} "
            f"(that would be ≥ {STAYS_HIGH:g} ×)"
        )
    return Report(
        table=pd.concat(frames),
        answers=answers,
        schedule=triangle(recipe, base, top) if base and top and base < top else None,
        seeds=seeds,
        lines=(*_early_ends(sweeps), *lines),
    )


def one_cycle(recipe: Recipe, peak: float) -> str:
    """Schedule text of straight lines: peak/25 up to peak in 30 % of the run, down to peak/250,000.

    For adamwr the recipe's own warm restarts, from the peak on.
    """
    return _restarts(recipe, peak) or str(parser.parse(f"one_cycle({peak:.3g}, anneal=linear)"))


def triangle(recipe: Recipe, base: float, top: float) -> str:
    """Schedule text: one cycle from base up to top and down again, as in super-convergence.

    For adamwr the recipe's own warm restarts, from the top on.
    """
    half = f"{recipe.epochs / 2:g}e"
    cycle = f"cyclic({base:.3g}, {top:.3g}, half_cycle={half}, cycles=1)"
    return _restarts(recipe, top) or str(parser.parse(cycle))


def _restarts(recipe: Recipe, rate: float) -> str | None:
    """The recipe's warm restarts at another rate, if its optimizer needs them."""
    if innermost(recipe.parsed("optimizer")).family != "adamwr":
        return None
    schedule = recipe.parsed_schedule()
    assert isinstance(schedule, Moving)  # a rule of the recipe
    return str(schedule.replace(rate=float(f"{rate:.3g}")))


def train_command(recipe: Recipe, schedule: str) -> str:
    """The command line that trains by a recipe and a schedule, without what is default."""
    words, defaults = ["python", "-m", "tfsc.train"], _texts(Recipe())
    for name, text in _texts(recipe).items():
        if text != defaults[name] and name != "schedule":
            words.append(f"--{name}={shlex.quote(text)}")
    return " ".join([*words, f"--schedule={shlex.quote(schedule)}"])


def _texts(recipe: Recipe) -> dict[str, str]:
    """The settings that count, as flag text."""
    return {name: settings()[name].text(getattr(recipe, name)) for name in recipe_names()}


def _frame(seed: int, steps: Sequence[int], rates: Sequence[float]) -> pd.DataFrame:
    """The columns of every table; steps count from 1."""
    return pd.DataFrame({"seed": seed, "step": steps, "rate": rates})


def _over_seeds(found: Sequence[Mapping[str, Suggestion]]) -> dict[str, OverSeeds]:
    return {name: over_seeds([of[name] for of in found]) for name in found[0]}


def _plain(answers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dataclasses.asdict(answer) for name, answer in answers.items()}


def _extent(sweep: Sweep) -> dict[str, Any]:
    return {"steps": len(sweep.rates), "stopped": sweep.stopped or None}


def _early_ends(sweeps: Mapping[int, Sweep]) -> tuple[str, ...]:
    return tuple(
        f"seed {seed}: stopped at rate {number(sweep.rates[-1])}: {sweep.stopped}"
        for seed, sweep in sweeps.items()
        if sweep.stopped
    )
