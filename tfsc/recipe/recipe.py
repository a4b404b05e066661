"""`Recipe`: everything a result depends on: checked, identified by a digest, written and read back.

The absl flags, `--help`, validation, the run's `recipe.flags` dump and the digest all derive from
`tfsc.recipe.fields`. Nothing here imports TensorFlow.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from absl import flags

from tfsc import __version__
from tfsc.errors import RecipeError, shown
from tfsc.recipe import old_spelling, rules
from tfsc.recipe.fields import Fields, settings


@dataclass(frozen=True)
class Recipe(Fields):
    """One run: (recipe, seed) → run directory. The defaults are seed 000's Changes 1+2, Type I.

    Raises:
        RecipeError: if a value breaks its rule, alone or beside another one.
    """

    def __post_init__(self):
        for name, setting in settings().items():
            value = getattr(self, name)
            try:
                value = setting.check(value)
            except ValueError as error:
                received = shown(value if isinstance(value, str) else repr(value))
                raise RecipeError(f"--{name}={received}: {error}") from None
            object.__setattr__(self, name, value)
        rules.check(self)

    @classmethod
    def from_flags(cls, flag_values: flags.FlagValues = flags.FLAGS) -> "Recipe":
        """The recipe that the parsed flags describe."""
        return cls(**{name: getattr(flag_values, name) for name in settings()})

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)

    @property
    def digest(self) -> str:
        """16 hex digits over all fields on which the trained weights depend, seed included."""
        identity = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def identity(self) -> dict[str, str]:
        """Flag text of each field on which the trained weights depend.

        Texts are in canonical form: `type1` and its segment text are the same recipe.

        Raises:
            RecipeError: for precision "auto", which is another recipe on each kind of machine.
        """
        if self.precision == "auto":
            raise RecipeError(
                "--precision=auto: must be made out first (tfsc.recipe.auto_precision) where a "
                "recipe is identified"
            )
        values = {name: self.canonical(name) for name, s in settings().items() if s.identity}
        batch_sizes = ",".join(f"{size}@{epoch}" for epoch, size in self.batch_sizes())
        return values | {"batch_schedule": batch_sizes}

    def canonical(self, name: str) -> str:
        """Flag text of a setting, in canonical form where it has a language of its own."""
        setting = settings()[name]
        if setting.parse_text is not None:
            return setting.canonical(self.parsed(name))
        return setting.text(getattr(self, name))

    def flagfile(self) -> str:
        """The text of `recipe.flags`: `--flagfile=` with it replays the run."""
        lines = [
            f"--{name}={setting.text(getattr(self, name))}"
            for name, setting in settings().items()
            if setting.dumped
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_flagfile(cls, text: str) -> "Recipe":
        """Read back what `flagfile` wrote, also that of earlier versions.

        A text without --native is of a version without C++, and is read as --native=off.

        Raises:
            RecipeError: for a line that is not `--name=value`, an unknown name or a bad value.
        """
        known, values, texts, places = settings(), {}, {}, {}
        for number, line in enumerate(text.splitlines(), start=1):
            line = line.strip()
            if not line or line.startswith(("#", "//")):
                continue
            name, equals, value = line.removeprefix("--").partition("=")
            if not line.startswith("--") or not equals:
                raise RecipeError(f"recipe line {number}: {shown(line)}: must be --name=value")
            if name not in known and name not in old_spelling.NAMES:
                raise RecipeError(
                    f"recipe line {number}: {shown(line)}: this version of tfsc ({__version__}) "
                    f"has no setting named {shown(name, 40)}; the recipe may be of a newer version"
                )
            texts[name], places[name] = value, number
        if old_spelling.is_old(texts):
            try:
                texts = old_spelling.translated(texts)
            except ValueError as error:
                raise RecipeError(f"recipe: {error}") from None
        for name, value in texts.items():
            try:
                values[name] = known[name].parse(value)
            except ValueError as error:
                where = f" line {places[name]}" if name in places else ""
                raise RecipeError(f"recipe{where}: --{name}={shown(value)}: {error}") from None
        return cls(**values)

    def differences(self, other: "Recipe") -> list[str]:
        """Fields of identity in which two recipes differ, as `name: mine, theirs`."""
        mine, theirs = self.identity(), other.identity()
        return [
            f"{name}: {mine[name]}, {theirs[name]}" for name in mine if mine[name] != theirs[name]
        ]
