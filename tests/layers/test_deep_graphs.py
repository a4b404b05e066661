"""deep_graphs: as many layers behind each other as one likes, and Python as it was."""

import sys

import keras
import pytest
from planned import planned

from tfsc.layers.deep_graphs import deep_graphs


def test_keras_makes_networks_that_are_deeper_than_pythons_calls():
    count = sys.getrecursionlimit()
    x = inputs = keras.Input((1,))
    with planned():
        for _ in range(count):
            x = keras.layers.Identity()(x)
    with pytest.raises(RecursionError):
        keras.Model(inputs, x)
    with deep_graphs():
        network = keras.Model(inputs, x)
    assert len(network.layers) == count + 1


def test_the_limit_is_as_before_whatever_happens():
    before = sys.getrecursionlimit()
    with pytest.raises(KeyError), deep_graphs():
        assert sys.getrecursionlimit() > before
        raise KeyError
    assert sys.getrecursionlimit() == before
