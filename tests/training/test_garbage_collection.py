"""EpochGarbage: cycles go at once, the rest is left alone."""

import gc
import weakref

import pytest

from tfsc.training.garbage_collection import EpochGarbage


class _Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture
def no_automatic_collection():
    gc.disable()
    yield
    gc.enable()


def test_cycles_of_each_epoch_are_freed(no_automatic_collection):
    with EpochGarbage() as garbage:
        for _ in range(3):
            cycle = weakref.ref(_Cycle())
            assert cycle() is not None
            garbage.collect()
            assert cycle() is None


def test_what_outlives_the_first_epoch_is_not_looked_at_again_until_the_end():
    with EpochGarbage() as garbage:
        garbage.collect()
        frozen = gc.get_freeze_count()
        assert frozen > 1000
        garbage.collect()
        assert gc.get_freeze_count() <= frozen
    assert gc.get_freeze_count() == 0
