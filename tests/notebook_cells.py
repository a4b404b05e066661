"""What test_notebooks shares with the processes it starts: the cells of a notebook, and one run."""

import contextlib
import io
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from commands import _WARM, ROOT, environment

FOLDER = ROOT / "notebooks"


def cells(name: str, kind: str) -> list[dict[str, Any]]:
    """Cells of a kind, "code" or "markdown", as they are stored."""
    notebook = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def blocks(name: str, language: str) -> list[str]:
    """Fenced blocks of a notebook's text."""
    text = "\n".join(source(cell) for cell in cells(name, "markdown"))
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(sources: list[str], folder: Path, answer: str = "None") -> dict[str, Any]:
    """Execute sources in order, in one namespace, a process of their own and a folder.

    Args:
        sources: Python.
        folder: the working directory.
        answer: an expression of what they leave, to be written as JSON.

    Returns:
        "printed" (a text a source), "figures" (new ones, a source), "backend" (matplotlib's at the
        end), "answer".
    """
    result = folder / "notebook-result.json"
    process = _WARM.Process(target=_run_here, args=(sources, folder, answer, result))
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        process.join()
    found = json.loads(result.read_text(encoding="utf-8"))
    assert "error" not in found, found["error"]
    return found


def _run_here(sources: list[str], folder: Path, answer: str, result: Path) -> None:
    os.environ.clear()
    os.environ.update(environment(), TF_CPP_MIN_LOG_LEVEL="3")
    os.chdir(folder)
    sys.path.insert(0, str(ROOT))
    result.write_text(json.dumps({"error": "ended before its end"}), encoding="utf-8")
    found: dict[str, Any] = {"printed": [], "figures": []}
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        import matplotlib
        import matplotlib.pyplot as plt

        # Draws no windows either, and is not what tfsc would choose: it must survive the imports.
        matplotlib.use("svg")
        for number, text in enumerate(sources):
            before = len(plt.get_fignums())
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(text, f"cell {number}", "exec"), namespace)
            found["printed"].append(printed.getvalue())
            found["figures"].append(len(plt.get_fignums()) - before)
        found["backend"] = plt.get_backend()
        found["answer"] = eval(answer, namespace)
    except BaseException:
        found = {"error": traceback.format_exc()}
    result.write_text(json.dumps(found), encoding="utf-8")
