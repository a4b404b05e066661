"""A command line into absl's flags: each error is one line that says where it came from."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import flags

from tfsc import __version__
from tfsc.command_line import flagfile
from tfsc.command_line.flagfile import Argument
from tfsc.errors import RecipeError, shown

# No flag but a recipe's schedule needs more; absl's --logger_levels would fill the memory.
_LONGEST_VALUE = 4096

# absl's own messages for these do not say what is allowed.
_ABSL_RULES = {
    "verbosity": "must be a whole number",
    "v": "must be a whole number",
    "stderrthreshold": "must be one of debug, info, warning, error, fatal",
    "logger_levels": "must be name:LEVEL pairs separated by commas, with levels such as INFO",
}


def parse(
    argv: Sequence[str],
    flag_values: flags.FlagValues,
    check: Callable[[flags.FlagValues], object] | None = None,
    only_in_files: Mapping[str, str] | None = None,
    renamed: Callable[[str, Sequence[str]], str] | None = None,
) -> None:
    """Set flags from a command line, as absl does but for what is wrong.

    Stray words are refused, and every error is one line (of a text: three) with the flag, the
    value and the rule, and the line of the flagfile it came from.

    Args:
        argv: the command line, the program's name first.
        flag_values: the flags to set.
        check: rules about several flags together.
        only_in_files: flags that are refused outside of flagfiles, and the rule that says why.
        renamed: what to say of an unknown flag that has another spelling now, of its name and all
            flags of the command line as `--name=value`; empty: it never had one.

    Raises:
        RecipeError: if anything on the command line or in its flagfiles is not allowed.
    """
    rest = iter(flagfile.expand(argv[1:]))
    unknown: list[tuple[str, Argument]] = []
    allowed_unknown: set[str] = set()
    stray: list[Argument] = []
    set_by: dict[str, Argument] = {}
    words: list[str] = []
    for argument in rest:
        if argument.text == "--":
            stray = list(rest)
            break
        name, equals, typed = argument.text.removeprefix("-").removeprefix("-").partition("=")
        if not argument.text.startswith("-") or not name:
            stray = [argument, *rest]
            break
        value = typed if equals else None
        if name == "undefok":
            names = [word.strip() for word in _value(name, value, argument, rest).split(",")]
            allowed_unknown.update(names, [f"no{word}" for word in names])
        elif name in flag_values:
            if value is None and flag_values[name].boolean:
                value = "true"
            value = _value(name, value, argument, rest)
            if not argument.place and only_in_files and name in only_in_files:
                raise argument.error(f"--{name}={shown(value)}: {only_in_files[name]}")
            _set(flag_values, name, value, argument)
            set_by[name] = argument
            words.append(f"--{name}={value}")
        elif name[:2] == "no" and name[2:] in flag_values and flag_values[name[2:]].boolean:
            if value is not None:
                raise argument.error(f"--{name}={shown(value)} does not take an argument")
            _set(flag_values, name[2:], "false", argument)
            set_by[name[2:]] = argument
        else:
            unknown.append((name, argument))
            words.append(argument.text)
    for name, argument in unknown:
        if name not in allowed_unknown:
            if renamed and (said := renamed(name, words)):
                raise argument.error(f"{shown(argument.text)}: {said}")
            raise argument.error(_unknown(name, argument, flag_values))
    if stray:
        text = shown(" ".join(" ".join(argument.text for argument in stray).split()))
        raise stray[0].error(f"unexpected words: {text}; settings are written --name=value")
    flag_values.mark_as_parsed()
    try:
        flag_values.validate_all_flags()
    except flags.Error as error:
        raise RecipeError(shown(str(error))) from None
    if check is not None:
        try:
            check(flag_values)
        except RecipeError as error:
            about = re.match(r"--(\w+)", str(error))
            place = set_by.get(about[1]) if about else None
            raise (place.error(str(error)) if place else error) from None


def _value(name: str, value: str | None, argument: Argument, rest: Iterator[Argument]) -> str:
    """The value in `--name=value`, or else the next word."""
    if value is None:
        following = next(rest, None)
        if following is None:
            raise argument.error(f"Missing value for flag --{name} (--help lists the flags)")
        return following.text
    return value


def _set(flag_values: flags.FlagValues, name: str, value: str, argument: Argument) -> None:
    """Set one flag as absl's parser does."""
    flag = flag_values[name]
    if len(value) > _LONGEST_VALUE and name != "schedule":
        raise argument.error(
            f"--{name}={shown(value)}: must have at most {_LONGEST_VALUE} characters, "
            f"has {len(value)}"
        )
    try:
        flag.parse(value)
    except (flags.Error, ValueError) as error:
        # absl wraps a parser's ValueError, whose message is the rule.
        rule = str(error.__context__ or error)
        if flag.boolean:
            rule = "must be true or false"
        rule = shown(_ABSL_RULES.get(name, " ".join(rule.split())))
        raise argument.error(f"--{name}={shown(value)}: {rule} (--help lists the flags)") from None
    flag.using_default_value = False


def _unknown(name: str, argument: Argument, flag_values: flags.FlagValues) -> str:
    """What to say about a flag that does not exist."""
    if any(c.isspace() for c in name):
        return f"{shown(argument.text)}: must be written --name=value"
    hint = _hint(name, flag_values)
    if not argument.place:
        return f"Unknown command line flag '{shown(name)}'{hint} (--help lists the flags)"
    return (
        f"{shown(argument.text)}: this version of tfsc ({__version__}) has no flag named "
        f"{shown(name, 40)}; the file may be for a newer version{hint}"
    )


def _hint(name: str, flag_values: flags.FlagValues) -> str:
    """absl's 'Did you mean', which it gives only within an error."""
    if len(name) > 40:  # its search is recursive, and as slow as the name is long
        return ""
    try:
        flag_values(["tfsc", f"--{name}"])
    except flags.UnrecognizedFlagError as error:
        _, did_you_mean, names = str(error).partition(". Did you mean: ")
        return did_you_mean + names
    return ""
