"""What `--help` of a command prints: what it does, and its flags in sections."""

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence

from absl import flags

_WIDTH = 100
_ALWAYS = (
    "--flagfile=FILE reads flags from a file, one a line; what stands behind it counts.",
    "--only_check_args checks the flags and ends; --helpfull lists all flags that there are.",
)
_NO_RULE = "text on one line"  # says nothing


def is_asked(words: Sequence[str]) -> bool:
    """Whether a command line, without the program's name, has `--help` before any `--`."""
    before = [*words, "--"][: [*words, "--"].index("--")]
    return any(word in ("--help", "-help", "-h", "--help=true") for word in before)


def text(
    usage: str, flag_values: flags.FlagValues, module: str, sections: Mapping[str, str]
) -> str:
    """What a command does, and its own flags.

    Args:
        usage: what it does.
        flag_values: where its flags are.
        module: that has defined them.
        sections: the section of a flag by its name, in their order; others come first.
    """
    keys = {flag.name: flag for flag in flag_values.get_key_flags_for_module(module)}
    keys.pop("only_check_args", None)
    grouped: dict[str, list[flags.Flag]] = {}
    for name in [*(key for key in keys if key not in sections), *sections]:
        if name in keys:
            grouped.setdefault(sections.get(name, "Its own"), []).append(keys[name])
    lines = [usage.strip()]
    for title, members in grouped.items():
        lines += ["", f"{title}:"]
        for flag in members:
            lines += _of(flag)
    lines += ["", *_ALWAYS]
    return "\n".join(lines)


def _of(flag: flags.Flag) -> list[str]:
    """The lines of a flag: name and default, what it is."""
    default = "" if flag.value is None else flag.default_as_str or ""
    typed = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}={default.strip(chr(39))}"
    if flag.boolean and default:
        typed += f"  ({default.strip(chr(39))})"
    help_text = re.sub(r"^<[^>]*>: ", "", " ".join((flag.help or "").split()))
    rule = flag.parser.syntactic_help if flag.parser else ""
    if words := getattr(flag.parser, "enum_values", None):
        rule = f"one of {', '.join(words)}"
    said = f"{help_text} ({rule})" if rule not in ("", _NO_RULE) and not flag.boolean else help_text
    return [typed, *textwrap.wrap(said, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]


def show(flag_values: flags.FlagValues, sections: Mapping[str, str]) -> None:
    """Print the help of the command that runs."""
    main = sys.modules["__main__"]
    print(text(main.__doc__ or "", flag_values, sys.argv[0], sections))
