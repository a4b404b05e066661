"""A schedule as a table and as a plot."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # pyplot's backend is the user's: nothing here changes it

from tfsc import files
from tfsc.schedules.base import Schedule

_POINTS = 2000


def time_constant(momentum: float) -> float:
    """T = −1/ln β: steps after which a gradient's weight in the average has fallen to 1/e.

    0 for β = 0, which keeps nothing.
    """
    return -1 / math.log(momentum) if momentum > 0 else 0.0


def table(
    rates: Schedule, momenta: Schedule, steps_per_epoch: int, total_steps: int, rows: int
) -> str:
    """Step, epoch, learning rate, momentum and its time constant (steps), evenly spaced."""
    lines = [
        f"{'step':>10} {'epoch':>10} {'learning rate':>14} {'momentum':>9} {'T = -1/ln m':>12}"
    ]
    for step in _steps(total_steps, rows):
        momentum = momenta.value(step)
        lines.append(
            f"{step:>10} {step / steps_per_epoch:>10.3f} {rates.value(step):>14.6g} "
            f"{momentum:>9.4f} {time_constant(momentum):>12.2f}"
        )
    return "\n".join(lines)


def plot(
    path: Path,
    rates: Schedule,
    momenta: Schedule,
    steps_per_epoch: int,
    total_steps: int,
    title: str,
) -> None:
    """Draw learning rate and momentum over the steps of a run.

    Args:
        path: PNG file to write.
        rates, momenta: schedules.
        steps_per_epoch: for the axis at the top.
        total_steps: of the run.
        title: above the picture.
    """
    steps = _steps(total_steps, _POINTS)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    title = title if len(title) <= 90 else title[:90] + "…"
    figure.suptitle(title, fontsize=10, parse_math=False)
    # Vertical where a rate jumps between two steps.
    above.plot(steps, [rates.value(step) for step in steps], color="black", drawstyle="steps-post")
    above.set_ylabel("learning rate")
    above.set_ylim(bottom=0)
    epochs = above.secondary_xaxis(
        "top", functions=(lambda x: x / steps_per_epoch, lambda x: x * steps_per_epoch)
    )
    epochs.set_xlabel("epoch")
    values = [momenta.value(step) for step in steps]
    below.plot(steps, values, color="tab:green", drawstyle="steps-post")
    below.set_ylabel("momentum")
    low, high = min(values), max(values)
    room = max(0.1 * (high - low), 0.01)
    below.set_ylim(max(0.0, low - room), min(1.0, high + room))
    below.set_xlabel("step")
    below.set_xlim(0, max(total_steps, 1))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with files.atomic(path) as file:
        figure.savefig(file, dpi=120, format="png")


def _steps(total: int, count: int) -> list[int]:
    """At most `count` of the steps 0 … total, both ends among them."""
    return [int(step) for step in np.unique(np.linspace(0, total, count).round())]
