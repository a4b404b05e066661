"""Reports of range tests: schedules and commands that tfsc.train takes, tables, text, pictures."""

import csv
import io
import json
import math
import shlex

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from command_lines import recipe_of

from tfsc.lr_finder.options import Options
from tfsc.lr_finder.plots import mark, number, plot_accuracies, plot_losses
from tfsc.lr_finder.range_test import Sweep
from tfsc.lr_finder.report import (
    one_cycle,
    report_accuracies,
    report_losses,
    train_command,
    triangle,
)
from tfsc.lr_finder.suggestions import accuracy_range
from tfsc.recipe import Recipe
from tfsc.schedules import parser


def _losses(seed=0, steps=100, stopped=""):
    rates = np.geomspace(1e-6, 10, 100)[:steps].tolist()
    x = np.linspace(-0.8, 0.2, 100)[:steps]
    smoothed = 2 / (1 + np.exp(20 * (x + 0.4))) + 50 * np.maximum(x, 0) ** 2 + 0.1 * seed
    noise = np.random.default_rng(seed).normal(0, 0.05, steps)
    return Sweep(rates, (smoothed + noise).tolist(), smoothed.tolist(), [], stopped)


def _accuracies(values):
    rates = [0.01 * step for step in range(3 * len(values))]
    measured = [(3 * i + 2, value) for i, value in enumerate(values)]
    sweep = Sweep(rates, [1.0] * len(rates), [1.0] * len(rates), measured)
    return sweep, accuracy_range([rates[step] for step, _ in measured], values, 12, 0.1, 900)


def test_what_is_proposed_can_be_pasted_into_a_training_of_the_same_settings():
    recipe = Recipe(
        dataset="digits",
        model="resnet_v2([1,1])",
        augment="shift(0.07)",
        epochs=7,
        seed=3,
        average="ema(0.9)",
    )
    for changes, peak, cycle in (
        ({}, "one_cycle(0.0123,anneal=linear)", "cyclic(1e-3,0.0123,3.5e,cycles=1)"),
        (
            {"optimizer": "sgd(inverse(0.95,0.85))", "schedule": "one_cycle(1)"},
            "one_cycle(0.0123,anneal=linear)",
            "cyclic(1e-3,0.0123,3.5e,cycles=1)",
        ),
        (
            {"optimizer": "adamwr", "schedule": "warm_restarts(1, 5, 2)"},
            "warm_restarts(0.0123,5e,mult=2)",
            "warm_restarts(0.0123,5e,mult=2)",
        ),
    ):
        tested = recipe.replace(**changes)
        for schedule, expected in (
            (one_cycle(tested, 0.01234), peak),
            (triangle(tested, 0.001, 0.01234), cycle),
        ):
            assert schedule == expected
            command = train_command(tested, schedule)
            assert command.startswith("python -m tfsc.train --dataset=digits ")
            assert "--batch_size" not in command
            assert recipe_of(*shlex.split(command)[3:]) == tested.replace(schedule=schedule)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(9.5e-5, "9.5e-5"), (1e-3, "1e-3"), (0.0123456, "0.0123"), (3.0, "3"), (1234567, "1.23e6")],
)
def test_rates_are_written_as_by_hand(rate, text):
    assert number(rate) == text


def test_a_report_of_losses_has_every_step_and_proposes_the_median_of_the_rules(tmp_path):
    sweeps = {4: _losses(4), 5: _losses(5, steps=96, stopped="the smoothed loss exceeds")}
    report = report_losses(Recipe(dataset="digits"), sweeps, 100)
    options = Options.of(Recipe(), seeds=2)
    report.write(tmp_path, Recipe(dataset="digits"), options, {"name": "digits"})
    rows = list(csv.DictReader(io.StringIO((tmp_path / "lr_find.csv").read_text())))
    assert list(rows[0]) == ["seed", "step", "rate", "loss", "smoothed_loss"]
    assert [(row["seed"], row["step"]) for row in (rows[0], rows[99], rows[100])] == [
        ("4", "1"),
        ("4", "100"),
        ("5", "1"),
    ]
    assert len(rows) == 196
    record = json.loads((tmp_path / "lr_find.json").read_text())
    assert record["recipe"]["dataset"] == "digits" and "packages" in record
    assert record["seeds"]["5"]["steps"] == 96 and record["seeds"]["4"]["stopped"] is None
    rates = [answer["rate"] for answer in record["suggestions"].values() if answer["rate"]]
    middle = math.exp(np.median(np.log(rates)))
    peak = parser.parse(record["schedule"])["max"]
    assert peak == pytest.approx(middle, rel=0.01)
    text = report.text(Recipe(dataset="digits"))
    assert "2 of 2 seeds" in text and "seed 5: stopped at rate" in text
    assert f"--schedule='{record['schedule']}'" in text.splitlines()


def test_a_report_without_an_answer_says_so():
    sweep = _losses(steps=12, stopped="the loss is nan")
    text = report_losses(Recipe(), {0: sweep}, 100).text(Recipe())
    assert text.count("none      12 steps are too few") == 4
    assert text.endswith("no schedule to propose: try other rates (--start, --end) or more steps")


def test_a_report_of_accuracies_states_the_criterion():
    sweep, found = _accuracies([0.1, 0.1, 0.1] + [0.8] * 9)
    report = report_accuracies(Recipe(), {0: sweep}, {0: found})
    assert report.table.columns.tolist() == [
        "seed", "step", "rate", "val_accuracy", "smoothed_accuracy", "smoothed_loss",
    ]  # fmt: skip
    assert report.table["step"].tolist() == list(range(3, 37, 3))
    assert report.schedule == triangle(Recipe(), 0.11, 0.35)
    assert "0.800, 1.00 × the best: it stays high" in report.text(Recipe())
    assert report.seeds[0]["stays_high"] is True


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [(1e-4, 1e-4, 1e-4, 1e-4), (1e-6, 2e-6, 9.0, 10.0)])
def test_labels_overlap_neither_each_other_nor_a_line(rates):
    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 10)
    mark(axes, dict(zip(("valley", "steepest", "minimum/10", "slide"), rates, strict=True)))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    lines = [line.get_window_extent() for line in axes.lines]
    whole = figure.bbox
    plt.close(figure)
    assert len(boxes) == len(lines) == 4
    for number_, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number_ + 1 :])
        assert not any(box.overlaps(line) for line in lines)
        assert box.x1 <= whole.x1 and box.y1 <= whole.y1


def _picture(path, draw, *arguments):
    draw(path, *arguments, "a test")
    picture = matplotlib.image.imread(path)
    assert picture.shape == (715, 1040, 4) and plt.get_fignums() == []
    return picture


@pytest.mark.parametrize(
    "sweeps",
    [
        {0: _losses()},
        {0: _losses(0), 1: _losses(1, steps=97), 2: _losses(2, steps=90)},
        {0: Sweep([1e-6], [math.nan], [math.nan], [], "the loss is nan")},
    ],
    ids=["one", "several", "not finite"],
)
def test_losses_are_drawn(tmp_path, sweeps):
    answers = report_losses(Recipe(), sweeps, 100).answers
    path = tmp_path / "lr_find.png"
    plain = _picture(path, plot_losses, sweeps, {}, True)
    marked = _picture(path, plot_losses, sweeps, answers, True)
    assert (plain != marked).any()


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("values", [[0.1, 0.3] + [0.8] * 10, []], ids=["whole", "not finite"])
def test_accuracies_are_drawn(tmp_path, seeds, values):
    sweep, found = _accuracies(values)
    sweeps, ranges = dict.fromkeys(range(seeds), sweep), dict.fromkeys(range(seeds), found)
    bounds = report_accuracies(Recipe(), sweeps, ranges).answers
    rates = [0.02 + 0.03 * i for i in range(12)]
    _picture(tmp_path / "lr_find.png", plot_accuracies, rates, sweeps, ranges, bounds, False)
