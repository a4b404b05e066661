"""Pictures of learning-rate range tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # pyplot's backend is the user's: nothing here changes it

from tfsc import files
from tfsc.lr_finder.range_test import Sweep
from tfsc.lr_finder.suggestions import STAYS_HIGH, AccuracyRange, OverSeeds

_COLORS = ("tab:blue", "tab:green", "tab:purple", "tab:red")
_CURVE = "0.15"


def plot_losses(
    path: Path,
    sweeps: Mapping[int, Sweep],
    answers: Mapping[str, OverSeeds],
    log: bool,
    title: str,
) -> None:
    """Draw losses over learning rates, with the suggestions.

    One seed: its losses and their average. Several: the averages, their median, and the band from
    the least to the greatest, as far as all seeds came.

    Args:
        path: PNG file to write.
        sweeps: by seed.
        answers: by rule, up to four.
        log: whether the rate's axis is logarithmic.
        title: above the picture.
    """
    figure, axes = _figure("training loss", title, log)
    first = next(iter(sweeps.values()))
    smoothed, common = _table([sweep.smoothed for sweep in sweeps.values()])
    longest = max((sweep.rates for sweep in sweeps.values()), key=len)
    if len(sweeps) == 1:
        axes.plot(longest, first.losses, color="0.7", linewidth=0.9, label="loss of a batch")
        axes.plot(longest, first.smoothed, color=_CURVE, linewidth=1.8, label="smoothed")
    else:
        _band(axes, longest, smoothed, common, f"smoothed, median of {len(sweeps)} seeds")
    if len(longest) > 1:
        axes.set_xlim(longest[0], longest[-1])
    shown = smoothed if len(sweeps) > 1 else np.array([first.smoothed, first.losses])
    axes.set_ylim(*_loss_limits(shown))
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    rates = {name: answer.rate for name, answer in answers.items()}
    missing = [name for name, rate in rates.items() if rate is None]
    if missing:
        axes.annotate(
            f"no answer: {', '.join(missing)}",
            (1, 0),
            xycoords="axes fraction",
            xytext=(-6, 6),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color="0.4",
        )
    mark(axes, rates)
    _save(figure, path)


def plot_accuracies(
    path: Path,
    rates: Sequence[float],
    sweeps: Mapping[int, Sweep],
    ranges: Mapping[int, AccuracyRange],
    bounds: Mapping[str, OverSeeds],
    log: bool,
    title: str,
) -> None:
    """Draw validation accuracies over learning rates, with base_lr, max_lr and the criterion.

    Args:
        path: PNG file to write.
        rates: of all planned evaluations.
        sweeps: by seed, with the accuracies measured.
        ranges: by seed, what they say.
        bounds: "base_lr" and "max_lr" over seeds.
        log, title: as in `plot_losses`.
    """
    figure, axes = _figure("validation accuracy", title, log)
    found = list(ranges.values())
    chance = found[0].chance
    smoothed, common = _table([of.smoothed for of in found])
    start = rates[len(rates) - -(-len(rates) // 3)]
    axes.axvspan(start, rates[-1], color="tab:orange", alpha=0.08, linewidth=0)
    best = float(np.median([max(of.smoothed, default=chance) for of in found]))
    for level, name in ((chance, "chance"), (STAYS_HIGH * best, f"{STAYS_HIGH:g} × best")):
        axes.axhline(level, color="0.5", linewidth=0.9, linestyle=":")
        axes.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.4",
        )
    if len(found) == 1:
        raw = [accuracy for _, accuracy in next(iter(sweeps.values())).measured]
        axes.plot(rates[: len(raw)], raw, ".", color="0.6", label="an evaluation")
        label = "median of five"
        axes.plot(rates[: len(raw)], smoothed[0], color=_CURVE, linewidth=1.8, label=label)
    else:
        _band(axes, rates, smoothed, common, f"smoothed, median of {len(found)} seeds")
    high = sum(of.stays_high for of in found)
    ratio = float(np.median([of.ratio for of in found]))
    verdict = {0: "does not stay high", len(found): "stays high"}.get(
        high, f"stays high for {high} of {len(found)} seeds"
    )
    axes.annotate(
        f"last third of the rates\n{ratio:.2f} × best: {verdict}",
        (rates[-1], 0),
        xycoords=("data", "axes fraction"),
        xytext=(-6, 6),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="tab:brown",
    )
    axes.set_xlim(rates[0] if log else 0, rates[-1])
    every = [accuracy for sweep in sweeps.values() for _, accuracy in sweep.measured]
    axes.set_ylim(0, 1.1 * max(every, default=best))
    axes.legend(loc="best", fontsize=8, framealpha=0.8)
    mark(axes, {name: bound.rate for name, bound in bounds.items()})
    _save(figure, path)


def number(rate: float, digits: int = 3) -> str:
    """A rate as the seeds write it: 9.5e-5, 1e-3, 0.012."""
    if not 0 < rate < 0.01:
        return f"{rate:.{digits}g}".replace("e+0", "e")
    mantissa, exponent = f"{rate:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def mark(axes: Axes, rates: Mapping[str, float | None]) -> None:
    """Mark rates by lines up to labels above the axes, which overlap neither each other nor a line.

    The greater a rate, the lower its label: every line ends at its own label, left of which only
    lesser rates have lines.
    """
    known = sorted((rate, name) for name, rate in rates.items() if rate is not None)
    colors = dict(zip(rates, _COLORS, strict=False))
    for row, (rate, name) in enumerate(reversed(known)):
        height = 1.025 + 0.055 * row
        axes.plot(
            [rate, rate],
            [0, height + 0.035],
            transform=axes.get_xaxis_transform(),
            color=colors[name],
            linewidth=1.3,
            clip_on=False,
            zorder=3,
        )
        axes.annotate(
            f"{name}  {number(rate, 2)}",
            (rate, height),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            color=colors[name],
            fontsize=9,
            va="bottom",
            annotation_clip=False,
        )


def _figure(measured: str, title: str, log: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title, fontsize=10)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(measured)
    if log:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    return figure, axes


def _table(curves: Sequence[Sequence[float]]) -> tuple[np.ndarray, int]:
    """Curves of unequal length as rows, filled up with NaN, and the length of the shortest."""
    lengths = [len(curve) for curve in curves]
    table = np.full((len(curves), max(lengths)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    table[~np.isfinite(table)] = np.nan
    return table, min(lengths)


def _band(axes: Axes, rates: Sequence[float], curves: np.ndarray, common: int, label: str) -> None:
    """Several seeds' curves: each, and as far as all came their median and band."""
    for curve in curves:
        axes.plot(rates[: len(curve)], curve, color="0.6", linewidth=0.7)
    both = curves[:, :common]
    axes.fill_between(
        rates[:common],
        both.min(axis=0),
        both.max(axis=0),
        color="tab:cyan",
        alpha=0.25,
        linewidth=0,
        label="least to greatest",
    )
    axes.plot(rates[:common], np.median(both, axis=0), color=_CURVE, linewidth=1.8, label=label)


def _loss_limits(curves: np.ndarray) -> tuple[float, float]:
    """From below the least loss to above what came before it: a divergence leaves the picture."""
    known = np.where(np.isfinite(curves), curves, np.inf)
    low = float(known.min())
    if not np.isfinite(low):
        return 0.0, 1.0
    before = [row[: int(row.argmin()) + 1] for row in known]
    high = max(float(row.max()) for row in before if np.isfinite(row.max()))
    reach = max(high - low, 0.1 * abs(low), 1e-3)
    return low - 0.12 * reach, high + 0.4 * reach


def _save(figure: Figure, path: Path) -> None:
    with files.atomic(path) as file:
        figure.savefig(file, dpi=130, format="png")
