"""`build`: the augmentation of a run, one layer of all its parts."""

from tfsc.augment.crop import ReflectCrop
from tfsc.augment.flip import AlternatingFlip, RandomFlip
from tfsc.augment.separable import SeparableChain
from tfsc.augment.shift import RandomShift

_FLIPS = {"random": RandomFlip, "alternating": AlternatingFlip}


def build(
    shift: float,
    flip: bool,
    seed: int,
    crop: int = 0,
    flip_mode: str = "random",
    native: bool = False,
) -> SeparableChain:
    """A crop by whole pixels, a sub-pixel shift, then a left-right flip, in one pass.

    Args:
        shift: factor of `RandomShift`; 0: none.
        flip: whether half of the images are mirrored.
        seed: of all draws.
        crop: size of `ReflectCrop`; 0: none.
        flip_mode: "random" or "alternating".
        native: whether it is computed in C++.
    """
    layers = []
    if crop > 0:
        layers.append(ReflectCrop(crop, seed=seed))
    if shift > 0:
        layers.append(RandomShift(shift, seed=seed))
    if flip:
        layers.append(_FLIPS[flip_mode](seed=seed))
    return SeparableChain(layers, native=native)
