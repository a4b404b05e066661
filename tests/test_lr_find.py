"""`python -m tfsc.lr_find` on real digits: from the command line, and the same in this process."""

import json
import re

import matplotlib.image
import pytest
from commands import ROOT, call, call_warm

from tfsc.errors import DataError
from tfsc.lr_finder import find as module
from tfsc.lr_finder.find import lr_find
from tfsc.lr_finder.options import ONLY_IN_FILES, SETTINGS, Options, recipe_names
from tfsc.recipe import Recipe

_RECIPE = Recipe(dataset="digits", model="resnet_v2([1])", train_examples=100, batch_size=10)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A test over two seeds, in a process of its own (what imports say, test_train.py sees)."""
    folder = tmp_path_factory.mktemp("lr_find")
    # It has settings that are not used here, and the length of a training.
    (folder / "training.flags").write_text(f"--flagfile={ROOT}/flags/digits.flags\n--steps=500\n")
    result = call_warm(
        "lr_find",
        "--flagfile=training.flags",
        "--augment=shift(0.07) flip",
        "--wd=0.19",
        "--epochs=25",
        "--model=resnet_v2([1])",
        "--train_examples=100",
        "--batch_size=10",
        "--num_steps=32",
        "--seeds=2",
        "--out=found",
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder / "found", result.stdout


def test_it_leaves_a_table_a_picture_and_json_and_prints_what_to_paste(found):
    folder, output = found
    assert {path.name for path in folder.iterdir()} == {
        "lr_find.csv", "lr_find.png", "lr_find.json",
    }  # fmt: skip
    record = json.loads((folder / "lr_find.json").read_text())
    assert list(record["seeds"]) == ["0", "1"]
    assert list(record["suggestions"]) == ["valley", "steepest", "minimum/10", "slide"]
    assert record["dataset"]["name"] == "digits" and record["options"]["num_steps"] == 32
    for rule in record["suggestions"]:
        assert f"\n{rule} " in output
    assert f"\n--schedule='{record['schedule']}'\n" in output
    assert matplotlib.image.imread(folder / "lr_find.png").ndim == 3


def test_it_tests_in_what_auto_is_here_and_warns_of_slow_bf16(
    monkeypatch, tmp_path, capsys, caplog
):
    monkeypatch.setattr(module.bf16, "obstacle", lambda devices=1: "no instructions")
    policies = []

    def stop(precision):
        policies.append(precision)
        raise DataError("enough")

    monkeypatch.setattr(module, "set_precision", stop)
    for precision in ("auto", "bf16"):
        recipe = _RECIPE.replace(precision=precision)
        with pytest.raises(DataError, match="enough"):
            lr_find(recipe, Options.of(recipe, out=str(tmp_path)))
    assert policies == ["fp32", "bf16"]
    assert capsys.readouterr().out == "--precision=auto: fp32 (no instructions)\n"
    assert [r.getMessage() for r in caplog.records] == [module.bf16.warning("bf16")]


def test_a_flagfiles_steps_are_those_of_the_training_that_is_proposed(found):
    _, output = found
    assert "seed 0: 32 steps, " in output
    assert " --steps=500 " in next(line for line in output.splitlines() if "tfsc.train" in line)


def test_each_seed_sees_bit_for_bit_what_it_sees_alone_in_another_process(found, tmp_path):
    options = Options.of(_RECIPE, num_steps=32, out=str(tmp_path))
    lr_find(_RECIPE.replace(seed=1), options)
    header, *rows = (tmp_path / "lr_find.csv").read_text().splitlines()
    both = (found[0] / "lr_find.csv").read_text().splitlines()
    assert header == both[0] == "seed,step,rate,loss,smoothed_loss"
    of_seed = {seed: [row for row in both if row.startswith(f"{seed},")] for seed in (0, 1)}
    assert rows == of_seed[1]
    assert [row.split(",")[3] for row in rows] != [row.split(",")[3] for row in of_seed[0]]
    assert rows[0].startswith("1,1,1e-06,")
    assert json.loads((tmp_path / "lr_find.json").read_text())["seeds"]["1"]["steps"] == len(rows)


def test_the_accuracy_is_measured_while_the_rate_rises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = _RECIPE.replace(optimizer="sgd(0.9)", wd=1e-4)
    options = Options.of(
        recipe, measure="accuracy", end=0.5, num_steps=19, evaluate_every=2, val_examples=50
    )
    report = lr_find(recipe, options)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("lr_find-accuracy-digits-resnet_v2-")
    assert report.table["step"].tolist() == list(range(2, 20, 2))
    assert report.table["rate"].tolist() == pytest.approx(
        [0.5 * (s - 1) / 18 for s in range(2, 20, 2)]
    )
    accuracies = report.table["val_accuracy"] * 50
    assert accuracies.tolist() == pytest.approx(accuracies.round().tolist(), abs=1e-4)
    assert report.seeds[0]["chance"] <= 0.12  # of 50 stratified digits
    assert "the mean accuracy is" in capsys.readouterr().out


def test_errors_in_data_come_before_anything_is_written(tmp_path):
    recipe = _RECIPE.replace(train_examples=5000)
    with pytest.raises(DataError, match="--train_examples=5000: must be at most the 1437"):
        lr_find(recipe, Options.of(recipe, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_help_shows_what_is_used_and_nothing_else(tmp_path):
    result = call("lr_find", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "python -m tfsc.lr_find" in result.stdout.split("Its own:")[0]
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", result.stdout, re.MULTILINE)
    assert set(shown) == {*recipe_names(), *SETTINGS} - set(ONLY_IN_FILES)
