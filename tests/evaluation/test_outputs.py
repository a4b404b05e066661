"""Logits or probabilities: a network with a softmax behind it scores as the one without."""

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.data.source import load
from tfsc.errors import ExportError
from tfsc.evaluation.evaluate import score_columns
from tfsc.evaluation.outputs import Outputs
from tfsc.exports.exported_model import read_export


def _softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(2, 1000), st.sampled_from([0.01, 1.0, 10.0]))
def test_probabilities_are_recognised_and_undone_to_a_constant_in_each_row(seed, classes, scale):
    logits = np.random.default_rng(seed).normal(0, scale, (5, classes))
    outputs = Outputs()
    found = outputs.logits(_softmax(logits))
    assert outputs.kind == "probabilities"
    np.testing.assert_allclose(_softmax(found), _softmax(logits), rtol=1e-5, atol=1e-30)
    outputs = Outputs()
    assert outputs.logits(logits) is logits and outputs.kind == "logits"


@pytest.mark.parametrize(
    "rows",
    [
        [[0.5, 0.5], [0.9, 0.2]],  # a sigmoid for each class
        [[1.5, -0.5], [0.5, 0.5]],
        [[0.5, 0.5], [0.0, 0.0]],
        [[0.5, 0.5], [np.nan, 1.0]],
        [[0.5, 0.5], [np.inf, 0.0]],
    ],
)
def test_one_row_that_is_no_distribution_makes_them_logits(rows):
    outputs = Outputs()
    outputs.logits(np.float32(rows))
    assert outputs.kind == "logits"
    with pytest.raises(ExportError, match="--outputs=probabilities: the model's outputs"):
        Outputs("probabilities").logits(np.float32(rows))


def test_what_was_decided_by_the_first_outputs_holds_for_the_next():
    outputs = Outputs()
    outputs.logits(np.float32([[3, -1]]))
    assert outputs.logits(np.float32([[0.5, 0.5]])).tolist() == [[0.5, 0.5]]
    assert outputs.kind == "logits"


def test_a_flag_decides():
    rows = np.float32([[0.25, 0.75]])
    assert Outputs("logits").logits(rows).tolist() == rows.tolist()
    np.testing.assert_allclose(Outputs("probabilities").logits(rows), np.log(rows))


def test_a_probability_that_was_rounded_to_0_has_a_finite_logarithm():
    (row,) = Outputs().logits(np.float32([[0, 1]]))
    assert row[0] == pytest.approx(-87.336544) and row[1] == 0


def _foreign(softmax, policy="float32"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(0, 0.03)),
        ]
    )
    if softmax:
        model.add(keras.layers.Softmax(dtype=policy))
    return model


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
def test_a_foreign_model_that_ends_in_softmax_scores_as_without_it(tmp_path, policy):
    val = load("digits").test
    scores = []
    for softmax in (False, True):
        path = tmp_path / f"{softmax}.keras"
        _foreign(softmax, policy).save(path)
        outputs = Outputs()
        scores.append(score_columns(read_export(path), val, 10, Path("m"), outputs))
        assert outputs.kind == ("probabilities" if softmax else "logits")
    plain, with_softmax = scores
    tolerance = 1e-5 if policy == "float32" else 0.02
    for column in plain:
        for measure in ("accuracy", "nll", "ece", "brier"):
            one, two = (getattr(found[column], measure) for found in scores)
            assert two == pytest.approx(one, abs=tolerance), (column, measure)
    # What scoring probabilities as logits gave.
    wrong = score_columns(read_export(path), val, 10, Path("m"), Outputs("logits"))["plain"]
    assert wrong.accuracy == with_softmax["plain"].accuracy
    assert abs(wrong.nll - plain["plain"].nll) > 0.1


def test_outputs_between_0_and_1_that_do_not_sum_to_1_are_doubtful_logits():
    for outputs, doubtful in (
        (np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.3]]), True),  # a sigmoid's
        (np.array([[0.9, 0.05, 0.05]]), False),
        (np.array([[4.0, -1.0, 0.5]]), False),
    ):
        reading = Outputs()
        reading.logits(outputs)
        assert reading.is_doubtful == doubtful
