"""Public names that are imported when they are first used (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attributes(
    package: str, names: Mapping[str, str] | None = None, modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names come when they are used.

    Args:
        package: its dotted name.
        names: public names of it, each with the module of the package that has it.
        modules: modules of the package that are public as a whole.
    """
    names = names or {}

    def get(name: str) -> Any:
        if name in names:
            return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*importlib.import_module(package).__dict__, *names, *modules})

    return get, listed
