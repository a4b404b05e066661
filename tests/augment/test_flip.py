"""RandomFlip mirrors half of the images, exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfsc.augment.flip import AlternatingFlip, RandomFlip, flip
from tfsc.augment.separable import SeparableChain
from tfsc.augment.shift import RandomShift
from tfsc.data import example_and_epoch


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


def _flipped(epoch, seed=0, n=20_000):
    return AlternatingFlip(seed=seed).flipped(example_and_epoch.join(_numbers(n), epoch)).numpy()


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_every_image_alternates_from_a_side_of_its_own(seed):
    first = _flipped(0, seed)
    assert stats.binomtest(int(first.sum()), 20_000, 0.5).pvalue > 1e-4
    for epoch in (1, 2, 3, 2**20):
        np.testing.assert_array_equal(_flipped(epoch, seed), first ^ (epoch % 2 == 1))


def test_another_seed_begins_with_other_sides():
    agreement = int((_flipped(0, 0) == _flipped(0, 1)).sum())
    assert stats.binomtest(agreement, 20_000, 0.5).pvalue > 1e-4


def test_alternating_flips_depend_on_the_visit_alone_and_chain():
    images = np.random.default_rng(0).integers(0, 256, (16, 4, 5, 3)).astype(np.uint8)
    numbers, seen = tf.range(100, 116, dtype=tf.int64), example_and_epoch.join(_numbers(16), 3)
    chain = SeparableChain([RandomShift(0.3), AlternatingFlip()])
    assert chain.by_visit
    shifted = RandomShift(0.3)(images, numbers).numpy()
    mirrored = _flipped(3, n=16)
    expected = np.where(mirrored[:, None, None, None], shifted[:, :, ::-1], shifted)
    compiled = tf.function(chain, jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(images), numbers, seen), expected, atol=1e-3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))
    np.testing.assert_allclose(again(images, numbers, seen), expected, atol=1e-3)
    with pytest.raises(ValueError, match=r"SeparableChain needs visits. Received: None"):
        chain(images, numbers)


def test_flip_is_one_of_the_two_by_name():
    assert type(flip(seed=5)) is RandomFlip and flip(seed=5).seed == 5
    assert type(flip("alternating", 5)) is AlternatingFlip and flip("alternating", 5).seed == 5


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=f"Received: {seed}"):
        RandomFlip(seed=seed)
