"""The commands that list a part's families: `python -m tfsc.models`, `python -m tfsc.augment`, …"""

import sys
from collections.abc import Callable
from typing import Any

from absl import flags

from tfsc.command_line import command
from tfsc.errors import RecipeError
from tfsc.text.family import Call, Calls, Catalog
from tfsc.text.listing import in_full, listing
from tfsc.text.reader import TextSyntaxError


def run(
    catalog: Catalog,
    several: bool = False,
    draw: Callable[[Any], None] | None = None,
    more: Callable[[], str] | None = None,
) -> None:
    """List the families of a catalog, or show what the text of `--show` says.

    Args:
        catalog: of the part.
        several: whether a text has several of them.
        draw: shows what the text has been read as, behind the text with all its arguments.
        more: further text behind the list.
    """
    flags.DEFINE_string("show", "", f"A text of this part, such as {next(iter(catalog))}.")
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["show"])
    read = catalog.parse_several if several else catalog.parse

    def check(values: flags.FlagValues) -> Call | Calls | None:
        try:
            return read(values.show) if values.show else None
        except TextSyntaxError as error:
            raise RecipeError(f"--show: {error}") from None

    def main() -> None:
        found = check(flags.FLAGS)
        if found is None:
            print(listing(catalog) + (f"\n\n{more()}" if more else ""))
            return
        calls = found.calls if isinstance(found, Calls) else (found,)
        print(" ".join(map(in_full, calls)) or "none")
        if draw:
            draw(found)

    command.run(main, check=check)
