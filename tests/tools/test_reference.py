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
from tfsc.schedules.catalog import FAMILIES
from tfsc.schedules.parameters import Rate

TOOL = Path(reference.__file__)
SETTINGS = recipe.settings()
SECTIONS = {**recipe.sections(), "new_one": "What is kept"}
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


def _rows(text):
    """Every family of a page with the names in its table, in order."""
    sections = re.split(r"^###? (?=\w+$)", text, flags=re.MULTILINE)[1:]
    return [
        (section.partition("\n")[0], re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        for section in sections
    ]


def _expected(catalogs):
    return [(f.name, list(f.parameters)) for catalog in catalogs for f in catalog.values()]


def test_every_family_and_parameter_has_its_row(pages):
    assert _rows(pages["schedules.md"]) == _expected([FAMILIES])
    parts = reference.PARTS
    assert _rows(pages["families.md"]) == _expected(catalog for _, catalog in parts.values())
    flags = re.findall(r"^## --(\w+)$", pages["families.md"], re.MULTILINE)
    assert flags == list(parts)
    with_catalog = {n for n, s in SETTINGS.items() if hasattr(s.parse_text, "__self__")}
    assert with_catalog == set(flags)


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
    return {**settings, "new_one": settings["export"]}


@pytest.mark.parametrize("change", [_changed_help, _changed_bound, _one_more])
def test_a_changed_setting_is_seen(change, pages):
    defaults = {**DEFAULTS, "new_one": True}
    changed = {**pages, "flags.md": reference.flags(change(SETTINGS), defaults, SECTIONS)}
    assert reference.stale(reference.FOLDER, changed) == ["flags.md"]


def test_a_changed_default_is_seen(pages):
    changed = {**pages, "flags.md": reference.flags(SETTINGS, {**DEFAULTS, "wd": 0.2}, SECTIONS)}
    assert reference.stale(reference.FOLDER, changed) == ["flags.md"]


def test_a_changed_family_is_seen(pages):
    cosine = FAMILIES["cosine"]
    cosine = dataclasses.replace(cosine, parameters={**cosine.parameters, "to": Rate(default=0.5)})
    changed = {**pages, "schedules.md": reference.schedules({**FAMILIES, "cosine": cosine})}
    assert reference.stale(reference.FOLDER, changed) == ["schedules.md"]


def test_a_changed_command_is_seen(pages):
    helps = dict(reference.helps())
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
    assert "| a number above 0 and at most 0.999999 |" in pages["families.md"]
