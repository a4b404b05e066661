"""Groups of a network's variables by name: which do not decay, which have a rate of their own.

A group is a text that is compared with a variable's path, such as `stem_conv/kernel`:

    bias       biases of convolutions and dense layers (the path ends in bias)
    bn         scale and bias of BatchNorm (gamma, beta)
    bn_scale   gamma
    bn_bias    beta
    kernel     kernels of convolutions and dense layers
    head       all variables of the classifier (a layer named logits)
    other      variables whose path contains that text: stem_conv, stack0_unit0_conv1/kernel, …

Nothing here imports TensorFlow, so that an error in a flag comes at once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfsc.schedules.syntax import Reader, TextSyntaxError, cut, number_text

_LAST_PARTS = {
    "bias": ("bias",),
    "bn": ("gamma", "beta"),
    "bn_scale": ("gamma",),
    "bn_bias": ("beta",),
    "kernel": ("kernel", "depthwise_kernel", "pointwise_kernel"),
}
_HEAD = "logits"
NAMES = (*_LAST_PARTS, "head")

LARGEST_FACTOR = 1e6  # a bound that only a typing error exceeds
_NAME = re.compile(r"[A-Za-z0-9_./-]+")


class GroupSyntaxError(TextSyntaxError):
    """A text of groups that breaks its rules."""


class UnknownGroupError(ValueError):
    """A group that no variable belongs to.

    Args:
        argument: where it was given, "no_decay" or "lr_factors".
        group: its text.
        paths: of the variables there are.

    Attributes:
        rule: what is allowed, in words.
    """

    def __init__(self, argument: str, group: str, paths: Sequence[str]):
        self.argument, self.group = argument, group
        shown = ", ".join(_spread(list(dict.fromkeys(paths)), 6))
        self.rule = (
            f"must name groups of the network's variables: {', '.join(NAMES)}, or parts of their "
            f"paths, such as {shown}"
        )
        super().__init__(f"{argument} {self.rule}. Received: {group!r}")


def _spread(items: list[str], most: int) -> list[str]:
    """At most so many of the items, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def matches(group: str, path: str) -> bool:
    """Whether the variable with this path belongs to the group."""
    if group in _LAST_PARTS:
        return path.rpartition("/")[2] in _LAST_PARTS[group]
    if group == "head":
        return _HEAD in path.split("/")
    return group in path


class _Reader(Reader):
    """A cursor over a text of groups, none of which may come twice."""

    def __init__(self, text: str):
        super().__init__(text.replace("\n", " ").replace("\t", " "), GroupSyntaxError)
        self._seen: set[str] = set()

    def group(self) -> str:
        self.skip_blanks()
        start = self.at
        match = _NAME.match(self.text, start)
        if not match:
            names = ", ".join(NAMES)
            raise self.fail(
                f"expected a group ({names} or a part of a variable's path), found {self.found()}"
            )
        self.at = match.end()
        name = match.group()
        if name in self._seen:
            raise self.fail(f"group {cut(name)!r} is given twice", start)
        self._seen.add(name)
        return name

    def factor(self) -> float:
        self.skip_blanks()
        start = self.at
        factor = self.number("a factor")
        if factor > LARGEST_FACTOR:
            received = cut(self.text[start : self.at])
            raise self.fail(
                f"a factor must be at most {LARGEST_FACTOR:g}, received {received}", start
            )
        return factor


def parse_names(text: str) -> tuple[str, ...]:
    """Read `bias,bn`; an empty text has no groups.

    Raises:
        GroupSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader, names = _Reader(text), []
    while not reader.done():
        if names:
            reader.expect(",", "between groups")
        names.append(reader.group())
    return tuple(names)


def parse_factors(text: str) -> dict[str, float]:
    """Read `bn_bias:64,head:0.5`, in its order; an empty text has no groups.

    Raises:
        GroupSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader, factors = _Reader(text), {}
    while not reader.done():
        if factors:
            reader.expect(",", "between groups")
        name = reader.group()
        reader.expect(":", "between a group and its factor")
        factors[name] = reader.factor()
    return factors


def names_text(names: Sequence[str]) -> str:
    """The canonical text of `parse_names`: their order has no meaning."""
    return ",".join(sorted(names))


def factors_text(factors: Mapping[str, float]) -> str:
    """The canonical text of `parse_factors`, in their order: the last that matches counts."""
    return ",".join(f"{name}:{number_text(factor)}" for name, factor in factors.items())


@dataclass(frozen=True)
class Assignment:
    """What groups mean for the variables of one network, by the variable's index.

    Attributes:
        factors: the distinct factors of the learning rate.
        group: index into `factors` for each variable.
        decays: whether each variable decays.
    """

    factors: tuple[float, ...]
    group: tuple[int, ...]
    decays: tuple[bool, ...]


@dataclass(frozen=True)
class VariableGroups:
    """Groups that do not decay, and groups with a factor of the learning rate.

    Args:
        no_decay: groups without weight decay.
        lr_factors: (group, factor) pairs; of several that match a variable the last counts.

    Raises:
        ValueError: if a group is no text, or a factor no number from 0 to 1e6.
    """

    no_decay: tuple[str, ...] = ()
    lr_factors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        for group in (*self.no_decay, *(group for group, _ in self.lr_factors)):
            if not isinstance(group, str) or not group:
                raise ValueError(f"a group of variables must be a text. Received: {group!r}")
        for group, factor in self.lr_factors:
            if not 0 <= factor <= LARGEST_FACTOR:
                raise ValueError(
                    f"lr_factors must be from 0 to {LARGEST_FACTOR:g}. Received: {group}: {factor}"
                )

    def factor(self, path: str) -> float:
        """What the learning rate of this variable is multiplied by."""
        return next(
            (factor for group, factor in reversed(self.lr_factors) if matches(group, path)), 1.0
        )

    def decays(self, path: str) -> bool:
        return not any(matches(group, path) for group in self.no_decay)

    def check(self, paths: Sequence[str]) -> None:
        """Raise UnknownGroupError for the first group to which none of these paths belongs."""
        given = [("no_decay", group) for group in self.no_decay]
        given += [("lr_factors", group) for group, _ in self.lr_factors]
        for argument, group in given:
            if not any(matches(group, path) for path in paths):
                raise UnknownGroupError(argument, group, paths)

    def assign(self, paths: Sequence[str]) -> Assignment:
        """The groups' meaning for the variables with these paths."""
        factors = [self.factor(path) for path in paths]
        distinct = tuple(dict.fromkeys(factors)) or (1.0,)
        return Assignment(
            distinct,
            tuple(distinct.index(factor) for factor in factors),
            tuple(self.decays(path) for path in paths),
        )
