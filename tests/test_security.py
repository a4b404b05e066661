"""Rules for all code of tfsc, read from its source."""

import ast
import re

import pytest
from commands import ROOT

SOURCES = sorted(path for folder in ("tfsc", "tools") for path in (ROOT / folder).rglob("*.py"))
_UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _faults(source: str) -> list[str]:
    """What in a file could run code from data, or open it to the network."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [f"imports {n}" for n in names if n.split(".")[0] in _UNPICKLING]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in ("np.load", "np.save") and given.get("allow_pickle") != "False":
            found.append(f"{name} without allow_pickle=False")
        if name.endswith("load_model") and given.get("safe_mode") != "True":
            found.append(f"{name} without safe_mode=True")
        if name in ("eval", "exec", "os.system", "yaml.load", "torch.load"):
            found.append(name)
        if given.get("shell") == "True":
            found.append(f"{name} with shell=True")
        if name.endswith((".extractall", ".unpack_archive")) and "filter" not in given:
            found.append(f"{name} without a filter")
        if any(value in ("'0.0.0.0'", "'::'") for value in (*given.values(), *_texts(node))):
            found.append(f"{name} on all interfaces")
    return found


def _texts(call: ast.Call) -> list[str]:
    return [
        ast.unparse(argument) for argument in ast.walk(call) if isinstance(argument, ast.Constant)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_comes_from_data_and_no_port_faces_outwards(path):
    assert _faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.save(path, x, allow_pickle=True)",
        "keras.saving.load_model(path, safe_mode=False)",
        "keras.models.load_model(path)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "server.bind(('0.0.0.0', 6006))",
        "serve(host='0.0.0.0')",
    ],
)
def test_each_rule_finds_its_fault(line):
    assert len(_faults(line)) >= 1


def test_tensorboard_is_started_on_the_loopback_interface_only(fault):
    """In every document and script: TensorBoard's default may change, and --bind_all is a click."""
    tools = [path for path in (ROOT / "tools").rglob("*") if path.suffix in ("", ".sh", ".py")]
    assert ROOT / "tools" / "bench" / "measure.py" in tools and ROOT / "tools" / "test" in tools
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *tools]
    commands = [
        line.strip()
        for path in texts
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(python -m )?tensorboard(\.main)? -", line)
    ]
    assert commands
    assert all("--host=127.0.0.1" in line and "--bind_all" not in line for line in commands)
    fault("security", "servers in code, tools and documents", "TensorBoard only, on 127.0.0.1")


def test_the_rules_are_those_of_the_table(fault):
    assert len(SOURCES) > 50
    fault("security", "pickle, eval, shell=True, unsafe loading in any source file", "none found")
