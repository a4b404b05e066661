"""`build`: the augmentation of a run, one layer of all its parts."""

from collections.abc import Iterable

from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.augment.separable import SeparableChain
from tfsc.text.family import Call


def build(augmentation: str | Iterable[Call], seed: int, native: bool = False) -> SeparableChain:
    """The augmentations of a text, in its order and in one pass.

        build("shift(0.07) flip", seed=0)

    Args:
        augmentation: text of several of `AUGMENTATIONS`, or what they have read.
        seed: of all draws.
        native: whether it is computed in C++.

    Raises:
        TextSyntaxError: if the text breaks a rule.
    """
    if isinstance(augmentation, str):
        augmentation = AUGMENTATIONS.parse_several(augmentation)
    layers = [
        AUGMENTATIONS.builder(call.family)(**dict(call.arguments), seed=seed)
        for call in augmentation
    ]
    return SeparableChain(layers, native=native)
