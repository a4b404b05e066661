"""What a layer notes on its outputs for layers behind it, so that several become one operation.

A layer computes its outputs as if it stood alone, and notes beside them what they are made of. A
layer behind it that knows the note computes from that instead; then nothing needs the outputs, and
TensorFlow leaves them out of the graph. What a network is, its layers, weights and names, does not
depend on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Normalized:
    """max(γ·(maps − mean)/√(variance + ε) + β, 0), what a `NormReLU` returns.

    Args:
        maps: [n, height, width, channels].
        gamma, beta, mean, variance: [channels], float32.
        epsilon: ε.
        of_batch: whether mean and variance are those of the maps.
    """

    maps: tf.Tensor
    gamma: tf.Tensor
    beta: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor
    epsilon: float
    of_batch: bool


@dataclass(frozen=True)
class Moments:
    """Mean and biased variance [channels] of maps, in float32, without a gradient."""

    mean: tf.Tensor
    variance: tf.Tensor


@dataclass(frozen=True)
class Sum:
    """`plus(added)`: the maps plus others of their shape and type, from one operation."""

    plus: Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Passed:
    """The same maps, whose gradient joins that of what was computed from them; for one `taken`."""

    maps: tf.Tensor


def note(tensor: tf.Tensor, what: Any) -> None:
    """Leave a note on a tensor, in place of one of its kind."""
    _notes(tensor)[type(what)] = what


def noted(tensor: tf.Tensor, kind: type[Kind]) -> Kind | None:
    """The note of a kind on a tensor; None without one."""
    return _notes(tensor).get(kind)


def taken(tensor: tf.Tensor) -> tf.Tensor:
    """The maps that a layer passes on in place of a tensor, the first time; else the tensor.

    Inputs may outlive the graph or the step in which a layer has noted this on them.
    """
    passed = _notes(tensor).pop(Passed, None)
    if passed is None or _graph(passed.maps) is not _current_graph():
        return tensor
    return passed.maps


def _graph(tensor: tf.Tensor) -> tf.Graph | None:
    return getattr(tensor, "graph", None)  # of an eager tensor: none


def _current_graph() -> tf.Graph | None:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _notes(tensor: tf.Tensor) -> dict[type, Any]:
    if not hasattr(tensor, "_tfsc_notes"):
        tensor._tfsc_notes = {}
    return tensor._tfsc_notes
