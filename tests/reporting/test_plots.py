"""curves.png: that it is a whole picture and shows what the run has."""

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tfsc.reporting.plots import plot_curves

_RATES = (np.linspace(0, 25, 200), np.linspace(1e-3, 1e-5, 200))


def _history(epochs, ema=False):
    rows = []
    for epoch in range(1, epochs + 1):
        accuracy = 0.93 - 0.5 / epoch
        row = {
            "epoch": epoch,
            "train_loss": 1.5 / epoch,
            "train_accuracy": accuracy + 0.03,
            "val_loss": 1.8 / epoch,
            "val_accuracy": accuracy,
        }
        if ema:
            row |= {"ema_val_loss": 1.2 / epoch, "ema_val_accuracy": accuracy - 0.1}
        rows.append(row)
    return rows


def _draw(path, history, rates=_RATES, title="a run"):
    plot_curves(path, history, rates, title, epochs=25)
    return matplotlib.image.imread(path)


def _pixels(picture, color):
    """How many pixels have exactly a named color (the inside of its lines and markers)."""
    return int((np.abs(picture[..., :3] - to_rgb(color)).max(axis=-1) < 1 / 255).sum())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """By number of epochs, the file and its pixels."""
    folder = tmp_path_factory.mktemp("curves")
    paths = {epochs: folder / f"{epochs}.png" for epochs in (1, 25)}
    return {epochs: (path, _draw(path, _history(epochs))) for epochs, path in paths.items()}


@pytest.mark.parametrize("epochs", [1, 25])
def test_curves_are_a_png_with_training_validation_and_the_target_lines(drawn, epochs):
    path, picture = drawn[epochs]
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.shape == (1200, 960, 4)
    assert _pixels(picture, "tab:red") > 20
    assert _pixels(picture, "tab:blue") > 20
    assert _pixels(picture, "tab:purple") == 0
    # The lines are thinner than two pixels and so never purely green; 0.93 is dotted.
    red, green, blue = np.moveaxis(picture[..., :3], -1, 0)
    greenish = (green - np.maximum(red, blue) > 0.2).sum(axis=1)
    solid, dotted = np.flatnonzero(greenish > 700), np.flatnonzero(greenish > 200)
    assert len(solid) > 0
    assert dotted.min() < solid.min()


@pytest.mark.parametrize("epochs", [1, 25])
def test_averaged_weights_have_curves_of_their_own(tmp_path, epochs):
    picture = _draw(tmp_path / "curves.png", _history(epochs, ema=True))
    assert _pixels(picture, "tab:purple") > 20


def test_longer_curves_have_more_ink(drawn):
    short, long = (drawn[epochs][1] for epochs in (1, 25))
    assert _pixels(long, "tab:blue") > _pixels(short, "tab:blue")


def test_an_infinite_loss_leaves_a_gap(tmp_path):
    history = _history(5)
    history[2] |= {"val_loss": float("inf"), "train_loss": float("nan")}
    assert _pixels(_draw(tmp_path / "curves.png", history), "tab:blue") > 20


def test_a_rate_of_zero_can_be_drawn(tmp_path):
    picture = _draw(tmp_path / "curves.png", _history(3), rates=(np.arange(4), np.zeros(4)))
    assert picture.shape == (1200, 960, 4)


def test_a_new_picture_takes_the_place_of_the_old_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "curves.png"
    path.write_text("the old")
    assert _draw(path, _history(2)).shape == (1200, 960, 4)
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    assert plt.get_fignums() == []  # an open figure an epoch would fill the memory
