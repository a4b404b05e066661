"""Catalogs as a terminal shows them."""

import textwrap
from collections.abc import Iterator

from tfsc.text.family import Call, Catalog, Family

_WIDTH = 100


def listing(catalog: Catalog) -> str:
    """Every family with its parameters: what it is, and what each may be."""
    return "\n\n".join("\n".join(_of_family(family)) for family in catalog.values())


def _of_family(family: Family) -> Iterator[str]:
    yield from _wrapped(family.signature(), 0)
    yield from _wrapped(family.about, 4)
    width = max(map(len, family.parameters), default=0)
    for name, parameter in family.parameters.items():
        about = f"{parameter.about}; " if parameter.about else ""
        indent = " " * (6 + width)
        said = f"    {name:{width}}  {about}{parameter.rule}"
        yield from textwrap.wrap(said, _WIDTH, subsequent_indent=indent)


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4 * (not indent)),
    )


def in_full(call: Call) -> str:
    """A call with all its arguments, defaults too."""
    shown = []
    for name, value in call.arguments:
        parameter = call.kind.parameters[name]
        text = in_full(value) if isinstance(value, Call) else None
        if value is not None:
            shown.append(f"{name}={text or parameter.text(value)}")
    return f"{call.family}({', '.join(shown)})" if shown else call.family
