"""Which models `tfsc.evaluate` can score on which data."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tfsc.data.examples import Examples
from tfsc.data.source import load
from tfsc.errors import ExportError
from tfsc.evaluation import evaluate as evaluating
from tfsc.evaluation.evaluate import evaluate, score_columns
from tfsc.exports.exported_model import ExportedModel

VAL = Examples(np.zeros((6, 4, 4, 1), np.uint8), np.array([0, 1, 2, 0, 1, 2], np.int32))


def _model(logits):
    return ExportedModel(lambda images: logits[: len(images)], (4, 4, 1), None, None, None)


def test_a_model_for_these_classes_is_scored():
    columns = score_columns(_model(np.eye(3)[VAL.labels]), VAL, 3, Path("model"))
    assert {name: scores.accuracy for name, scores in columns.items()} == {
        "plain": 1.0,
        "flip-TTA": 1.0,
        "6-view TTA": 1.0,
    }


@pytest.mark.parametrize("classes", [2, 4, 1000])
def test_another_number_of_classes_is_refused(classes):
    with pytest.raises(ExportError, match=rf"each of the 3 classes, has {classes}$"):
        score_columns(_model(np.zeros((6, classes))), VAL, 3, Path("model"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_no_result(value, fault):
    logits = np.zeros((6, 3))
    logits[4, 1] = value
    with pytest.raises(ExportError, match="its logits are not finite") as caught:
        score_columns(_model(logits), VAL, 3, Path("model"))
    fault("numbers", "tfsc.evaluate on a model whose logits are not finite", str(caught.value))


def test_outputs_in_another_order_are_mapped():
    # The model's outputs are classes 2, 0, 1 of the set.
    logits = np.eye(3)[VAL.labels][:, [2, 0, 1]]
    assert score_columns(_model(logits), VAL, 3, Path("model"))["plain"].accuracy == 0
    columns = score_columns(_model(logits), VAL, 3, Path("model"), order=[1, 2, 0])
    assert {scores.accuracy for scores in columns.values()} == {1.0}


def _export_naming(names):
    """An export of digits' images that knows the class of each, by these names."""
    source = load("digits")
    label = dict(
        zip((image.tobytes() for image in source.test.images), source.test.labels, strict=True)
    )

    def logits(images):
        known = [label.get(image.tobytes(), 0) for image in images]
        # Digit d is the output that is named so.
        place = [names.index(str(d)) if str(d) in names else d for d in known]
        return np.eye(10, dtype=np.float32)[place] * 5 - 1

    return ExportedModel(logits, (32, 32, 3), names, None, None)


@pytest.mark.parametrize(
    ("names", "class_names", "outcome", "accuracy"),
    [
        (tuple("0123456789"), "check", "same", 1.0),
        (tuple("9876543210"), "check", "mapped", 1.0),
        (tuple("9876543210"), "ignore", "not compared", 0.0),
        (None, "check", "not compared", 1.0),
        (tuple("abcdefghij"), "ignore", "not compared", 1.0),
    ],
)
def test_classes_are_compared_by_name(
    names, class_names, outcome, accuracy, tmp_path, monkeypatch, capsys
):
    model = _export_naming(names or tuple("0123456789"))
    monkeypatch.setattr(
        evaluating, "read_export", lambda _: dataclasses.replace(model, class_names=names)
    )
    given = {"dataset": "digits"}
    evaluate(Path("model"), tmp_path / "out", given, class_names)
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (report["class_names"], report["outputs"]) == (outcome, "logits")
    assert report["plain"]["accuracy"] == accuracy
    said = capsys.readouterr().out
    assert ("mapped by name" in said) == (outcome == "mapped")
    assert ("not compared" in said) == (outcome == "not compared")
    recall = (tmp_path / "out" / "per_class.csv").read_text().splitlines()[1]
    assert recall.split(",")[0] == "0"  # the set's names, in its order


def test_other_classes_are_refused(tmp_path, monkeypatch):
    model = _export_naming(tuple("abcdefghij"))
    monkeypatch.setattr(evaluating, "read_export", lambda _: model)
    with pytest.raises(ExportError) as caught:
        evaluate(Path("model"), tmp_path / "out", {"dataset": "digits"})
    assert "its class 0 is 'a', that of --dataset=digits is '0'" in str(caught.value)
    assert not (tmp_path / "out").exists()
