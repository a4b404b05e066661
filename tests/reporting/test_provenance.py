"""provenance.json: enough to say where a number comes from."""

import json

from tfsc.data.source import load
from tfsc.reporting.provenance import provenance


def test_it_names_data_versions_device_and_command():
    native = {"winograd": True, "fused_norm": False}
    record = json.loads(json.dumps(provenance(load("digits"), "0123456789abcdef", native)))
    assert record["winograd"] is True and record["fused_norm"] is False
    assert record["dataset"]["name"] == "digits" and len(record["dataset"]["digest"]) == 16
    assert record["recipe_digest"] == "0123456789abcdef"
    assert record["command"][:3] == ["python", "-m", "tfsc.train"]
    assert record["packages"]["keras"].startswith("3.")
    assert record["device"]["threads"] >= 1 and record["device"]["cpu"]
    commit = record["commit"]
    assert commit is None or len(commit["id"]) == 40
