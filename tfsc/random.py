"""Chance without state: draws keyed by (seed, stream, number), from the Threefry-2×32 generator.

tf.random.stateless_* draws a whole tensor from one key, so an image's draw would depend on its
place in the batch. Here every number is a counter of its own. Threefry is the generator of
jax.random; its 20 rounds are a hundred small integer operations a batch, which XLA fuses into one.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; the published test
vectors are in tests/test_random.py.
"""

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encrypt two uint32 counter tensors with two uint32 key words, 20 rounds."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            left = tf.bitwise.left_shift(x1, tf.constant(distance, tf.uint32))
            right = tf.bitwise.right_shift(x1, tf.constant(32 - distance, tf.uint32))
            x1 = (left | right) ^ x0
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + tf.constant(block + 1, tf.uint32)
    return x0, x1


# One stream for each kind of draw, so that kinds are independent under one seed.
SHIFT, FLIP, ORDER, DROPOUT, CROP = 1, 2, 3, 4, 5
# Of kinds that many layers draw, see `of_layer`.
DEPTH, SHAKE = 32, 33


def _words(seed: int, stream: int, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    key = (tf.constant(seed, tf.uint32), tf.constant(stream, tf.uint32))
    return threefry2x32(key, (low, high))


def of_layer(stream: int, layer: int) -> int:
    """The stream of one layer among those that draw the same kind; others never have it.

    Args:
        stream: of the kind, below 2¹⁶.
        layer: 0 ≤ layer < 2¹⁵.
    """
    return (layer + 1) * 2**16 + stream


def permutation(seed: int, stream: int, number: tf.Tensor, count: int) -> tf.Tensor:
    """A uniformly drawn order of 0 … count − 1, int32 [count].

    The indices sorted by 64 random bits each. (`tf.random.experimental.index_shuffle` needs no
    sort, but at 50,000 examples its orders of consecutive epochs correlate with r ≈ 0.75.)

    Args:
        seed, stream: as in `uniform_pair`.
        number: scalar integer, 0 ≤ number < 2³²: which of the stream's orders.
        count: length, below 2³¹.
    """
    number = tf.fill([count], tf.cast(number, tf.uint32))
    first, second = _words(seed, stream, tf.cast(tf.range(count), tf.uint32), number)
    keys = tf.bitwise.left_shift(tf.cast(first, tf.int64), tf.constant(32, tf.int64))
    return tf.argsort(keys | tf.cast(second, tf.int64), stable=True, name="order")


def uniform_pair(seed: int, stream: int, sample_numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two independent uniform draws in [0, 1) for each sample.

    Args:
        seed: 0 ≤ seed < 2³².
        stream: 0 ≤ stream < 2³²; one of those above.
        sample_numbers: int64 [n], at least 0.

    Returns:
        Two float32 tensors [n], multiples of 2⁻²⁴.
    """
    words = _words(seed, stream, *_halves(sample_numbers))
    return tuple(
        tf.cast(tf.bitwise.right_shift(word, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
        for word in words
    )


def sixteen_bits(seed: int, stream: int, sample_numbers: tf.Tensor, count: int) -> tf.Tensor:
    """`count` independent draws for each sample, uniform over 0 … 65535.

    Args:
        seed, stream, sample_numbers: as in `uniform_pair`.
        count: draws a sample, at least 1.

    Returns:
        int32 [n, count].
    """
    # Each sample's two words are the key of its own draws; each encryption gives four of them.
    first, second = _words(seed, stream, *_halves(sample_numbers))
    key = first[:, None], second[:, None]
    index = tf.cast(tf.range(-(-count // 4)), tf.uint32)[None, :]
    words = threefry2x32(key, (index, tf.zeros_like(index)))
    sixteen = tf.constant(16, tf.uint32)
    draws = [
        half
        for word in words
        for half in (tf.bitwise.bitwise_and(word, 0xFFFF), tf.bitwise.right_shift(word, sixteen))
    ]
    return tf.cast(tf.concat(draws, axis=1), tf.int32)[:, :count]


def _halves(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The low and the high 32 bits of int64 numbers."""
    numbers = tf.cast(numbers, tf.int64)
    low = tf.cast(tf.bitwise.bitwise_and(numbers, 0xFFFFFFFF), tf.uint32)
    return low, tf.cast(tf.bitwise.right_shift(numbers, tf.constant(32, tf.int64)), tf.uint32)
