"""RandomShift against Keras' own translations, in NumPy's and in TensorFlow's clothing."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from eager import eagerly
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from rounding import assert_equal_but_for_rounding
from scipy import stats

from tfsc.augment.shift import RandomShift, shift_matrix

GREY = 1e-3  # grey levels: the rounding of float32 interpolation at 255 stays well below
SHAPES = [(32, 32, 3), (24, 40, 1), (17, 9, 3)]


def _images(n, shape=(32, 32, 3)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


def _numbers(n):
    return tf.range(n, dtype=tf.int64)


class FixedShift(RandomShift):
    """Shifts every image by the same distances."""

    def __init__(self, down, right):
        super().__init__(1.0)
        self.down, self.right = down, right

    def distances(self, sample_numbers, height, width):
        shape = tf.shape(sample_numbers)
        return tf.fill(shape, self.down), tf.fill(shape, self.right)


@functools.cache
def _shifted(shape):
    """Six images, the same shifted, and their distances down and right."""
    shift = RandomShift(0.3, seed=3)
    distances = (distance.numpy() for distance in shift.distances(_numbers(6), *shape[:2]))
    images = _images(6, shape)
    return images, shift(images, _numbers(6)).numpy(), *distances


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_keras_random_translation(shape):
    for image, result, dy, dx in zip(*_shifted(shape), strict=True):
        # Equal bounds force the distance.
        translate = keras.layers.RandomTranslation(
            (dy / shape[0],) * 2, (dx / shape[1],) * 2, fill_mode="nearest"
        )
        expected = translate(image[None].astype(np.float32), training=True)[0]
        np.testing.assert_allclose(result, expected, atol=GREY)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_image_data_generator(shape):
    generator = ImageDataGenerator(fill_mode="nearest")
    for image, result, dy, dx in zip(*_shifted(shape), strict=True):
        # ImageDataGenerator's distances say where it reads, so they have the other sign.
        expected = generator.apply_transform(image.astype(np.float32), {"ty": -dy, "tx": -dx})
        np.testing.assert_allclose(result, expected, atol=GREY)


@pytest.mark.parametrize(("down", "right"), [(2, 0), (0, 3), (-1, -2), (4, -5), (0, 0), (99, -99)])
def test_whole_distances_move_pixels_exactly_and_repeat_the_edge(down, right):
    images = _images(2, (8, 12, 3))
    rows = np.clip(np.arange(8) - down, 0, 7)
    columns = np.clip(np.arange(12) - right, 0, 11)
    shifted = FixedShift(float(down), float(right))(images, _numbers(2))
    np.testing.assert_array_equal(shifted, images[:, rows][:, :, columns].astype(np.float32))


def test_half_a_pixel_is_the_mean_of_two_neighbours():
    image = np.array([[0, 10, 30, 70]], np.float32).reshape(1, 1, 4, 1)
    shifted = FixedShift(0.0, 0.5)(image, _numbers(1)).numpy().ravel()
    assert shifted.tolist() == [0, 5, 20, 50]


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_uniform_and_independent_on_both_axes(seed):
    down, right = RandomShift(0.07, seed=seed).distances(_numbers(20_000), 32, 48)
    for distance, size in ((down, 32), (right, 48)):
        share = distance.numpy() / (0.07 * size)
        assert stats.kstest(share, "uniform", args=(-1, 2)).pvalue > 1e-4
    assert stats.pearsonr(down, right).pvalue > 1e-4


def test_another_seed_shifts_otherwise():
    images = _images(8)
    with eagerly():
        one = RandomShift(0.1, seed=0)(images, _numbers(8)).numpy()
        other = RandomShift(0.1, seed=1)(images, _numbers(8)).numpy()
    assert all(np.any(a != b) for a, b in zip(one, other, strict=True))


def test_factor_0_changes_nothing():
    images = _images(4)
    with eagerly():
        shifted = RandomShift(0.0)(images, _numbers(4))
    np.testing.assert_array_equal(shifted, images.astype(np.float32))


# Beyond the borders too, and at fractions that float32 has to round.
_DISTANCES = st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(distances=_DISTANCES, size=st.integers(1, 48))
def test_rows_of_the_matrix_are_weights_centred_on_the_place_read(distances, size):
    distances = np.array(distances, np.float32)
    matrices = shift_matrix(tf.constant(distances), size).numpy()
    assert matrices.shape == (len(distances), size, size)
    assert matrices.min() >= 0
    assert np.count_nonzero(matrices, axis=2).max() <= 2
    np.testing.assert_allclose(matrices.sum(2), 1, atol=1e-5)
    place = np.arange(size)
    source = np.clip(place - distances[:, None].astype(np.float64), 0, size - 1)
    np.testing.assert_allclose(matrices @ place, source, atol=1e-3)


@pytest.mark.parametrize("factor", [-0.1, 1.01, float("nan")])
def test_a_factor_out_of_range_is_named(factor):
    with pytest.raises(ValueError, match=f"factor must be from 0 to 1. Received: {factor}"):
        RandomShift(factor)


def test_round_trips_through_its_configuration():
    shift = RandomShift(0.07, seed=5, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(shift))
    assert type(again) is RandomShift
    assert again.get_config() == shift.get_config()
    images = _images(4)
    with eagerly():
        np.testing.assert_array_equal(again(images, _numbers(4)), shift(images, _numbers(4)))


def test_works_in_a_plain_tf_data_pipeline():
    # The example of the docstring.
    images, labels = _images(12), np.arange(12)
    shift = RandomShift(0.07, seed=0)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = (
        dataset.batch(4)
        .enumerate()
        .map(lambda k, batch: (shift(batch[0], k * 4 + tf.range(4, dtype=tf.int64)), batch[1]))
    )
    batches = list(dataset.as_numpy_iterator())
    shifted = np.concatenate([shifted for shifted, _ in batches])
    assert_equal_but_for_rounding(shifted, shift(images, _numbers(12)))
    np.testing.assert_array_equal(np.concatenate([label for _, label in batches]), labels)
