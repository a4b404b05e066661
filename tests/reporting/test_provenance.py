"""provenance.json: enough to say where a number comes from."""

import json
import subprocess
from pathlib import Path

import pytest

import tfsc
from tfsc.data.source import load
from tfsc.reporting.provenance import _PACKAGE, _commit, other_rounding, provenance


def test_it_names_data_versions_device_and_command():
    native = {"level": "avx2", "norm": False, "winograd": True, "augment": True}
    came_to = {"precision": "fp32", "native": native}
    record = json.loads(json.dumps(provenance(load("digits"), "0123456789abcdef", came_to)))
    assert record["native"] == native and record["precision"] == "fp32"
    assert record["dataset"]["name"] == "digits" and len(record["dataset"]["digest"]) == 16
    assert record["recipe_digest"] == "0123456789abcdef"
    assert record["command"][:3] == ["python", "-m", "tfsc.train"]
    assert record["packages"]["keras"].startswith("3.")
    assert record["device"]["threads"] >= 1 and record["device"]["cpu"]
    commit = record["commit"]
    assert commit is None or len(commit["id"]) == 40


_LIBRARY = "0123456789abcdef"
_USED = {"norm": True, "winograd": True, "augment": True}
_ALL = {"library": _LIBRARY, **_USED}
_OF_OLD = {"library": "of another version", **_USED}
_ALL_BEFORE = {"fused_norm": True, "winograd": True, "fused_augment": True}


@pytest.mark.parametrize(
    ("begun", "now"),
    [
        ({"native": {"level": "avx2", **_ALL}}, {"native": {"level": "avx2", **_ALL}}),
        # As they were recorded before --native, and before there was anything in C++.
        ({"native_level": "avx512", **_ALL_BEFORE}, {"native": {"level": "avx512", **_OF_OLD}}),
        ({}, {"native": {"level": "", "library": "", **dict.fromkeys(_USED, False)}}),
    ],
)
def test_the_same_in_cpp_is_nothing_to_say(begun, now):
    assert other_rounding([begun, {"native": {"level": "between", "library": ""}}, now]) == ""


@pytest.mark.parametrize(
    ("begun", "now", "said"),
    [
        (
            {"native": {"level": "avx2", **_ALL}},
            {"native": {"level": "avx512", **_ALL}},
            f"norm, winograd, augment (avx2, {_LIBRARY}) in C++, goes on with norm, winograd, "
            f"augment (avx512, {_LIBRARY})",
        ),
        (
            {"native_level": "avx2", **_ALL_BEFORE, "winograd": False},
            {"native": {"level": "avx2", **_ALL}},
            "norm, augment (avx2, of another version) in C++, goes on with norm, winograd, augment",
        ),
        ({}, {"native": {"level": "avx2", **_ALL, "norm": False}}, "nothing in C++, goes on"),
        (
            {"native": {"level": "avx2", **_ALL}},
            {"native": {"level": "avx2", **_ALL, "pointwise": True}},
            "goes on with norm, pointwise, winograd, augment (avx2,",
        ),
        (
            {"native": {"level": "avx2", **_ALL}},
            {"native": {"level": "avx2", **_ALL, "library": "fedcba9876543210"}},
            "augment (avx2, fedcba9876543210)",
        ),
        (
            {"native": {"level": "avx2", **_ALL}},
            {"native": {"level": "", "library": "", **dict.fromkeys(_USED, False)}},
            f"(avx2, {_LIBRARY}) in C++, goes on with nothing: the same within rounding, not to",
        ),
    ],
)
def test_another_level_or_operation_in_cpp_rounds_otherwise(begun, now, said):
    line = other_rounding([begun, now])
    assert line.startswith("begun with ") and said in line
    assert line.endswith(": the same within rounding, not to the last bit")
    assert line.isprintable()


def test_a_change_anywhere_in_the_package_is_seen(tmp_path):
    """It was looked for in tfsc/reporting alone."""
    assert Path(tfsc.__file__).parent == _PACKAGE
    assert _commit(tmp_path) is None

    def git(*words):
        author = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "package"
    (package / "models").mkdir(parents=True)
    (package / "models" / "norm.py").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "notes").write_text("beside the package")
    assert _commit(package)["changed"] is False
    (package / "models" / "norm.py").write_text("2")
    assert _commit(package)["changed"] is True
    git("add", ".")
    assert _commit(package)["changed"] is True
