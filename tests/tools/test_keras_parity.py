"""tools/keras_parity.py: what counts as parity with Keras, and the page that says it."""

import subprocess
import sys
from pathlib import Path

import keras_parity
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "keras-parity.md"


def _rows():
    """As a run would have them: every pattern's test fails, one passes."""
    failed = [
        keras_parity.Row(pattern.replace("*", "x"), ("FusedSGD",), "LeftOutError: no")
        for pattern in keras_parity.LEFT_OUT
    ]
    return [*failed, keras_parity.Row("a_test.py::T::test_b", ("FusedSGD", "Lion"), "")]


def test_what_is_left_out_is_no_surprise():
    assert keras_parity.surprises(_rows()) == []


def test_what_fails_without_a_reason_is_one():
    rows = [*_rows(), keras_parity.Row("a_test.py::T::test_c", ("Lion",), "ValueError: x\ny")]
    assert keras_parity.surprises(rows) == ["a_test.py::T::test_c fails: ValueError: x"]
    assert "**unexpected**: ValueError: x | `T.test_c`" in keras_parity.report(rows, "1")


def test_so_is_what_passes_in_spite_of_one_and_a_reason_for_nothing():
    first, *others = _rows()
    passed = keras_parity.Row(first.test, first.made, "")
    assert keras_parity.surprises([passed, *others]) == [
        f"{first.test} passes, but LEFT_OUT has it"
    ]
    pattern = next(iter(keras_parity.LEFT_OUT))
    assert keras_parity.surprises(others) == [f"LEFT_OUT has {pattern}, which is no test"]


def test_classes_are_counted_each_for_itself():
    text = keras_parity.report(_rows(), "3.15.1")
    n = len(keras_parity.LEFT_OUT)
    assert f"| FusedSGD | {n + 1} | 1 |\n| Lion | 1 | 1 |" in text
    assert f"| all (a test may make several) | {n + 1} | 1 |" in text
    assert "that Keras 3.15.1\nbrings" in text


def test_a_folder_without_tests_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        keras_parity.main([f"--tests={tmp_path}"])
    assert "must hold Keras' tests, such as optimizers/sgd_test.py" in capsys.readouterr().err


def test_the_page_has_every_reason():
    text = PAGE.read_text(encoding="utf-8")
    assert all(reason in text for reason in keras_parity.LEFT_OUT.values())
    assert "unexpected" not in text


@pytest.mark.slow  # half a minute; what it guards are parity tests of tests/optimizers as well
def test_keras_own_tests_give_the_page(tmp_path):
    command = [sys.executable, ROOT / "tools/keras_parity.py", f"--out={tmp_path / 'page.md'}"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
