"""`build`: what the steps of an input take of the training images."""

import numpy as np
import pytest

from tfsc import inputs
from tfsc.inputs import INPUTS, Inputs, image_deviation, image_mean
from tfsc.layers.whitening import EPSILON, whitening_kernel
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3)).astype(np.uint8)


def _built(text):
    return inputs.build(INPUTS.parse_several(text), IMAGES)


@pytest.mark.parametrize(
    ("text", "mean", "divided"),
    [
        ("none", "none", False),
        ("center", "pixel", False),
        ("center(channel)", "channel", False),
        ("standardize", "channel", True),
        ("standardize(pixel)", "pixel", True),
        ("standardize(none)", "none", True),
    ],
)
@pytest.mark.parametrize("factor", [1, 255])
def test_images_are_centred_divided_and_scaled(text, mean, divided, factor):
    if factor != 1:
        text = f"{'' if text == 'none' else text} scale({factor})"
    built = _built(text)
    np.testing.assert_array_equal(built.mean, image_mean(IMAGES, mean))
    expected = factor / image_deviation(IMAGES) if divided else factor
    np.testing.assert_allclose(built.scale, expected, rtol=1e-6)
    assert np.shape(built.scale) == ((3,) if divided else ())
    assert not divided or built.scale.dtype == np.float32
    assert built.whitening is None


@pytest.mark.parametrize("steps", ["center(channel)", "standardize", "center scale(255)"])
@pytest.mark.parametrize("count", [7, 5000])
def test_whitening_is_of_the_first_images_as_the_convolution_sees_them(steps, count):
    built = _built(f"{steps} whiten({count})")
    seen = (IMAGES[:count] / 255 - built.mean) * built.scale
    # ε is of images whose range is 1.
    epsilon = EPSILON * (255**2 if "scale" in steps else 1)
    expected = whitening_kernel(seen, epsilon=epsilon)
    tolerance = 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(built.whitening, expected, rtol=1e-3, atol=tolerance)


def test_whitening_is_of_5000_images_unless_the_text_says_otherwise():
    assert INPUTS.parse("whiten")["count"] == 5000


def test_without_steps_images_are_only_scaled_to_0_to_1():
    assert inputs.build((), IMAGES) == Inputs()
    assert (Inputs().mean, Inputs().scale) == (0, 1)


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        ("center standardize", "center and standardize both subtract a mean: one of them", 0),
        ("whiten center", "center must stand before whiten", 7),
        ("scale(2) standardize", "standardize must stand before scale", 9),
        ("scale", "scale needs factor", 5),
        ("scale(0)", "factor of scale must be above 0 and at most 255, received 0", 6),
        ("whiten(0)", "count of whiten must be a whole number from 1 to 10000000, received 0", 7),
        ("center(none)", "mean of center must be one of pixel, channel, found 'none'", 7),
    ],
)
def test_steps_that_break_a_rule_are_refused(text, rule, at):
    with pytest.raises(TextSyntaxError) as caught:
        INPUTS.parse_several(text)
    assert caught.value.rule.startswith(rule)
    assert caught.value.position == at
