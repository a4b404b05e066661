"""What holds for every separable augmentation, shown on the chain that training uses."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from eager import eagerly
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from native_operations import needs_operations
from rounding import assert_equal_but_for_rounding

from tfsc import augment
from tfsc.augment.flip import RandomFlip
from tfsc.augment.separable import SeparableAugmentation, SeparableChain
from tfsc.augment.shift import RandomShift
from tfsc.native import library

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype(np.uint8)
# Not in order and beyond 32 bits, as in a long run.
NUMBERS = np.random.default_rng(1).integers(0, 2**40, 64)


@functools.cache  # each compiles its matrices once
def _chain(seed=0):
    return SeparableChain([RandomShift(0.1, seed=seed), RandomFlip(seed=seed)])


@pytest.fixture(scope="module")
def augmented():
    return _chain()(IMAGES, NUMBERS).numpy()


@needs_operations
@pytest.mark.parametrize(
    ("text", "shape", "dtype"),
    [
        ("shift(0.07) flip", (64, 32, 32, 3), np.uint8),
        ("crop(2) shift(0.2)", (7, 8, 8, 1), np.float32),
        ("crop(2) flip(alternating)", (5, 20, 13, 3), np.uint8),
        ("flip crop(2)", (5, 20, 13, 3), np.uint8),
        ("flip", (0, 16, 16, 3), np.uint8),
        ("none", (3, 5, 7, 2), np.float32),
    ],
)
def test_in_cpp_the_images_are_the_same_but_for_rounding(text, shape, dtype):
    images = np.random.default_rng(3).integers(0, 256, shape).astype(dtype)
    numbers = visits = tf.constant(NUMBERS[: len(images)])
    chain = augment.build(text, seed=9, native=True)
    native = chain(images, numbers, visits)
    chain.native = False  # with the matrices that are compiled
    products = chain(images, numbers, visits)
    assert native.dtype == tf.float32
    assert_equal_but_for_rounding(native, products)


def test_without_the_operations_it_is_the_products(monkeypatch):
    monkeypatch.setattr(library, "is_available", lambda: False)
    chains = [augment.build("shift(0.1) flip", 9, native=native) for native in (False, True)]
    assert [chain.native for chain in chains] == [False, True]
    with eagerly():
        np.testing.assert_array_equal(*(chain(IMAGES, NUMBERS) for chain in chains))


@needs_operations
@pytest.mark.parametrize("shape", [(3, 32, 32, 3), (2, 9, 17, 4), (1, 1, 1, 1)])
def test_matrices_may_be_full(shape):
    n, height, width, _ = shape
    rng = np.random.default_rng(4)
    images = rng.normal(size=shape).astype(np.float32)
    a_y, a_x = (rng.normal(size=(n, s, s)).astype(np.float32) for s in (height, width))
    expected = np.einsum("nij,njkc,nlk->nilc", *(v.astype(np.float64) for v in (a_y, images, a_x)))
    found = library.load().tfsc_separable(x=images, a_y=a_y, a_x=a_x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@needs_operations
def test_matrices_that_do_not_fit_are_refused():
    images, eyes = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.float32)
    for a_y, a_x in ((eyes[:1], eyes), (eyes, eyes[:, :3]), (eyes[0], eyes)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be x .* Received"):
            library.load().tfsc_separable(x=images, a_y=a_y, a_x=a_x)


def test_the_chain_shifts_first_and_flips_second(augmented):
    with eagerly():
        shifted = RandomShift(0.1)(IMAGES, NUMBERS)
        expected = RandomFlip()(shifted, NUMBERS)
        other_order = SeparableChain([RandomFlip(), RandomShift(0.1)])(IMAGES, NUMBERS)
    np.testing.assert_allclose(augmented, expected, atol=1e-3)
    assert np.abs(augmented - other_order).max() > 10


def test_the_chain_equals_image_data_generator_which_flips_last_too(augmented):
    down, right = (d.numpy() for d in RandomShift(0.1).distances(NUMBERS, 32, 32))
    flipped = RandomFlip().flipped(NUMBERS).numpy()
    generator = ImageDataGenerator(fill_mode="nearest")
    for index in range(16):
        transform = {"ty": -down[index], "tx": -right[index], "flip_horizontal": flipped[index]}
        expected = generator.apply_transform(IMAGES[index].astype(np.float32), transform)
        np.testing.assert_allclose(augmented[index], expected, atol=1e-3)


def test_an_image_comes_out_the_same_whatever_batch_it_is_in(augmented):
    chain = _chain()
    quarters = [chain(IMAGES[i : i + 16], NUMBERS[i : i + 16]).numpy() for i in range(0, 64, 16)]
    # A product's kernel may be chosen by the size of the batch.
    assert_equal_but_for_rounding(np.concatenate(quarters), augmented)
    order = np.random.default_rng(2).permutation(64)
    np.testing.assert_array_equal(chain(IMAGES[order], NUMBERS[order]), augmented[order])
    assert_equal_but_for_rounding(chain(IMAGES[5:6], NUMBERS[5:6]), augmented[5:6])


@pytest.mark.parametrize("jit", [False, True])
def test_graphs_and_xla_give_the_same_images(augmented, jit):
    compiled = tf.function(_chain().__call__, jit_compile=jit)
    images = compiled(tf.constant(IMAGES), tf.constant(NUMBERS))
    assert_equal_but_for_rounding(images, augmented)


def test_a_graph_with_batches_of_any_size_gives_the_same_images(augmented):
    signature = [tf.TensorSpec([None, 32, 32, 3], tf.uint8), tf.TensorSpec([None], tf.int64)]
    compiled = tf.function(_chain().__call__, input_signature=signature)
    assert_equal_but_for_rounding(compiled(IMAGES[:10], NUMBERS[:10]), augmented[:10])


def test_another_seed_gives_other_images(augmented):
    with eagerly():
        other = _chain(seed=1)(IMAGES, NUMBERS).numpy()
    # By more than rounding: one is compiled, the other not.
    assert np.abs(augmented - other).max((1, 2, 3)).min() > 1


def test_an_empty_chain_only_casts():
    result = SeparableChain([])(IMAGES, NUMBERS)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, IMAGES)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32, tf.bfloat16])
def test_any_dtype_of_images_becomes_float32(dtype):
    images = tf.cast(IMAGES // 128, dtype)  # values that bfloat16 holds exactly
    result = _chain()(images, NUMBERS)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, _chain()(IMAGES // 128, NUMBERS))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_leaves_it_in_float32(policy):
    images = IMAGES + np.float32(0.3)  # bfloat16 holds whole grey levels only
    expected = _chain()(images, NUMBERS)
    keras.config.set_dtype_policy(policy)
    result = _chain()(images, NUMBERS)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, expected)


def test_gradients_reach_the_images():
    images = tf.constant(IMAGES[:16], tf.float32)
    weights = tf.constant(np.random.default_rng(3).normal(size=images.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = tf.reduce_sum(weights * _chain()(images, NUMBERS[:16]))
    gradient = tape.gradient(result, images)
    # The map A is linear: ⟨w, A x⟩ = ⟨Aᵀ w, x⟩.
    np.testing.assert_allclose(tf.reduce_sum(gradient * images), result, rtol=1e-3, atol=0.5)
    # Every pixel inside the border is still somewhere in the image.
    assert np.all(gradient.numpy()[:, 4:-4, 4:-4] != 0)


def test_the_chain_round_trips_through_its_configuration():
    chain = _chain()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))
    assert [type(layer) for layer in again.layers] == [RandomShift, RandomFlip]
    assert again.get_config() == chain.get_config()
    with eagerly():
        np.testing.assert_array_equal(again(IMAGES, NUMBERS), chain(IMAGES, NUMBERS))


def test_it_has_no_weights_and_keeps_the_shape():
    chain = _chain()
    assert chain.compute_output_shape((None, 32, 32, 3)) == (None, 32, 32, 3)
    chain(IMAGES[:16], NUMBERS[:16])
    assert chain.variables == []


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=f"seed must be from 0 to 2.*Received: {seed}"):
        SeparableChain([], seed=seed)


def test_a_subclass_without_matrices_is_told_what_it_lacks():
    with pytest.raises(NotImplementedError, match=r"SeparableAugmentation must define matrices"):
        SeparableAugmentation()(IMAGES[:1], NUMBERS[:1])
