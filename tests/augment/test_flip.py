"""RandomFlip mirrors half of the images, exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfsc.augment.flip import RandomFlip
from tfsc.augment.shift import RandomShift


def _numbers(n):
    return tf.range(n, dtype=tf.int64)


@pytest.mark.parametrize("shape", [(32, 32, 3), (6, 9, 1)])
def test_images_are_mirrored_or_left_exactly_as_they_are(shape):
    images = np.random.default_rng(0).integers(0, 256, (16, *shape)).astype(np.uint8)
    flip = RandomFlip(seed=1)
    mirrored = flip.flipped(_numbers(16)).numpy()
    assert 0 < mirrored.sum() < 16
    expected = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_array_equal(flip(images, _numbers(16)), expected.astype(np.float32))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_half_of_the_images_are_mirrored(seed):
    count = int(tf.math.count_nonzero(RandomFlip(seed=seed).flipped(_numbers(20_000))))
    assert stats.binomtest(count, 20_000, 0.5).pvalue > 1e-4


def test_another_seed_mirrors_other_images():
    one, other = (RandomFlip(seed=seed).flipped(_numbers(20_000)).numpy() for seed in (0, 1))
    assert stats.binomtest(int((one == other).sum()), 20_000, 0.5).pvalue > 1e-4


def test_the_flip_is_independent_of_the_shift_of_the_same_seed():
    mirrored = RandomFlip(seed=4).flipped(_numbers(20_000)).numpy()
    for distance in RandomShift(0.1, seed=4).distances(_numbers(20_000), 32, 32):
        assert stats.pearsonr(mirrored, distance.numpy()).pvalue > 1e-4


def test_round_trips_through_its_configuration():
    flip = RandomFlip(seed=5, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(flip))
    assert type(again) is RandomFlip
    assert again.get_config() == flip.get_config()
    np.testing.assert_array_equal(again.flipped(_numbers(64)), flip.flipped(_numbers(64)))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=f"Received: {seed}"):
        RandomFlip(seed=seed)
