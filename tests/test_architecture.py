"""Which part of tfsc may import which: one table, held against every import."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tfsc"

# From the ground up: a room imports from the floors below its own, never from beside or above.
FLOORS = (
    {"errors", "files", "random", "hardware", "lazy", "text"},
    {"native", "command_line", "data"},
    {"layers", "augment", "schedules", "precision", "reporting"},
    {"models", "inputs", "averages", "losses", "optimizers", "exports"},
    {"recipe"},
    {"runs", "evaluation"},
    {"training"},
    {"lr_finder"},
    {"train", "evaluate", "export", "lr_find", "repeat", "compare", "plot_runs"},  # the commands
)
# What a run is made of gets arguments of its own; these know what a recipe is.
KNOW_RECIPES = {"recipe", "runs", "evaluation", "training", "lr_finder", *FLOORS[-1]}
# Longer than others, each for one reason.
LONG = {
    "tfsc/training/run.py": "what a run does, from top to bottom",
    "tools/crash_test.py": "one program",
    "tools/offline/pack_offline.py": "one program",
    "tools/offline/unpack_offline.py": "one program, copied into each pack",
    "tfsc/repeat.py": "one program",
}


def _modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in sorted(package.rglob("*.py"))
    }


def _imports(source: str, modules) -> set[str]:
    """The modules of the package that a module's text imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, "imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in modules else node.module)
    return found & set(modules)


def _room(module: str) -> str:
    """Part of a module's name that is on a floor; a part's `__main__` is a command."""
    names = module.split(".")
    if names[-1] == "__main__":
        return "train"
    return names[1] if len(names) > 1 else ""


MODULES = _modules(PACKAGE)
IMPORTS = {
    name: _imports(path.read_text(encoding="utf-8"), MODULES) for name, path in MODULES.items()
}


def _missing(source: str) -> list[str]:
    """What a file imports of tfsc, wherever in it, that is not there."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tfsc"):
            continue
        for name in (alias.name for alias in node.names):
            if f"{node.module}.{name}" in MODULES:
                continue
            if node.module not in MODULES or not hasattr(
                importlib.import_module(node.module), name
            ):
                missing.append(f"{node.module}.{name}")
    return missing


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tools").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_a_tool_imports_is_there(path):
    """The suite runs some of them in short forms only, which import less."""
    assert _missing(path.read_text(encoding="utf-8")) == []


def test_what_is_not_there_would_be_seen():
    source = "def f():\n    from tfsc.errors import Gone, shown\n    from tfsc.cli import run\n"
    assert _missing(source) == ["tfsc.errors.Gone", "tfsc.cli.run"]


def test_every_room_is_on_one_floor():
    rooms = sorted(room for floor in FLOORS for room in floor)
    assert rooms == sorted({_room(name) for name in MODULES} - {""})


def _upward(imports: dict[str, set[str]]) -> list[str]:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return [
        f"{one} imports {other}"
        for one, others in imports.items()
        for other in others
        if _room(one) != _room(other) and _room(one) and _room(other)
        if floor[_room(one)] <= floor[_room(other)]
    ]


def test_no_import_runs_up_or_sideways():
    assert _upward(IMPORTS) == []


def test_an_import_that_runs_up_or_sideways_would_be_seen():
    up = {"tfsc.models.parts": {"tfsc.training.run", "tfsc.layers.norm", "tfsc.optimizers.adam"}}
    assert sorted(_upward(up)) == [
        "tfsc.models.parts imports tfsc.optimizers.adam",
        "tfsc.models.parts imports tfsc.training.run",
    ]


def _circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty where there are none."""
    left = {name: set(others) - {name} for name, others in imports.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle():
    # A package's own file names what its modules define: they do not import it.
    inner = {name: others - {"tfsc"} for name, others in IMPORTS.items()}
    assert _circle(inner) == []


def test_a_circle_would_be_seen():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_only_what_stands_above_recipes_knows_them():
    knowing = {
        _room(name)
        for name, others in IMPORTS.items()
        if any(other.split(".")[1:2] == ["recipe"] for other in others)
    }
    assert knowing - {""} <= KNOW_RECIPES


@pytest.mark.parametrize("folder", ["tfsc", "tools"])
def test_a_file_of_more_than_350_lines_has_one_reason(folder):
    long = {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 350
    }
    assert long == {name for name in LONG if name.startswith(folder)}
