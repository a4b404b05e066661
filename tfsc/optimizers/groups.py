"""Groups of a network's variables by name: decay and rate of their own, and when they freeze.

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

from tfsc.text.reader import Reader, TextSyntaxError, cut, number_text

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
        argument: where it was given, such as "no_decay" or "lr_factors".
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

    def factor(self, what: str) -> float:
        self.skip_blanks()
        start = self.at
        factor = self.number(what)
        if factor > LARGEST_FACTOR:
            received = cut(self.text[start : self.at])
            raise self.fail(
                f"{what} must be at most {LARGEST_FACTOR:g}, received {received}", start
            )
        return factor


def parse_names(text: str) -> tuple[str, ...]:
    """Read `bias,bn`; an empty text has no groups.

    Raises:
        GroupSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader = _Reader(text)
    names: list[str] = []
    while not reader.done():
        if names:
            reader.expect(",", "between groups")
        names.append(reader.group())
    return tuple(names)


def parse_factors(text: str, what: str = "a factor") -> dict[str, float]:
    """Read `bn_bias:64,head:0.5`, in its order; an empty text has no groups.

    Args:
        text: what to read.
        what: the numbers are, for errors.

    Raises:
        GroupSyntaxError: with the position of the first fault, shown by a caret.
    """
    reader = _Reader(text)
    factors: dict[str, float] = {}
    while not reader.done():
        if factors:
            reader.expect(",", "between groups")
        name = reader.group()
        reader.expect(":", f"between a group and its {what.removeprefix('a ')}")
        factors[name] = reader.factor(what)
    return factors


def parse_epochs(text: str) -> dict[str, float]:
    """Read `stem_conv/bias:3`, likewise."""
    return parse_factors(text, "a number of epochs")


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
        decays: factor of each variable's weight decay; 0: it does not decay.
        freezes: number of updates after which each variable stays as it is, None: it never does;
            empty if no variable does.
    """

    factors: tuple[float, ...]
    group: tuple[int, ...]
    decays: tuple[float, ...]
    freezes: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class VariableGroups:
    """Groups that do not decay, that have factors of rate or decay, or that freeze.

    Args:
        no_decay: groups without weight decay.
        lr_factors: (group, factor of the learning rate) pairs; of several that match a variable the
            last counts.
        wd_factors: (group, factor of the weight decay) pairs, likewise.
        freeze_after: (group, number of updates) pairs, likewise.

    Raises:
        ValueError: if a group is no text, a factor no number from 0 to 1e6, or a number of updates
            no whole number from 0.
    """

    no_decay: tuple[str, ...] = ()
    lr_factors: tuple[tuple[str, float], ...] = ()
    wd_factors: tuple[tuple[str, float], ...] = ()
    freeze_after: tuple[tuple[str, int], ...] = ()

    def __post_init__(self):
        for _, group in self._given():
            if not isinstance(group, str) or not group:
                raise ValueError(f"a group of variables must be a text. Received: {group!r}")
        for name in ("lr_factors", "wd_factors"):
            for group, factor in getattr(self, name):
                if not 0 <= factor <= LARGEST_FACTOR:
                    raise ValueError(
                        f"{name} must be from 0 to {LARGEST_FACTOR:g}. Received: {group}: {factor}"
                    )
        for group, updates in self.freeze_after:
            if updates < 0 or updates % 1:
                raise ValueError(
                    f"freeze_after must be whole numbers from 0. Received: {group}: {updates}"
                )

    def _given(self) -> list[tuple[str, str]]:
        """Every group with the name of the argument in which it was given."""
        given = [("no_decay", group) for group in self.no_decay]
        for name in ("lr_factors", "wd_factors", "freeze_after"):
            given += [(name, group) for group, _ in getattr(self, name)]
        return given

    def factor(self, path: str) -> float:
        """What the learning rate of this variable is multiplied by."""
        return _last(self.lr_factors, path, 1.0)

    def decays(self, path: str) -> float:
        """What the weight decay of this variable is multiplied by."""
        if any(matches(group, path) for group in self.no_decay):
            return 0.0
        return _last(self.wd_factors, path, 1.0)

    def check(self, paths: Sequence[str]) -> None:
        """Raise UnknownGroupError for the first group to which none of these paths belongs."""
        for argument, group in self._given():
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
            tuple(_last(self.freeze_after, path, None) for path in paths)
            if self.freeze_after
            else (),
        )


def _last(pairs, path, default):
    """The value of the last pair whose group holds the variable."""
    return next((value for group, value in reversed(pairs) if matches(group, path)), default)
