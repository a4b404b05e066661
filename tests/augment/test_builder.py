"""`build`: the chain that an augmentation's text asks for."""

import numpy as np
import pytest

from tfsc import augment
from tfsc.augment import AUGMENTATIONS
from tfsc.augment.crop import ReflectCrop
from tfsc.augment.flip import AlternatingFlip, RandomFlip
from tfsc.augment.shift import RandomShift
from tfsc.text.reader import TextSyntaxError


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("shift(0.07) flip", [RandomShift, RandomFlip]),
        ("flip(random)", [RandomFlip]),
        ("shift(0.07)", [RandomShift]),
        ("none", []),
        ("crop(2) shift(0.07) flip(alternating)", [ReflectCrop, RandomShift, AlternatingFlip]),
        ("flip crop(2)", [RandomFlip, ReflectCrop]),  # the order is the text's
    ],
)
def test_build_makes_the_chain_of_the_text_in_its_order(text, kinds):
    chain = augment.build(text, seed=9)
    assert [type(layer) for layer in chain.layers] == kinds
    assert all(layer.seed == 9 for layer in chain.layers)
    assert all(layer.factor == 0.07 for layer in chain.layers if isinstance(layer, RandomShift))
    assert all(layer.size == 2 for layer in chain.layers if isinstance(layer, ReflectCrop))
    assert chain.by_visit == (AlternatingFlip in kinds)
    assert not chain.native and augment.build(text, 9, native=True).native


def test_what_has_been_read_is_as_good_as_its_text():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    calls = AUGMENTATIONS.parse_several("crop(2) flip")
    one, other = (augment.build(each, seed=3) for each in (calls, str(calls)))
    np.testing.assert_array_equal(one(images, np.arange(3)), other(images, np.arange(3)))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("shift", "shift needs factor"),
        ("shift(0)", "factor of shift must be above 0 and at most 1, received 0"),
        ("shift(1.1)", "factor of shift must be above 0 and at most 1, received 1.1"),
        ("crop(0)", "size of crop must be a whole number from 1 to 1000, received 0"),
        ("flip(sometimes)", "which of flip must be one of random, alternating"),
        ("flip flip(alternating)", "flip is given twice"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        augment.build(text, seed=0)
