"""The notebooks: their cells run as they are stored, and what is stored came from them."""

import base64
import json
import re

import notebook_cells
import pytest
from commands import ROOT

SUPER, OWN = "super-convergence.ipynb", "own-keras-model.ipynb"
NAMES = [SUPER, OWN]


def _ran(name, folder, answer):
    """What an expression says when the cells have run; each had the outputs that are stored."""
    cells = notebook_cells.cells(name, "code")
    found = notebook_cells.run([notebook_cells.source(cell) for cell in cells], folder, answer)
    assert found["backend"] == "svg"  # the notebook's own: its pictures are shown
    for cell, printed, figures in zip(cells, found["printed"], found["figures"], strict=True):
        kinds = [output["output_type"] for output in cell["outputs"]]
        assert ("stream" in kinds) == bool(printed)
        assert kinds.count("display_data") == figures
    return found["answer"]


def test_one_cycle_gets_there_sooner_and_further(tmp_path):
    answer = _ran(
        SUPER,
        tmp_path,
        """{
            "peak": max(map(cycle.value, steps)),
            "careful": float(careful),
            "fast": list(one_cycle["val_accuracy"]),
            "slow": list(constant["val_accuracy"]),
            "there": int(there),
        }""",
    )
    assert answer["peak"] > 10 * answer["careful"]
    assert answer["fast"][-1] > 0.95 and answer["fast"][-1] > answer["slow"][-1]
    assert answer["there"] < len(answer["slow"])


def test_the_pieces_work_in_a_model_of_ones_own_and_another_program_loads_it(tmp_path):
    answer = _ran(
        OWN,
        tmp_path,
        """{
            "own": own_history.history["val_accuracy"],
            "averaged": averaged.accuracies,
            "of_parts": parts_history.history["val_accuracy"],
            "steps": [int(loaded.optimizer.iterations), total_steps],
            "same": bool(same.all()),
            "moved": float(shifted.std(axis=0).max()),
        }""",
    )
    for accuracies in (answer["own"], answer["averaged"], answer["of_parts"]):
        assert len(accuracies) == 8 and accuracies[-1] > 0.93
    assert answer["steps"] == [176, 176]
    assert answer["same"]
    assert answer["moved"] > 10  # grey levels: ten sample numbers, ten places
    (block,) = notebook_cells.blocks(OWN, "python")
    steps = "[int(model.optimizer.iterations) for model in (own, of_parts)]"
    assert notebook_cells.run([block], tmp_path, steps)["answer"] == [176, 176]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_whole_and_small_and_tells_of_no_machine(name):
    cells = notebook_cells.cells(name, "code")
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    for output in (output for cell in cells for output in cell["outputs"]):
        if output["output_type"] == "display_data":
            (kind,) = output["data"]
            picture = base64.b64decode(output["data"][kind])
            assert kind == "image/png" and picture.startswith(b"\x89PNG")
            assert 1000 < len(picture) <= 60_000
        else:  # no error, no bare value, no warning
            assert (output["output_type"], output.get("name")) == ("stream", "stdout")
    text = (notebook_cells.FOLDER / name).read_text(encoding="utf-8")
    assert json.loads(text)["metadata"].keys() == {"kernelspec"}
    assert not any(cell["metadata"] for cell in json.loads(text)["cells"])
    assert not re.search(r"/(?:home|root|tmp|work|Users)/|\.\./shared", text)


@pytest.mark.parametrize("name", NAMES)
def test_links_and_flagfiles_are_there(name):
    text = "\n".join(notebook_cells.source(cell) for cell in notebook_cells.cells(name, "markdown"))
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) >= 4
    for link in links:
        assert (notebook_cells.FOLDER / link).exists(), link
    for flagfile in re.findall(r"--flagfile=(\S+)", text):
        assert (ROOT / flagfile).exists(), flagfile
