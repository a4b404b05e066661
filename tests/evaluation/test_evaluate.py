"""Which models `tfsc.evaluate` can score on which data."""

from pathlib import Path

import numpy as np
import pytest

from tfsc.data.examples import Examples
from tfsc.errors import ExportError
from tfsc.evaluation import evaluate as module
from tfsc.evaluation.evaluate import score_columns
from tfsc.evaluation.exported import ExportedModel
from tfsc.recipe import Recipe

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


@pytest.mark.parametrize(("precision", "warned"), [("bf16", 1), ("fp32", 0)])
def test_a_model_in_slow_bf16_is_warned_of(monkeypatch, caplog, precision, warned):
    """After a run on another machine, where it was fast."""
    monkeypatch.setattr(module.bf16, "obstacle", lambda: "no instructions")
    recipe = Recipe(dataset="digits", precision=precision)
    model = ExportedModel(lambda images: images, (1, 1, 1), None, recipe, None)
    monkeypatch.setattr(module, "read_export", lambda path: model)
    with pytest.raises(ExportError, match="takes images of"):
        module.evaluate(Path("model"), None, {})
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the model computes in bf16, which is slow here: no instructions"] * warned


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_no_result(value, fault):
    logits = np.zeros((6, 3))
    logits[4, 1] = value
    with pytest.raises(ExportError, match="its logits are not finite") as caught:
        score_columns(_model(logits), VAL, 3, Path("model"))
    fault("numbers", "tfsc.evaluate on a model whose logits are not finite", str(caught.value))
