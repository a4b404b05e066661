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
from tfsc.optimizers import groups
from tfsc.recipe import rules
from tfsc.recipe.fields import OWN_OF_NETWORKS, PLAIN_NETWORKS, Fields, settings


@dataclass(frozen=True)
class Recipe(Fields):
    """One run: (recipe, seed) → run directory. The defaults are seed 000's Changes 1+2, Type I.

    Raises:
        RecipeError: if a value breaks its rule, alone or beside another one.
    """

    def __post_init__(self):
        self._leave_to_the_network()
        for name, setting in settings().items():
            value = getattr(self, name)
            try:
                value = setting.check(value)
            except ValueError as error:
                received = shown(value if isinstance(value, str) else repr(value))
                raise RecipeError(f"--{name}={received}: {error}") from None
            object.__setattr__(self, name, value)
        kernels = self.shortcut_kernels
        if len(kernels) == 1:  # one size for all stacks
            object.__setattr__(self, "shortcut_kernels", kernels * len(self.stack_units))
        rules.check(self)

    def _leave_to_the_network(self) -> None:
        """Undo what recipe.flags of before `--muon_steps` says of networks other than airbench.

        Airbench's values were everybody's defaults then, and written for networks that had no use
        for them; now they would be given a stem. The price: exactly these three together cannot be
        chosen for another network, where one of them may be (1/9 as 0.1111, say).
        """
        written = {name: getattr(self, name) for name in PLAIN_NETWORKS}
        if self.model not in OWN_OF_NETWORKS and written in OWN_OF_NETWORKS.values():
            for name in PLAIN_NETWORKS:
                object.__setattr__(self, name, getattr(type(self), name))

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
        identity = self.identity()
        if identity["fused_augment"] == "off":
            del identity["fused_augment"]  # younger than the rest: digests of earlier runs stay
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

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
        values = {
            name: setting.text(getattr(self, name))
            for name, setting in settings().items()
            if setting.identity
        }
        momentum, rest_momentum = str(self.parsed_momentum()), str(self.parsed_rest_momentum())
        return values | {
            "schedule": str(self.parsed_schedule()),
            **{name: settings()[name].text(self.resolved(name)) for name in PLAIN_NETWORKS},
            "momentum": momentum,
            "muon_rest_momentum": "" if rest_momentum == momentum else rest_momentum,
            "batch_schedule": ",".join(f"{size}@{epoch}" for epoch, size in self.batch_sizes()),
            "no_decay": groups.names_text(groups.parse_names(self.no_decay)),
            "lr_factors": groups.factors_text(groups.parse_factors(self.lr_factors)),
            "wd_factors": groups.factors_text(groups.parse_factors(self.wd_factors)),
            "freeze_after": groups.factors_text(groups.parse_epochs(self.freeze_after)),
        }

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
        """Read back what `flagfile` wrote.

        Raises:
            RecipeError: for a line that is not `--name=value`, an unknown name or a bad value.
        """
        known, values = settings(), {}
        for number, line in enumerate(text.splitlines(), start=1):
            line = line.strip()
            if not line or line.startswith(("#", "//")):
                continue
            name, equals, value = line.removeprefix("--").partition("=")
            if not line.startswith("--") or not equals:
                raise RecipeError(f"recipe line {number}: {shown(line)}: must be --name=value")
            if name not in known:
                raise RecipeError(
                    f"recipe line {number}: {shown(line)}: this version of tfsc ({__version__}) "
                    f"has no setting named {shown(name, 40)}; the recipe may be of a newer version"
                )
            try:
                values[name] = known[name].parse(value)
            except ValueError as error:
                raise RecipeError(
                    f"recipe line {number}: --{name}={shown(value)}: {error}"
                ) from None
        return cls(**values)

    def differences(self, other: "Recipe") -> list[str]:
        """Fields of identity in which two recipes differ, as `name: mine, theirs`."""
        mine, theirs = self.identity(), other.identity()
        return [
            f"{name}: {mine[name]}, {theirs[name]}" for name in mine if mine[name] != theirs[name]
        ]
