"""The commands that list families and show a text: each run as a user runs it."""

import re

import matplotlib.image
import pytest
from commands import call, call_warm

from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.averages.catalog import AVERAGES
from tfsc.inputs.catalog import INPUTS
from tfsc.losses.catalog import LOSSES
from tfsc.models.catalog import NETWORKS
from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS

_LISTED = {
    "models": [NETWORKS],
    "inputs": [INPUTS],
    "augment": [AUGMENTATIONS],
    "optimizers": [OPTIMIZERS, CLIPS],
    "averages": [AVERAGES],
    "losses": [LOSSES],
}


@pytest.mark.parametrize("command", _LISTED)
def test_every_family_and_parameter_is_listed(command, tmp_path):
    result = call(command, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    for catalog in _LISTED[command]:
        for family in catalog.values():
            assert family.signature() in text and family.about in text
            for name, parameter in family.parameters.items():
                about = f"{parameter.about}; " if parameter.about else ""
                assert f"{name} {about}{parameter.rule}" in text
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        ("inputs", "standardize whiten", "standardize(mean=channel) whiten(count=5000)"),
        ("inputs", "none", "none"),
        (
            "optimizers",
            "lookahead(muon(0.7, rest=sgd(0.85)))",
            "lookahead(inner=muon(momentum=0.7, nesterov=true, steps=3, rest=sgd(momentum=0.85, "
            "nesterov=false)), every=5, alpha=0.5)",
        ),
        ("averages", "lookahead(0.774)", "lookahead(decay=0.774, every=5, power=3)"),
        ("losses", "cross_entropy", "cross_entropy(smoothing=0)"),
    ],
)
def test_a_text_is_shown_with_all_its_arguments(command, text, shown, tmp_path):
    result = call(command, f"--show={text}", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{shown}\n", "")


def test_the_layers_of_a_network_are_shown_with_their_weights(tmp_path):
    result = call_warm("models", "--show=resnet_v1([1])", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    first, *layers, last = result.stdout.splitlines()
    assert first.startswith("resnet_v1(units=[1], shortcut=zeros, activation=relu, ")
    assert re.search(r"^  stem_conv +Conv2D +32×32×16 +432$", result.stdout, re.MULTILINE)
    # Three convolutions and BatchNorms of 16 channels, and 16·10 + 10 of the dense layer.
    trained = 432 + 2 * 9 * 16 * 16 + 3 * 2 * 16 + 170
    assert last == f"{trained + 3 * 2 * 16:,} weights, {trained:,} of them trainable"
    assert sum(int(line.split()[-1]) for line in layers if line.split()[-1].isdigit()) >= trained


def test_images_as_epochs_see_them_are_drawn(tmp_path):
    text = "crop(2) flip(alternating)"
    result = call_warm("augment", f"--show={text}", "--out=drawn.png", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "crop(size=2) flip(which=alternating)\npicture: drawn.png\n"
    picture = matplotlib.image.imread(tmp_path / "drawn.png")
    assert picture.shape[0] > 500 and picture.shape[1] > 800
    assert picture[..., :3].std() > 0.1  # something is drawn


@pytest.mark.parametrize(
    ("command", "text", "message", "caret_under"),
    [
        ("models", "resnet_v9", "no network is named 'resnet_v9'", "resnet_v9"),
        ("augment", "flip flip", "flip is given twice", "flip"),
        ("inputs", "scale(0)", "factor of scale must be above 0", "0)"),
        ("losses", "cross_entropy(2)", "smoothing of cross_entropy must be from 0", "2)"),
    ],
)
def test_a_text_that_breaks_a_rule_is_shown_with_a_caret(
    command, text, message, caret_under, tmp_path
):
    result = call(command, f"--show={text}", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    first, shown, caret = result.stderr.rstrip().split("\n")
    assert first.startswith(f"tfsc.{command}: --show: {message}")
    assert shown[caret.index("^") :] == caret_under


def test_a_network_that_32_pixels_are_too_few_for_is_refused_in_one_line(tmp_path):
    result = call_warm("models", "--show=resnet_v1([1,1,1,1,1,1,1])", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("tfsc.models: --show: resnet_v1([1,1,1,1,1,1,1]) needs images")
    assert len(result.stderr.splitlines()) == 1
