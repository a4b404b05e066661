"""Every flagfile in flags/ is a valid recipe, with a header that says how to run it."""

from pathlib import Path

import pytest
from absl import flags

from tfsc import recipe

ROOT = Path(__file__).parent.parent
FLAGFILES = sorted((ROOT / "flags").rglob("*.flags"))


def _read(path: Path) -> recipe.Recipe:
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    recipe.define_flags("test", flag_values=values)
    values(["test", f"--flagfile={path}"])
    return recipe.Recipe.from_flags(values)


def test_there_are_flagfiles():
    assert len(FLAGFILES) >= 4


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.name)
def test_it_is_a_recipe_and_its_header_has_the_command(path):
    _read(path)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"--flagfile={path.relative_to(ROOT)}" in line for line in header)


def test_type_1_differs_from_the_default_only_in_the_validation_set():
    type_1 = _read(ROOT / "flags/seeds/000-type1.flags")
    assert recipe.Recipe().differences(type_1) == ["val_split: test, stratified"]
