"""The reference pages of docs/reference/, written from the code: flags, schedules, commands.

    python tools/reference.py             # writes the three pages
    python tools/reference.py --check     # exits with 1 where a page is not what it would write

Without TensorFlow: settings and families are plain data, and a command's --help comes before it.
"""

import argparse
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
from tfsc.recipe.setting import Setting
from tfsc.schedules import catalog, parser
from tfsc.text.reader import number_text

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "*Written by `python tools/reference.py` from the code: do not edit.*\n"

ARGPARSE = ("compare", "plot-runs")  # commands that take a list of directories

# The first setting of each section; a setting belongs to the section that has begun.
SECTIONS = {
    "run_dir": "Where things are",
    "val_split": "Data",
    "epochs": "Length and chance",
    "model": "Network",
    "shift": "Augmentation",
    "schedule": "Optimization",
    "precision": "How it is computed",
    "checkpoint_every": "What is kept",
}

# What the kind of a parameter means to one who types it.
KINDS = {
    "rate": "a rate",
    "duration": "a duration",
    "durations": "a list of durations",
    "number": "a number above 0",
    "fraction": "a number from 0 to 1, or percent",
    "factor": "a number above 0, at most 1",
    "whole": "a whole number from 1",
    "word": "a word",
}
UNITS = {"e": "epochs", "s": "steps", "%": "percent of the run"}

FAMILY = {
    "cyclic": "Up from `low` to `high` and down again, once or again and again.",
    "one_cycle": "One rise, one fall, and an end far below the start: super-convergence.",
    "warm_restarts": "Cosines from `rate` to `to`, each beginning anew at `rate` (SGDR).",
    "multistep": "Constant, times `gamma` at each milestone.",
    "cosine": "Half a cosine from `rate` to `to`.",
    "exponential": "Times `gamma` in every `every`, smoothly.",
    "polynomial": "From `rate` to `to` by a power of what is left; power 1 is a line.",
    "warmup": "Leads up to the first rate of what follows the arrow: `warmup(5) → cosine(0.1)`.",
}


def flags(settings: Mapping[str, Setting], defaults: Mapping[str, object]) -> str:
    """The page of every setting of a run.

    Raises:
        ValueError: if a section begins with a setting that there is none of, or none begins first.
    """
    if unknown := set(SECTIONS) - set(settings):
        raise ValueError(f"SECTIONS: there is no setting {', '.join(sorted(unknown))}")
    if (first := next(iter(settings))) not in SECTIONS:
        raise ValueError(f"SECTIONS: the first setting, {first}, begins none")
    lines = [
        "# Flags",
        "",
        WRITTEN,
        f"Every setting of a run, {len(settings)} of them. `tfsc train` takes them on the command",
        "line and, one a line, in a file for `--flagfile`. What other commands take is in",
        "[Commands](commands.md). A switch is turned off by `no` before its name: `--noflip`. A",
        "setting that has a line *networks* must be left alone with the others.",
    ]
    for name, setting in settings.items():
        if name in SECTIONS:
            lines += ["", f"## {SECTIONS[name]}"]
        # The networks have a line of their own.
        said = re.sub(r" \[[a-z0-9_, ]+\]$", "", setting.help) if setting.models else setting.help
        lines += ["", f"### {name}", "", plain(said), "", *_facts(setting, defaults[name])]
    return "\n".join(lines) + "\n"


def _facts(setting: Setting, default: object) -> Iterator[str]:
    shown = setting.text(default)
    yield f"- default: {f'`{shown}`' if shown else 'empty'}"
    rule = re.sub(r"(?<![\d.])\d{5,}", lambda digits: f"{int(digits.group()):,}", setting.rule)
    yield f"- value: {plain(rule)}"
    if setting.aliases:
        pairs = (f"`{other}` for `{ours}`" for other, ours in setting.aliases.items())
        yield f"- also: {', '.join(pairs)}"
    if setting.models:
        yield f"- networks: {', '.join(f'`{model}`' for model in setting.models)}"
    if not setting.identity:
        yield "- may change when a run is resumed"


def schedules(families: Mapping[str, Mapping[str, catalog.Parameter]]) -> str:
    """The page of the schedule language: shapes, names, families with their parameters."""
    lines = [
        "# Schedule families",
        "",
        WRITTEN,
        "What `--schedule`, `--momentum` and `--batch_schedule` take, in full. Formulas, sources",
        "and examples are in [Schedules are text](../schedules.md).",
        "",
        f"**Segments** join knots `[rate, position]` by a shape: {_codes(catalog.SHAPES)}.",
        "**Names** stand for segments:",
        "",
        "| name | segments |",
        "|---|---|",
        *(f"| `{name}` | `{text}` |" for name, text in parser.NAMED.items()),
        "",
        "**Families** are calls with arguments in order or by name; `→` or `->` joins several to",
        "a chain. **A rate** is a number from 0, or a part of another rate of the same call, such",
        "as `max/25`. **A duration** is `30e` (epochs), `5000s` (steps) or `50%` (of the run; in a",
        "chain, of what the parts before leave). Without a unit it has the one in brackets.",
    ]
    for family, parameters in families.items():
        lines += [
            "",
            f"## {family}",
            "",
            FAMILY[family],
            "",
            f"`{family}({', '.join(_shown(name, p) for name, p in parameters.items())})`",
            "",
            "| parameter | value | default |",
            "|---|---|---|",
            *(
                f"| `{name}` | {_value(p)} | {_default(name, p)} |"
                for name, p in parameters.items()
            ),
        ]
    return "\n".join(lines) + "\n"


def _shown(name: str, parameter: catalog.Parameter) -> str:
    """A parameter as a signature has it."""
    if parameter.kind == "durations":
        name = f"[{name}]"
    if parameter.share:
        return f"{name}={parameter.share[0]}/{number_text(parameter.share[1])}"
    if parameter.default is None:
        return name
    return f"{name}={_text(parameter.default)}"


def _text(value: object) -> str:
    return number_text(value) if isinstance(value, int | float) else str(value)


def _value(parameter: catalog.Parameter) -> str:
    if parameter.choices:
        return "one of " + _codes(map(_text, parameter.choices))
    if parameter.low:
        return f"a number from {number_text(parameter.low)}"
    words = KINDS[parameter.kind]
    if parameter.kind.startswith("duration"):
        words += f" ({UNITS[parameter.unit]})"
    return words


def _default(name: str, parameter: catalog.Parameter) -> str:
    if parameter.required:
        return "must be given"
    if parameter.share:
        return f"`{parameter.share[0]}/{number_text(parameter.share[1])}`"
    if parameter.default is not None:
        return f"`{_text(parameter.default)}`"
    by_name = {
        "length": "what is left of the run",
        "gamma": "none; `exp_range` needs one",
        "cycles": "no end",
        "start": ", ".join(f"`{_text(at)}` ({how})" for how, at in catalog.WARMUP_START.items()),
    }
    return by_name[name]


def commands(helps: Mapping[str, str]) -> str:
    """The page of every command: its usage, and the flags that are its own."""
    lines = [
        "# Commands",
        "",
        WRITTEN,
        "`tfsc COMMAND` and `python -m tfsc.COMMAND` are the same (in the latter `lr_find` has an",
        "underscore). All of them take `--help`, `--flagfile=FILE` (flags, one a line; what stands",
        "behind it changes them) and `--only_check_args`, which checks the flags and ends.",
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


def helps() -> dict[str, str]:
    """Every command's flags, as absl lists them in XML."""
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
        "flags.md": flags(recipe.settings(), defaults),
        "schedules.md": schedules(catalog.FAMILIES),
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
