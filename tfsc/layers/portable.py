"""Networks for others to run: `portable` operations and a `float32_twin`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

from tfsc.layers.deep_graphs import deep_graphs

_PORTABLE: ContextVar[bool] = ContextVar("portable", default=False)


@contextmanager
def portable() -> Iterator[None]:
    """Trace layers as plain operations with TensorFlow's gradients: not compiled, not in C++."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def is_portable() -> bool:
    return _PORTABLE.get()


def float32_twin(network: keras.Model) -> keras.Model:
    """The same layers and weights, computing in float32; the network itself if it does.

    16-bit graphs are for the machine that trains: Keras exports a mixed_bfloat16 network as LiteRT,
    ONNX or OpenVINO without an error, and none of the files runs.

    Args:
        network: a functional network, whose variables are float32 as mixed precision keeps them.
    """
    if all(layer.compute_dtype == "float32" for layer in network.layers):
        return network

    def in_float32(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    policy = keras.config.dtype_policy()
    # The model itself and its input take the policy that is set.
    keras.config.set_dtype_policy("float32")
    try:
        with deep_graphs():
            twin = keras.models.clone_model(network, clone_function=in_float32)
    finally:
        keras.config.set_dtype_policy(policy)
    twin.set_weights(network.get_weights())
    return twin
