"""tools/export_consumers.py's table, with consumers that need no package."""

from pathlib import Path

import export_consumers
import numpy as np
import pytest

LOGITS = np.float32([[1, 2], [20, 3]])


def _failing(export, images):
    raise ValueError("no such operation\nin a graph")


def _table(monkeypatch, capsys, **consumers):
    monkeypatch.setattr(export_consumers, "real_images", lambda export: np.zeros((2, 4, 4, 3)))
    monkeypatch.setattr(export_consumers, "tensorflow", lambda export, images: LOGITS)
    named = {name: (consumer, ("numpy",)) for name, consumer in consumers.items()}
    monkeypatch.setattr(export_consumers, "CONSUMERS", named)
    code = export_consumers.main(["a/export", "b/export"])
    return code, capsys.readouterr().out.splitlines()


def test_a_row_a_consumer_with_the_difference_and_the_classes(monkeypatch, capsys):
    near = LOGITS + np.float32([[0, 0], [0.0015, 0]])  # allowed: 1e-4 of 20
    code, lines = _table(monkeypatch, capsys, near=lambda export, images: near)
    assert code == 0
    assert lines[0] == f"| consumer | versions | {Path('a/export')} | {Path('b/export')} |"
    cell = "1.5e-03, 2 of 2"
    assert lines[2] == f"| near | numpy {np.__version__} | {cell} | {cell} |"


@pytest.mark.parametrize(
    ("consumer", "cell"),
    [
        (lambda export, images: LOGITS + np.float32([[1.5, 0], [0, 0]]), "1.5e+00, 1 of 2"),
        (lambda export, images: LOGITS * np.nan, "nan, 1 of 2"),
        (_failing, "ValueError: no such operation"),
    ],
)
def test_a_consumer_that_is_off_or_fails_is_named(monkeypatch, capsys, consumer, cell):
    code, lines = _table(monkeypatch, capsys, other=consumer)
    assert code == 1
    assert f"| {cell} |" in lines[2]
