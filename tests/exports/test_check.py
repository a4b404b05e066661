"""check_export's bounds, by hand, on networks that give fixed logits."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfsc.errors import ExportError
from tfsc.exports.check import check_export

IMAGES = np.zeros((20, 4, 4, 3), np.uint8)
# 32 logits are −2, 32 are 6: their root of the mean square about the mean 2 is 4.
LOGITS = np.tile(np.float32([[-2, 6, -2, 6]]), (16, 1))


def _network(logits):
    return lambda images, training: tf.constant(logits[: len(images)])


def _check(trained, twin=None, files=None):
    network = _network(trained)
    twin_network = network if twin is None else _network(twin)
    expected = trained if twin is None else twin
    files = files or {"file": lambda images: expected[: len(images)]}
    return check_export(Path("export"), network, twin_network, IMAGES, files)


def test_sixteen_images_are_compared_and_the_differences_returned():
    check = _check(LOGITS, files={"file": lambda images: LOGITS + np.float32(2**-12)})
    assert (check.images, check.largest_logit, check.files) == (16, 6.0, 2**-12)
    assert (check.training, check.same_class) == (0.0, 16)


@pytest.mark.parametrize(("distance", "allowed"), [(5.9e-4, True), (6.1e-4, False)])
def test_a_file_may_differ_by_a_ten_thousandth_of_the_largest_logit(distance, allowed):
    other = LOGITS.astype(np.float64)
    other[3, 2] += distance
    files = {"one": lambda _: LOGITS, "two": lambda _: other}
    if allowed:
        assert _check(LOGITS, files=files).files == pytest.approx(distance)
        return
    with pytest.raises(
        ExportError, match=r"^export: not written: logits of two differ .* by 0\.00"
    ):
        _check(LOGITS, files=files)


def test_logits_below_1_may_differ_by_a_ten_thousandth():
    small = LOGITS / 1000
    assert _check(small, files={"file": lambda _: small + 9e-5}).files < 1e-4
    with pytest.raises(ExportError, match=r"must by at most 0\.0001"):
        _check(small, files={"file": lambda _: small + 1.1e-4})


@pytest.mark.parametrize(("distance", "allowed"), [(0.9, True), (1.1, False)])
def test_a_twin_may_differ_by_a_quarter_of_the_logits_spread(distance, allowed):
    if allowed:
        check = _check(LOGITS, LOGITS + np.float32(distance))
        assert check.training == pytest.approx(distance) and check.files == 0
        return
    with pytest.raises(ExportError, match=r"in float32 .* by 1\.1 .* must by at most 1$"):
        _check(LOGITS, LOGITS + np.float32(distance))


def test_images_of_another_class_in_float32_are_counted():
    trained = LOGITS.copy()
    trained[:3, 1] = 5.9
    trained[:3, 3] = 6.1
    assert _check(trained, LOGITS).same_class == 13


@pytest.mark.parametrize("logits", [np.full_like(LOGITS, np.nan), LOGITS[:, :2]])
def test_what_cannot_be_compared_is_refused(logits):
    with pytest.raises(ExportError, match=r"not written: (logits of )?file (differ|gives)"):
        _check(LOGITS, files={"file": lambda _: logits})


def test_logits_that_are_not_finite_are_not_exported():
    with pytest.raises(ExportError, match="the network's logits are not finite"):
        _check(LOGITS * np.inf)


def test_tf32_is_off_while_it_compares_and_then_as_it_was():
    states = []

    def logits(images):
        states.append(tf.config.experimental.tensor_float_32_execution_enabled())
        return LOGITS

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        _check(LOGITS, files={"file": logits})
        states.append(tf.config.experimental.tensor_float_32_execution_enabled())
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    assert states == [False, True]
