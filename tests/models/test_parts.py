"""What networks share, against NumPy."""

import keras
import numpy as np
import numpy_layers as reference
import pytest

from tfsc.models.parts import Parts, scaled_images


@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 7), (4, 5), (2, 1)])
def test_strided_convolutions_are_padded_by_one_pixel_on_all_sides(height, width):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    inputs = keras.Input(x.shape[1:])
    conv = Parts().conv(inputs, 4, 3, "conv", 2, initializer="glorot_uniform", pad_all_sides=True)
    network = keras.Model(inputs, conv)
    kernel, bias = network.get_layer("conv").get_weights()
    expected = reference.conv(x, kernel, bias, stride=2)
    assert expected.shape == (2, (height + 1) // 2, (width + 1) // 2, 4)
    np.testing.assert_allclose(network(x), expected, atol=1e-5)


def test_keras_same_would_begin_one_pixel_further_at_even_sizes():
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1)).astype(np.float32)
    same = keras.layers.Conv2D(1, 3, 2, "same")
    outputs = same(x)
    kernel = same.get_weights()[0]
    np.testing.assert_allclose(
        outputs, reference.conv(x, kernel, stride=2, before=0, after=1), atol=1e-5
    )


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_images_are_centred_and_scaled_in_float32(scale):
    keras.config.set_dtype_policy("mixed_bfloat16")
    raw = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    mean = raw.mean(0) / 255
    network = keras.Model(*scaled_images((4, 5, 3), mean, scale))
    scaled = network(raw).numpy()
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, scale * (raw / 255 - mean), atol=1e-6 * scale)
