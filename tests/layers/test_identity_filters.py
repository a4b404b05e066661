"""IdentityFilters: the first filters pass their input on, the others are another initializer's."""

import keras
import numpy as np
import numpy_layers as reference
import pytest

from tfsc.layers.identity_filters import IdentityFilters


@pytest.mark.parametrize(("into", "out"), [(3, 5), (5, 3), (4, 4)])
def test_the_first_filters_pass_their_input_on(into, out):
    initializer = IdentityFilters(keras.initializers.GlorotUniform(seed=1))
    kernel = initializer((3, 5, into, out)).numpy()
    x = np.random.default_rng(0).normal(size=(2, 6, 7, into))
    padded = np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)))
    count = min(into, out)
    maps = reference.conv(padded, kernel, before=0, after=0)
    np.testing.assert_allclose(maps[..., :count], x[..., :count])
    rest = keras.initializers.GlorotUniform(seed=1)((3, 5, into, out)).numpy()
    np.testing.assert_array_equal(kernel[..., count:], rest[..., count:])


def test_even_kernels_have_no_centre():
    with pytest.raises(ValueError, match=r"odd height and width. Received: shape=\(2, 3, 1, 1\)"):
        IdentityFilters("zeros")((2, 3, 1, 1))


def test_round_trips_through_its_configuration():
    initializer = IdentityFilters(keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"))
    again = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    assert type(again) is IdentityFilters
    assert again.rest.get_config() == initializer.rest.get_config()
