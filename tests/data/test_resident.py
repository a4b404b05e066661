"""Batches completed from the device's memory are the host's, to the bit, and cost no graph."""

import numpy as np
import pytest
import tensorflow as tf

from tfsc.data import resident as resident_module
from tfsc.data.examples import Examples
from tfsc.data.pipeline import TrainingPipeline
from tfsc.data.resident import ResidentExamples
from tfsc.errors import DataError


def _examples(n, *shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
    return Examples(images, rng.integers(0, 10, n).astype(np.int32))


# 3·3·3 and 7·5·1 bytes fill no whole number of words.
@pytest.mark.parametrize("shape", [(8, 8, 3), (3, 3, 3), (7, 5, 1)])
def test_completed_batches_are_those_of_the_host(shape):
    examples = _examples(50, *shape)
    host = TrainingPipeline(examples, 7, seed=3).batches(5, 9)
    pipeline = TrainingPipeline(examples, 7, seed=3, data_on="device")
    functions = [tf.function(pipeline.resident, jit_compile=jit) for jit in (False, True)]
    for one, indices in zip(host, pipeline.batches(5, 9), strict=True):
        assert indices.keys() == {"index", "number", "visit"}
        for complete in functions:
            other = complete(indices)
            assert one.keys() == other.keys()
            for key in one:
                assert (one[key].dtype, one[key].shape) == (other[key].dtype, other[key].shape)
                np.testing.assert_array_equal(one[key], other[key])


def test_batches_that_are_prefetched_to_the_device_are_those_of_the_host():
    examples = _examples(50, 4, 4, 1)
    host = TrainingPipeline(examples, 7, seed=3).batches(5, 9)
    ahead = TrainingPipeline(examples, 7, seed=3, data_on="prefetch").batches(5, 9)
    assert ahead.element_spec == host.element_spec
    for one, other in zip(host, ahead, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_the_graph_holds_a_reference_and_not_the_data():
    resident = ResidentExamples(_examples(1000, 8, 8, 3))  # 192 kB
    batch = {"index": tf.TensorSpec([7], tf.int32), "number": tf.TensorSpec([7], tf.int64)}
    function = tf.function(resident).get_concrete_function(batch)
    assert function.graph.as_graph_def().ByteSize() < 10_000
    captured = [tensor.shape for tensor in function.captured_inputs]
    assert [1000, 8 * 8 * 3 // 8] in captured and [1000] in captured


def test_a_set_that_does_not_fit_is_an_error_that_names_the_setting(monkeypatch):
    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore")

    monkeypatch.setattr(resident_module.tf, "constant", full)
    with pytest.raises(DataError, match=r"--data_on=device: the 1 MiB .*: OOM when .*; use --data"):
        ResidentExamples(_examples(6000, 8, 8, 3))


def test_another_place_is_refused():
    with pytest.raises(ValueError, match=r"one of host, prefetch, device. Received: disk"):
        TrainingPipeline(_examples(50, 4, 4, 1), 7, seed=0, data_on="disk")
