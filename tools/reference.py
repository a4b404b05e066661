"""The reference pages of docs/reference/, written from the code.

    python tools/reference.py             # writes the pages
    python tools/reference.py --check     # exits with 1 where a page is not what it would write

Without TensorFlow: settings and families are plain data, and a command's --help comes before it.
"""

import argparse
import functools
import importlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tfsc import recipe
from tfsc.__main__ import COMMANDS
from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.averages.catalog import AVERAGES
from tfsc.inputs.catalog import INPUTS
from tfsc.losses.catalog import LOSSES
from tfsc.models.catalog import NETWORKS
from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS
from tfsc.recipe.setting import Setting
from tfsc.schedules.catalog import FAMILIES, NAMED
from tfsc.schedules.parsed import SHAPES
from tfsc.text.family import Family
from tfsc.text.parameters import Parameter, Word

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "*Written by `python tools/reference.py` from the code: do not edit.*\n"

# Flags that take a text, the command that lists what they can name, and that.
PARTS = {
    "model": ("python -m tfsc.models", NETWORKS),
    "input": ("python -m tfsc.inputs", INPUTS),
    "augment": ("python -m tfsc.augment", AUGMENTATIONS),
    "optimizer": ("python -m tfsc.optimizers", OPTIMIZERS),
    "clip": ("python -m tfsc.optimizers", CLIPS),
    "loss": ("python -m tfsc.losses", LOSSES),
    "average": ("python -m tfsc.averages", AVERAGES),
}
ARGPARSE = ("compare", "plot-runs")  # commands that take a list of directories


def flags(
    settings: Mapping[str, Setting], defaults: Mapping[str, object], sections: Mapping[str, str]
) -> str:
    """The page of every setting of a run."""
    lines = [
        "# Flags",
        "",
        WRITTEN,
        f"Every setting of a run, {len(settings)} of them. `tfsc train` takes them on the command",
        "line and, one a line, in a file for `--flagfile`. What other commands take is in",
        "[Commands](commands.md), the texts of `--model`, `--augment` and their like in",
        "[Families](families.md). A switch is turned off by `no` before its name: `--noexport`.",
    ]
    section = ""
    for name, setting in settings.items():
        if sections[name] != section:
            section = sections[name]
            lines += ["", f"## {section}"]
        facts = _facts(setting, defaults[name])
        lines += ["", f"### {name}", "", plain(setting.help), "", *facts]
    return "\n".join(lines) + "\n"


def _facts(setting: Setting, default: object) -> Iterator[str]:
    shown = setting.text(default)
    yield f"- default: {f'`{shown}`' if shown else 'empty'}"
    rule = re.sub(r"(?<![\d.])\d{5,}", lambda digits: f"{int(digits.group()):,}", setting.rule)
    yield f"- value: {plain(rule)}"
    if setting.aliases:
        pairs = (f"`{other}` for `{ours}`" for other, ours in setting.aliases.items())
        yield f"- also: {', '.join(pairs)}"
    if not setting.identity:
        yield "- may change when a run is resumed"


def schedules(families: Mapping[str, Family]) -> str:
    """The page of the schedule language: shapes, names, families with their parameters."""
    lines = [
        "# Schedule families",
        "",
        WRITTEN,
        "What `--schedule`, `--batch_schedule` and a momentum take, in full. Formulas, sources and",
        "examples are in [Schedules are text](../schedules.md).",
        "",
        f"**Segments** join knots `[rate, position]` by a shape: {_codes(SHAPES)}.",
        "**Names** stand for segments:",
        "",
        "| name | segments |",
        "|---|---|",
        *(f"| `{name}` | `{text}` |" for name, text in NAMED.items()),
        "",
        "**Families** are calls with arguments in order or by name; `→` or `->` joins several to",
        "a chain. **A rate** is a number from 0, or a part of another rate of the same call, such",
        "as `max/25`. **A duration** is `30e` (epochs), `5000s` (steps) or `50%` (of the run; in a",
        "chain, of what the parts before leave). Without a unit it has the one in brackets.",
    ]
    for family in families.values():
        lines += _of_family(family, "##")
    return "\n".join(lines) + "\n"


def families(parts: Mapping[str, tuple[str, Mapping[str, Family]]]) -> str:
    """The page of what component texts name, part by part.

    Args:
        parts: for each flag the command that lists its families, and these.
    """
    lines = [
        "# Families",
        "",
        WRITTEN,
        "What the flags that take a text can say: a family, and in brackets its parameters in",
        "order or by name, `sgd(0.9, nesterov)`. What is left out has its default; a switch is",
        "turned on by its name, off by `=false`. `--input` and `--augment` take several, with",
        "blanks between, or `none`. Quote them for the shell: `--augment='crop(2) flip'`.",
        "[Schedules](schedules.md) have the same language, with segments and chains.",
    ]
    for flag, (command, members) in parts.items():
        lines += ["", f"## --{flag}", "", f"`{command}` lists them, too."]
        for family in members.values():
            lines += _of_family(family, "###")
    return "\n".join(lines) + "\n"


def _of_family(family: Family, heading: str) -> Iterator[str]:
    yield from ("", f"{heading} {family.name}", "", plain(family.about), "")
    yield f"`{family.signature()}`"
    if not family.parameters:
        return
    yield from ("", "| parameter | value | default | |", "|---|---|---|---|")
    for name, parameter in family.parameters.items():
        default = parameter.default_text()
        shown = f"`{default}`" if default else "must be given" if parameter.required else ""
        yield f"| `{name}` | {plain(_rule(parameter))} | {shown} | {plain(parameter.about)} |"


def _rule(parameter: Parameter) -> str:
    if isinstance(parameter, Word):
        return "one of " + _codes(parameter.choices)
    return parameter.rule


def commands(helps: Mapping[str, str]) -> str:
    """The page of every command: its usage, and the flags that are its own."""
    lines = [
        "# Commands",
        "",
        WRITTEN,
        "`tfsc COMMAND` and `python -m tfsc.COMMAND` are the same (in the latter `lr_find` has an",
        "underscore). All of them take `--help`. All but `compare` and `plot-runs`, which take",
        "directories, take `--flagfile=FILE` (flags, one a line; what stands behind it changes",
        "them) and `--only_check_args`, which checks the flags and ends.",
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [`tfsc {name}`](#{name}) | {what} |" for name, what in COMMANDS.items()),
    ]
    settings = recipe.settings()
    for name, text in helps.items():
        root = ElementTree.fromstring(text)
        shown = {flag.findtext("name"): flag for flag in root.iter("flag") if _is_key(flag)}
        own = {key: flag for key, flag in shown.items() if not _same(flag, settings)}
        shared = [key for key in settings if key in shown and key not in own]
        title, _, usage = root.findtext("usage", "").strip().partition("\n")
        lines += ["", f"## {name}", "", plain(title), *_usage(usage)]
        if own:
            lines += ["", "| flag | default | what |", "|---|---|---|"]
            lines += [f"| `--{key}` | {_given(own[key])} | {_meaning(own[key])} |" for key in own]
        if len(shared) == len(settings):
            lines += ["", "It takes every setting of a run: [Flags](flags.md)."]
        elif len(shared) > len(settings) / 2:
            left = [key for key in settings if key not in shown]
            lines += ["", "It takes the settings of a run as well ([Flags](flags.md)). Of these,"]
            lines += [f"{_codes(left)} do not change its result; a flagfile may have them."]
        elif shared:
            links = ", ".join(f"[`--{key}`](flags.md#{key})" for key in shared)
            lines += ["", f"And of a run's settings: {links}."]
    return "\n".join(lines) + "\n"


def _is_key(flag: ElementTree.Element) -> bool:
    return flag.findtext("key") == "yes"


def _same(flag: ElementTree.Element, settings: Mapping[str, Setting]) -> bool:
    """Whether a command's flag is the setting of that name, and not another thing."""
    setting = settings.get(flag.findtext("name", ""))
    return setting is not None and flag.findtext("meaning") == setting.help


def _usage(text: str) -> Iterator[str]:
    """A docstring's body: commands are indented, or begin with `python`."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
        if not lines:
            continue
        is_code = lines[0].startswith("python")
        yield from ("", "```sh", *lines, "```") if is_code else ("", *map(plain, lines))


def _given(flag: ElementTree.Element) -> str:
    default = flag.findtext("default") or ""
    return f"`{default}`" if default else ""


def _meaning(flag: ElementTree.Element) -> str:
    text = " ".join((flag.findtext("meaning") or "").split())
    text = plain(re.sub(r"^<[^>]*>: ", "", text))  # absl's own list of an enum's words
    words = [value.text or "" for value in flag.iter("enum_value")]
    return f"{text} One of {_codes(words)}." if words else text


def _codes(words) -> str:
    return ", ".join(f"`{word}`" for word in words)


def plain(text: str) -> str:
    """Words as Markdown that shows them as they are; code in backquotes stays."""
    parts = re.split(r"(`[^`]*`)", text)
    signs = {"<": "&lt;", ">": "&gt;", "*": "\\*", "|": "\\|"}
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"[<>*|]", lambda sign: signs[sign.group()], parts[place])
        parts[place] = re.sub(r"(?<![\w-])(--\w+(?:=[\w./-]*\w)?)", r"`\1`", parts[place])
    return "".join(parts)


@functools.cache
def helps() -> dict[str, str]:
    """Every command's flags, as absl lists them in XML; asked for once."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {
        name: _of_argparse(name)
        if name in ARGPARSE
        else subprocess.run(
            [sys.executable, "-m", f"tfsc.{name.replace('-', '_')}", "--helpxml"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in COMMANDS
    }


def _of_argparse(name: str) -> str:
    """What absl would say of a command that takes a list of directories, by argparse."""
    module = importlib.import_module(f"tfsc.{name.replace('-', '_')}")
    root = ElementTree.Element("AllFlags")
    ElementTree.SubElement(root, "usage").text = module.__doc__
    for action in module.options_parser()._actions:
        if action.option_strings and action.dest != "help":
            flag = ElementTree.SubElement(root, "flag")
            default = "" if action.default in (None, False) else str(action.default)
            said = f"{action.help or ''} {_choice(action.choices)}".strip()
            facts = {"key": "yes", "name": action.dest, "meaning": said, "default": default}
            for key, text in facts.items():
                ElementTree.SubElement(flag, key).text = text
    return ElementTree.tostring(root, encoding="unicode")


def _choice(words: Iterable[str] | None) -> str:
    return f"One of {_codes(words)}." if words else ""


def pages() -> dict[str, str]:
    """Every page, by the name of its file."""
    defaults = {name: getattr(recipe.Recipe, name) for name in recipe.settings()}
    return {
        "flags.md": flags(recipe.settings(), defaults, recipe.sections()),
        "schedules.md": schedules(FAMILIES),
        "families.md": families(PARTS),
        "commands.md": commands(helps()),
    }


def stale(folder: Path, written: Mapping[str, str]) -> list[str]:
    """The pages in `folder` that are missing, or not as they would be written now; or too many."""
    held = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*held, *written} if held.get(name) != written.get(name))


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    written = pages()
    if options.parse_args().check:
        wrong = stale(FOLDER, written)
        for name in wrong:
            print(f"docs/reference/{name}: stale; run python tools/reference.py", file=sys.stderr)
        return int(bool(wrong))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
