"""Every schedule that documents, help texts and flagfiles show parses and builds; so do others.

Examples are found by their form, so that a new one is checked without being listed anywhere:
values of flags that take schedules, calls of families, and segments, with what follows an arrow.
A call whose arguments are its parameters' names is a signature: it must be the family's.
"""

import ast
import re
from pathlib import Path

import pytest

from tfsc import recipe
from tfsc.schedules.builder import build
from tfsc.schedules.catalog import FAMILIES
from tfsc.schedules.duration import Duration
from tfsc.schedules.momentum_and_batch_size import parse_batch_sizes, parse_momentum
from tfsc.schedules.parsed import SHAPES
from tfsc.schedules.parser import NAMED, ScheduleSyntaxError, parse

ROOT = Path(__file__).parents[2]

_CALL = rf"\b(?:{'|'.join(FAMILIES)})\([^(){{}}…]*\)"
_KNOT = r"\[\s*[0-9.][^][…]*\]"
_SEGMENTS = rf"{_KNOT}(?:\s*(?:{'|'.join(SHAPES)})\s*{_KNOT})+"
_PART = rf"(?:{_CALL}|{_SEGMENTS}|\b(?:{'|'.join(NAMED)})\b|[0-9][0-9.e-]*)"
_EXAMPLE = re.compile(rf"(?:{_CALL}|{_SEGMENTS})(?:\s*(?:→|->)\s*{_PART})*")
_INVERSE = re.compile(r"\binverse\([0-9][^()…]*\)")
# Settings whose texts have a language of their own.
_PARSERS = {name: s.parse_text for name, s in recipe.settings().items() if s.parse_text}
_FLAGS = ("show", "momentum", "batch_schedule", *_PARSERS)
_FLAG = re.compile(rf"--({'|'.join(_FLAGS)})=(?:'([^']*)'|\"([^\"]*)\"|([^\s`'\"]+))")
_LINE = re.compile(rf"^--({'|'.join(_FLAGS)})=()()(.+)$", re.MULTILINE)


def _signature(family, arguments):
    """Whether a call shows parameters instead of values; asserts that they are the family's."""
    parameters = FAMILIES[family].parameters
    shown = [argument.partition("=") for argument in re.split(r"\s*,\s*", arguments.strip())]
    names = [name.strip("[]") for name, _, _ in shown]
    if not any(name.strip("[]") in parameters and not equals for name, equals, _ in shown):
        return False
    assert names == list(parameters), f"{family}({arguments})"
    for name, (_, _, default) in zip(names, shown, strict=True):
        parameter = parameters[name]
        if getattr(parameter, "share", None) is not None:
            other, number = default.split("/")
            assert (other, float(number)) == parameter.share, name
        elif isinstance(parameter.default, str | Duration):
            assert default == str(parameter.default), name
        else:
            assert (float(default) if default else None) == parameter.default, name
    return True


def _check(flag, text):
    """Parse and build as the flag would, in a run of 200 epochs."""
    if flag == "batch_schedule":
        assert parse_batch_sizes(text, round(parse(text).first()))
    elif flag == "momentum":
        assert parse_momentum(text, parse("one_cycle(0.1)"))
    elif flag == "show":  # of any command that has it
        assert any(map(_is_read_by, _PARSERS.values(), [text] * len(_PARSERS))), text
    elif flag != "schedule":
        assert text == "0.1" or _PARSERS[flag](text) is not None  # a variable of a shell
    else:
        assert build(text, 781, 200 * 781).value(0) >= 0


def _is_read_by(parser, text):
    try:
        parser(text)
    except ValueError:
        return False
    return True


def _examples(text, flag=_FLAG):
    """Pairs (flag, text) of a document, without signatures."""
    text = re.sub(r"\$[A-Z]+\b", "0.1", text)  # variables of a shell
    text = re.sub(r"(['\"])(--\w+=)([^'\"]*)\1", r"\2\1\3\1", text)  # '--a=b c' is --a='b c'
    for match in flag.finditer(text):
        name, *values = match.groups()
        value = "".join(value or "" for value in values).rstrip(",.;:" if values[2] else "")
        while value.count(")") > value.count("("):  # that of the sentence
            value = value.rstrip(",.;:").removesuffix(")")
        if flag is _LINE:
            value = values[2]
        if value and not re.search(r"[…$]", value):
            yield name, value
    for match in _INVERSE.finditer(text):
        yield "momentum", match.group()
    for match in _EXAMPLE.finditer(text):
        call = re.fullmatch(r"(\w+)\(([^()]*)\)", match.group())
        if not (call and _signature(*call.groups())):
            led_on = re.match(r"\s*(→|->)", text[match.end() :])  # to …
            yield "schedule", match.group() + (" → 1" if led_on else "")


def _check_all(text, flag=_FLAG):
    found = list(_examples(text, flag))
    for name, example in found:
        _check(name, example)
    return found


def _docstrings(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize(
    ("path", "least"),
    [("README.md", 2), ("docs/schedules.md", 40), ("docs/results.md", 8), ("docs/guide/faq.md", 2)],
)
def test_the_examples_of_the_documents_that_have_most(path, least):
    assert len(_check_all((ROOT / path).read_text("utf-8"))) >= least


def test_the_examples_of_every_document():
    paths = {*ROOT.glob("docs/**/*.md")}
    assert len(paths) >= 5
    for path in paths:
        _check_all(path.read_text("utf-8"))


def test_the_schedules_of_every_flagfile():
    paths = [*ROOT.glob("flags/**/*.flags"), *ROOT.glob("docs/**/*.flags")]
    assert sum(len(_check_all(path.read_text("utf-8"), _LINE)) > 0 for path in paths) >= 30


def test_the_examples_of_help_and_docstrings():
    settings = "\n\n".join(setting.help for setting in recipe.settings().values())
    assert len(_check_all(settings)) >= 3
    sources = [*ROOT.glob("tfsc/**/*.py"), *ROOT.glob("tools/**/*.py")]
    docstrings = [text for path in sources for text in _docstrings(path)]
    assert sum(len(_check_all(text)) for text in docstrings) >= 8


def test_docs_have_the_signature_of_every_family():
    text = (ROOT / "docs/schedules.md").read_text("utf-8")
    calls = re.findall(rf"\b({'|'.join(FAMILIES)})\(([^()]*)\)", text)
    assert {family for family, arguments in calls if _signature(family, arguments)} == {*FAMILIES}


@pytest.mark.parametrize(
    "broken",
    [
        "Take `one_cycle(max=0.01, strat=max/25)`.",
        "`--schedule='multistp(0.1, [40])'`",
        "or `[0.1,0]lin[0.2,5]cos[0,3]` instead",
        "--momentum='inverse(0.95)'",
        "`warmup(5) → cosine(0.1, 5%%)`",
        "--batch_schedule='multistep(128, [6.5], gamma=5)'",
    ],
)
def test_a_broken_example_is_found(broken):
    with pytest.raises(ScheduleSyntaxError):
        _check_all(broken)


@pytest.mark.parametrize(
    "broken",
    ["`cosine(rate=1e-3, length, to=0)`", "`cosine(rate=1e-2, to=0, length)`"],
)
def test_a_broken_signature_is_found(broken):
    with pytest.raises(AssertionError):
        _check_all(broken)
