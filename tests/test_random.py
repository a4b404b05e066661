"""The generator against its published vectors, and the draws against statistics."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfsc.random import of_layer, sixteen_bits, threefry2x32, uniform_pair

MANY = 20_000
# Each check below is a draw of luck fixed by its seed; a sound generator fails one in 10,000.
IMPROBABLE = 1e-4


def _words(*values):
    return tuple(tf.constant(value, tf.uint32) for value in values)


def _reference(key, counter):
    """Threefry-2×32 with 20 rounds, after the paper, in Python's whole numbers."""
    mask = 0xFFFFFFFF
    schedule = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    x0, x1 = (counter[0] + key[0]) & mask, (counter[1] + key[1]) & mask
    for index in range(20):
        x0 = (x0 + x1) & mask
        distance = (13, 15, 26, 6, 17, 29, 16, 24)[index % 8]
        x1 = ((x1 << distance | x1 >> (32 - distance)) & mask) ^ x0
        if index % 4 == 3:
            block = index // 4 + 1
            x0 = (x0 + schedule[block % 3]) & mask
            x1 = (x1 + schedule[(block + 1) % 3] + block) & mask
    return x0, x1


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_vectors_published_with_random123(key, counter, expected):
    result = threefry2x32(_words(*key), _words(*counter))
    assert tuple(int(word) for word in result) == expected


def test_threefry_equals_a_plain_reference_on_random_words():
    words = np.random.default_rng(0).integers(0, 2**32, (4, 50), dtype=np.uint32)
    for key in words[:2].T.tolist():
        x0, x1 = threefry2x32(_words(*key), _words(words[2], words[3]))
        expected = [_reference(key, counter) for counter in words[2:].T.tolist()]
        np.testing.assert_array_equal(np.stack([x0, x1], 1), expected)


def test_draws_are_the_upper_24_bits_of_the_words():
    first, second = uniform_pair(7, 9, tf.constant([5, 2**40 + 3], tf.int64))
    words = [_reference((7, 9), (number & 0xFFFFFFFF, number >> 32)) for number in (5, 2**40 + 3)]
    assert first.numpy().tolist() == [word[0] // 256 / 2**24 for word in words]
    assert second.numpy().tolist() == [word[1] // 256 / 2**24 for word in words]


@pytest.mark.parametrize("first_number", [0, 2**31 - MANY // 2, 2**32 - MANY // 2, 2**50])
@pytest.mark.parametrize(("seed", "stream"), [(0, 1), (1, 2), (2**32 - 1, 2**32 - 1)])
def test_draws_are_uniform_from_0_to_below_1(seed, stream, first_number):
    numbers = first_number + tf.range(MANY, dtype=tf.int64)
    for draw in uniform_pair(seed, stream, numbers):
        draw = draw.numpy()
        assert draw.dtype == np.float32
        assert draw.min() >= 0 and draw.max() < 1
        assert stats.kstest(draw, "uniform").pvalue > IMPROBABLE


def _draw(which=0, seed=0, stream=1, first=0):
    return uniform_pair(seed, stream, first + tf.range(MANY, dtype=tf.int64))[which].numpy()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({}, {"which": 1}, id="the two draws"),
        pytest.param({}, {"first": 1}, id="neighbouring numbers"),
        pytest.param({"which": 1}, {"which": 1, "first": 1}, id="their second draws"),
        pytest.param({}, {"first": 2**32}, id="numbers with the same low word"),
        pytest.param({}, {"seed": 1}, id="neighbouring seeds"),
        pytest.param({}, {"stream": 2}, id="neighbouring streams"),
        pytest.param({"seed": 1, "stream": 2}, {"seed": 2}, id="seed and stream exchanged"),
    ],
)
def test_draws_are_uncorrelated(one, other):
    one, other = _draw(**one), _draw(**other)
    assert stats.pearsonr(one, other).pvalue > IMPROBABLE
    # The halves decide the flip: they must be independent of their own.
    table = np.histogram2d(one, other, bins=2, range=[[0, 1], [0, 1]])[0]
    assert stats.chi2_contingency(table).pvalue > IMPROBABLE


def test_numbers_beyond_32_bits_differ_from_their_low_words():
    low = uniform_pair(0, 1, tf.range(100, dtype=tf.int64))
    high = uniform_pair(0, 1, 2**32 + tf.range(100, dtype=tf.int64))
    for one, other in zip(low, high, strict=True):
        assert np.mean(one.numpy() != other.numpy()) > 0.99


def test_a_draw_depends_on_its_own_number_alone():
    numbers = np.random.default_rng(0).integers(0, 2**62, 64)
    together = np.stack(uniform_pair(3, 1, tf.constant(numbers)))
    alone = [np.concatenate(uniform_pair(3, 1, tf.constant([n]))) for n in numbers]
    np.testing.assert_array_equal(together.T, alone)


def test_xla_and_graphs_draw_the_same_bits():
    numbers = tf.constant(np.random.default_rng(0).integers(0, 2**62, 1000))
    eager = np.stack(uniform_pair(3, 1, numbers))
    for jit in (False, True):
        drawn = tf.function(lambda n: uniform_pair(3, 1, n), jit_compile=jit)(numbers)
        np.testing.assert_array_equal(np.stack(drawn), eager)


def test_sixteen_bit_draws_are_the_halves_of_words_under_the_samples_own_key():
    numbers = [5, 2**40 + 3]
    draws = sixteen_bits(7, 9, tf.constant(numbers, tf.int64), 6).numpy()
    for row, number in zip(draws.tolist(), numbers, strict=True):
        key = _reference((7, 9), (number & 0xFFFFFFFF, number >> 32))
        words = [_reference(key, (index, 0)) for index in range(2)]
        low = [[word[half] & 0xFFFF for word in words] for half in range(2)]
        high = [[word[half] >> 16 for word in words] for half in range(2)]
        assert row == (low[0] + high[0] + low[1] + high[1])[:6]


def test_sixteen_bit_draws_are_uniform_and_independent():
    draws = sixteen_bits(0, 1, tf.range(400, dtype=tf.int64), 50).numpy()
    assert draws.min() >= 0 and draws.max() < 2**16
    assert stats.kstest(draws.ravel() / 2**16, "uniform").pvalue > IMPROBABLE
    for one, other in ((draws[:, :-1], draws[:, 1:]), (draws[:-1], draws[1:])):
        assert stats.pearsonr(one.ravel(), other.ravel()).pvalue > IMPROBABLE


def test_each_layer_of_each_kind_has_a_stream_of_its_own():
    streams = {of_layer(kind, layer) for kind in (1, 2, 2**16 - 1) for layer in (0, 1, 2**15 - 1)}
    assert len(streams) == 9
    assert min(streams) >= 2**16 and max(streams) < 2**32
