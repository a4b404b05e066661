"""The whitening convolution: what it does to the images it was computed from, and that it stays."""

import keras
import numpy as np
import numpy_layers as reference
import pytest

from tfsc.layers.whitening import WhiteningConv2D, whitening_kernel


def _images(n=300, shape=(6, 7, 3), seed=0):
    """Smooth images: neighbours and channels are correlated, as in photographs."""
    noise = np.random.default_rng(seed).normal(size=(n, shape[0] + 2, shape[1] + 2, shape[2]))
    smooth = noise[:, :-2, :-2] + noise[:, 1:-1, 1:-1] + noise[:, 2:, 2:]
    return smooth + smooth.mean(-1, keepdims=True)


def _second_moment(outputs):
    flat = outputs.reshape(-1, outputs.shape[-1])
    return flat.T @ flat / len(flat)


@pytest.mark.parametrize("shape", [(6, 7, 3), (5, 5, 1)])
def test_whitened_patches_are_uncorrelated_with_mean_squares_of_one(shape):
    images = _images(shape=shape)  # more than one chunk
    kernel = whitening_kernel(images, 2, epsilon=0.0)
    half = 4 * shape[2]
    assert kernel.shape == (2, 2, shape[2], 2 * half)
    np.testing.assert_array_equal(kernel[..., half:], -kernel[..., :half])
    outputs = reference.conv(images, kernel[..., :half], before=0, after=0)
    np.testing.assert_allclose(_second_moment(outputs), np.eye(half), atol=1e-5)


def test_epsilon_damps_faint_directions_and_eigenvalues_descend():
    images = 0.1 * _images()
    epsilon = 0.05
    kernel = whitening_kernel(images, 2, epsilon)[..., :12]
    moment = _second_moment(reference.conv(images, kernel, before=0, after=0))
    patches = np.stack([images[:, i : i + 5, j : j + 6] for i in (0, 1) for j in (0, 1)], 3)
    flat = patches.reshape(-1, 12)
    values = np.linalg.eigvalsh(flat.T @ flat / len(flat))[::-1]
    np.testing.assert_allclose(moment, np.diag(values / (values + epsilon)), atol=1e-5)
    largest = np.abs(kernel.reshape(12, 12)).argmax(0)
    assert (kernel.reshape(12, 12)[largest, np.arange(12)] > 0).all()


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 1, 3), (4, 4, 3)])
def test_images_without_patches_are_refused(shape):
    with pytest.raises(ValueError, match=r"at least 2×2\. Received: shape="):
        whitening_kernel(np.zeros(shape))


@pytest.mark.parametrize(("padding", "after"), [("valid", 0), ("same", 1)])
def test_the_layer_is_a_convolution_of_which_only_the_bias_trains(padding, after, tmp_path):
    inputs = keras.Input((6, 7, 3))
    layer = WhiteningConv2D(24, padding=padding, name="whitening")
    network = keras.Model(inputs, layer(inputs))
    images = _images(4)
    layer.set_kernel(whitening_kernel(images))
    layer.bias.assign(np.arange(24) / 10)
    expected = reference.conv(
        images, layer.kernel.numpy(), layer.bias.numpy(), before=0, after=after
    )
    np.testing.assert_allclose(network(images), expected, rtol=1e-4, atol=1e-4)
    assert network.output.shape == (None, 5 + after, 6 + after, 24)
    assert [v.path for v in network.trainable_variables] == ["whitening/bias"]
    layer.trainable = False
    layer.trainable = True
    assert [v.path for v in network.trainable_variables] == ["whitening/bias"]
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(images), network(images))
    assert [v.path for v in again.trainable_variables] == ["whitening/bias"]


def test_sizes_out_of_range_are_named():
    with pytest.raises(ValueError, match="Received: filters=0, size=2"):
        WhiteningConv2D(0)
    with pytest.raises(ValueError, match=r"'valid' or 'same'\. Received: 'full'"):
        WhiteningConv2D(24, padding="full")
