"""tools/reference.py: the pages are what the code says, nothing missing, nothing stale."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import reference

from tfsc import recipe
from tfsc.__main__ import COMMANDS
from tfsc.schedules import catalog

TOOL = Path(reference.__file__)
SETTINGS = recipe.settings()
DEFAULTS = {name: getattr(recipe.Recipe, name) for name in SETTINGS}


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_the_committed_pages_are_those_of_the_code(pages):
    assert reference.stale(reference.FOLDER, pages) == []


def test_every_setting_has_a_heading_its_help_and_its_default(pages):
    headings = re.findall(r"^### (\w+)$", pages["flags.md"], re.MULTILINE)
    assert headings == list(SETTINGS)
    for name, setting in SETTINGS.items():
        _, _, section = pages["flags.md"].partition(f"\n### {name}\n")
        section = section.partition("\n### ")[0]
        assert setting.text(DEFAULTS[name]) in section
        first_words = re.split(r"[:;,.(<`*-]", setting.help)[0]
        assert first_words in section


def test_every_family_and_parameter_has_its_row(pages):
    text = pages["schedules.md"]
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(catalog.FAMILIES)
    for family, parameters in catalog.FAMILIES.items():
        _, _, section = text.partition(f"\n## {family}\n")
        rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)
        assert rows == list(parameters)


def test_every_command_has_its_own_flags_and_only_those(pages):
    text = pages["commands.md"]
    assert re.findall(r"^## ([\w-]+)$", text, re.MULTILINE) == list(COMMANDS)
    own = {
        name: set(re.findall(r"^\| `--(\w+)`", section, re.MULTILINE))
        for name, section in re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    assert own["train"] == set()
    assert own["export"] == {"run_dir", "checkpoint", "weights", "out"}
    assert own["evaluate"] == {"export", "out", "class_names", "outputs"}
    assert {"measure", "num_steps", "seeds"} < own["lr-find"]
    assert own["schedules"] >= {"show", "momentum", "steps", "per"}  # its own meaning of each


def _changed_help(settings):
    name = "wd"
    return {**settings, name: dataclasses.replace(settings[name], help="Something else.")}


def _changed_bound(settings):
    return {**settings, "epochs": dataclasses.replace(settings["epochs"], high=7)}


def _one_more(settings):
    return {**settings, "new_one": settings["flip"]}


@pytest.mark.parametrize("change", [_changed_help, _changed_bound, _one_more])
def test_a_changed_setting_is_seen(change, pages):
    defaults = {**DEFAULTS, "new_one": True}
    changed = {**pages, "flags.md": reference.flags(change(SETTINGS), defaults)}
    assert reference.stale(reference.FOLDER, changed) == ["flags.md"]


def test_a_changed_default_is_seen(pages):
    changed = {**pages, "flags.md": reference.flags(SETTINGS, {**DEFAULTS, "wd": 0.2})}
    assert reference.stale(reference.FOLDER, changed) == ["flags.md"]


def test_a_changed_family_is_seen(pages):
    cosine = {**catalog.FAMILIES["cosine"], "to": catalog.Parameter("rate", 0.5)}
    changed = {**pages, "schedules.md": reference.schedules({**catalog.FAMILIES, "cosine": cosine})}
    assert reference.stale(reference.FOLDER, changed) == ["schedules.md"]


def test_a_changed_command_is_seen(pages):
    helps = reference.helps()
    helps["export"] = helps["export"].replace("Directory of the run.", "Another directory.")
    changed = {**pages, "commands.md": reference.commands(helps)}
    assert reference.stale(reference.FOLDER, changed) == ["commands.md"]


def test_a_page_too_many_and_a_missing_one_are_seen(tmp_path, pages):
    for name, text in pages.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert reference.stale(tmp_path, pages) == []
    (tmp_path / "old.md").write_text("x")
    (tmp_path / "flags.md").unlink()
    assert reference.stale(tmp_path, pages) == ["flags.md", "old.md"]


def test_a_section_that_begins_with_no_setting_is_an_error():
    left = {name: setting for name, setting in SETTINGS.items() if name != "epochs"}
    with pytest.raises(ValueError, match="there is no setting epochs"):
        reference.flags(left, DEFAULTS)
    first = {"new_one": SETTINGS["flip"], **SETTINGS}
    with pytest.raises(ValueError, match="the first setting, new_one, begins none"):
        reference.flags(first, {**DEFAULTS, "new_one": True})


def test_check_fails_where_a_page_is_stale(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert reference.main() == 1
    assert "docs/reference/flags.md: stale" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    assert reference.main() == 0
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert reference.main() == 0


def test_it_needs_no_tensorflow():
    line = "import sys, reference; reference.pages(); sys.exit('tensorflow' in sys.modules)"
    paths = f"{TOOL.parent}:{reference.ROOT}"
    done = subprocess.run([sys.executable, "-c", line], env={"PYTHONPATH": paths})
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs/<run> or a|b", "runs/&lt;run&gt; or a\\|b"),
        ("see --wd, and --a=b", "see `--wd`, and `--a=b`"),
        ("`python --show=…` stays", "`python --show=…` stays"),
    ],
)
def test_words_are_shown_as_they_are(text, shown):
    assert reference.plain(text) == shown


def test_large_numbers_have_commas_and_fractions_do_not(pages):
    assert "- value: a whole number from 1 to 100,000\n" in pages["flags.md"]
    assert "- value: a number from 0.0 to 0.999999\n" in pages["flags.md"]
