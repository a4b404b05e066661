"""`Setting`: the rule of one field of a recipe."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BOOLS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True)
class Setting:
    """How one field of the recipe is read from text, checked, printed and explained.

    Attributes:
        help: one sentence for `--help`.
        kind: bool, int, float or str.
        low, high: inclusive bounds for numbers.
        choices: the allowed words, for str.
        aliases: other spellings, each mapped to the canonical one.
        identity: whether the trained weights depend on it; only those fields enter the digest.
        dumped: whether `recipe.flags` holds it.
        parse_text: reads a text in a language of its own; None: the text is as it is.
        canonical: the canonical text of what that has read, which reads back as the same.
    """

    help: str
    kind: type
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    aliases: dict[str, str] = dataclasses.field(default_factory=dict)
    identity: bool = True
    dumped: bool = True
    parse_text: Callable[[str], Any] | None = None
    canonical: Callable[[Any], str] = str

    @property
    def rule(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "text on one line"
        noun = "a whole number" if self.kind is int else "a number"
        return f"{noun} from {self.low} to {self.high}"

    def parse(self, text: str) -> Any:
        """Read a value from flag text. Raises ValueError with the rule."""
        text = text.strip()
        try:
            if self.kind is bool:
                return _BOOLS[text.lower()]
            if self.kind is str:
                return self.check(self.aliases.get(text, text))
            return self.check(self.kind(text))
        except (KeyError, ValueError):
            raise ValueError(f"must be {self.rule}") from None

    def check(self, value: Any) -> Any:
        """Return `value` if it keeps the rule. Raises ValueError with the rule otherwise."""
        if self.kind is float and type(value) is int:
            value = float(value)
        # bool is a subclass of int: compare types exactly.
        good = type(value) is self.kind
        if good and self.kind in (int, float):
            good = self.low <= value <= self.high
        elif good and self.kind is str:
            good = value.isprintable() and (not self.choices or value in self.choices)
        if not good:
            raise ValueError(f"must be {self.rule}")
        return value + 0.0 if self.kind is float else value  # −0 is 0

    def text(self, value: Any) -> str:
        """Flag text that `parse` reads back as `value`."""
        if self.kind is bool:
            return str(value).lower()
        return value if self.kind is str else repr(value)
