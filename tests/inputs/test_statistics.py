"""Statistics of training images against NumPy's and by hand."""

import numpy as np
import pytest

from tfsc.inputs.statistics import image_deviation, image_mean


@pytest.mark.parametrize(("of", "shape"), [("pixel", (8, 12, 3)), ("channel", (3,)), ("none", ())])
def test_the_mean_is_exact_and_between_0_and_1(of, shape):
    # So many bright images that a float32 sum of pixels would be off.
    images = np.full((3000, 8, 12, 3), 251, np.uint8)
    images[::2, :, :, 1] = 250
    mean = image_mean(images, of)
    assert mean.shape == shape
    assert mean.dtype == np.float32
    if of == "none":
        assert mean == 0
    else:
        expected = np.array([251, 250.5, 251]) / 255
        np.testing.assert_allclose(mean, np.broadcast_to(expected, shape), rtol=1e-7)


def test_the_deviation_is_each_channels():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3)).astype(np.uint8)
    images[..., 1] //= 3
    deviation = image_deviation(images)
    assert deviation.dtype == np.float64
    np.testing.assert_allclose(deviation, (images / 255).std((0, 1, 2)), rtol=1e-12)


def test_a_channel_that_never_changes_has_deviation_1():
    images = np.full((2001, 2, 2, 2), 7, np.uint8)  # in parts of 1000
    images[::3, ..., 1] = 9
    # A third (667) of 9 among 7s: 2·√(1/3·2/3).
    np.testing.assert_allclose(image_deviation(images), [1, 2 * (2 / 9) ** 0.5 / 255], rtol=1e-6)
