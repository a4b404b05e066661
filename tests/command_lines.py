"""Command lines of tfsc.train as recipes, by our parser and by absl's."""

from absl import flags

from tfsc.command_line.parse import parse
from tfsc.recipe import Recipe
from tfsc.recipe.flags import define_flags


def recipe_of(*arguments: str) -> Recipe:
    """The recipe of a command line, as tfsc.train makes it."""
    values = flags.FlagValues()
    define_flags("test", flag_values=values)
    parse(["test", *arguments], values, Recipe.from_flags)
    return Recipe.from_flags(values)


def recipe_by_absl(*arguments: str) -> Recipe:
    """The same by absl alone, for comparison."""
    values = flags.FlagValues()
    define_flags("test", flag_values=values)
    values(["test", *arguments])
    return Recipe.from_flags(values)
