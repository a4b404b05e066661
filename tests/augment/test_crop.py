"""ReflectCrop is NumPy's padding "reflect" and a cut, to the bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfsc.augment.crop import ReflectCrop, reflect_matrix
from tfsc.augment.flip import RandomFlip
from tfsc.augment.separable import SeparableChain


def _numbers(n):
    return tf.range(n, dtype=tf.int64)


@pytest.mark.parametrize(("shape", "size"), [((32, 32, 3), 2), ((6, 9, 1), 5)])
@pytest.mark.parametrize("jit", [False, True])
def test_an_image_is_padded_by_reflection_and_cut_at_its_own_place(shape, size, jit):
    images = np.random.default_rng(0).integers(0, 256, (24, *shape)).astype(np.uint8)
    crop = ReflectCrop(size, seed=1)
    down, right = (d.numpy() for d in crop.distances(_numbers(24)))
    assert min(down.min(), right.min()) == -size and max(down.max(), right.max()) == size
    padded = np.pad(images, ((0, 0), (size, size), (size, size), (0, 0)), mode="reflect")
    height, width = shape[:2]
    expected = [
        image[size + dy : size + dy + height, size + dx : size + dx + width]
        for image, dy, dx in zip(padded, down, right, strict=True)
    ]
    result = tf.function(crop, jit_compile=jit)(tf.constant(images), _numbers(24))
    np.testing.assert_array_equal(result, np.float32(expected))


def test_every_distance_is_equally_frequent_and_axes_are_independent():
    down, right = (d.numpy() for d in ReflectCrop(2, seed=3).distances(_numbers(20_000)))
    table = np.zeros((5, 5))
    np.add.at(table, (down + 2, right + 2), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-4
    other = ReflectCrop(2, seed=4).distances(_numbers(20_000))[0].numpy()
    assert stats.pearsonr(down, other).pvalue > 1e-4
    mirrored = RandomFlip(seed=3).flipped(_numbers(20_000)).numpy()
    assert stats.pearsonr(down, mirrored).pvalue > 1e-4


def test_an_image_comes_out_the_same_whatever_batch_it_is_in():
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype(np.uint8)
    chain = SeparableChain([ReflectCrop(2), RandomFlip()])
    whole = chain(images, _numbers(16)).numpy()
    np.testing.assert_array_equal(chain(images[9:11], _numbers(16)[9:11]), whole[9:11])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))
    np.testing.assert_array_equal(again(images, _numbers(16)), whole)


def test_rows_of_the_matrix_by_hand():
    matrices = reflect_matrix(tf.constant([-2, 0, 1]), 4).numpy()
    assert matrices.argmax(2).tolist() == [[2, 1, 0, 1], [0, 1, 2, 3], [1, 2, 3, 2]]
    assert (matrices.sum(2) == 1).all() and set(np.unique(matrices)) == {0, 1}


def test_sizes_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"size must be at least 0\. Received: -1"):
        ReflectCrop(-1)
    with pytest.raises(ValueError, match="Received: size=4, images of 9×4"):
        ReflectCrop(4)(np.zeros((1, 9, 4, 3), np.uint8), _numbers(1))
