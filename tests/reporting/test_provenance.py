"""provenance.json: enough to say where a number comes from."""

import json
import subprocess
from pathlib import Path

import tfsc
from tfsc.data.source import load
from tfsc.reporting.provenance import _PACKAGE, _commit, provenance


def test_it_names_data_versions_device_and_command():
    native = {"winograd": True, "fused_norm": False, "fused_augment": True}
    record = json.loads(json.dumps(provenance(load("digits"), "0123456789abcdef", native)))
    assert record["winograd"] is True and record["fused_norm"] is False
    assert record["dataset"]["name"] == "digits" and len(record["dataset"]["digest"]) == 16
    assert record["recipe_digest"] == "0123456789abcdef"
    assert record["command"][:3] == ["python", "-m", "tfsc.train"]
    assert record["packages"]["keras"].startswith("3.")
    assert record["device"]["threads"] >= 1 and record["device"]["cpu"]
    commit = record["commit"]
    assert commit is None or len(commit["id"]) == 40


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
