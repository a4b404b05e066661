"""A model's classes and a set's, by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.errors import ExportError
from tfsc.evaluation.class_names import class_order

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple("0123456789")


def _order(model, dataset):
    return class_order(model, dataset, "runs/a/export", "set")


def test_the_same_names_need_no_order():
    assert _order(CIFAR, CIFAR) is None
    assert _order(DIGITS, DIGITS) is None


@given(st.permutations(CIFAR))
def test_another_order_is_mapped(names):
    order = _order(tuple(names), CIFAR)
    if order is None:
        assert tuple(names) == CIFAR
    else:  # output order[i] is class i of the set
        assert tuple(names[place] for place in order) == CIFAR


def test_other_classes_are_refused_by_the_first_pair_that_differs():
    with pytest.raises(ExportError) as caught:
        _order(CIFAR, DIGITS)
    assert str(caught.value) == (
        "--export=runs/a/export: its class 0 is 'airplane', that of --dataset=set is '0', and "
        "neither list is the other in another order; --class_names=ignore takes them for the same, "
        "one by one"
    )
    with pytest.raises(ExportError, match="its class 1 is 'car', that of --dataset=set is 'autom"):
        _order(("airplane", "car", *CIFAR[2:]), CIFAR)


def test_spelling_makes_no_difference():
    assert _order(("Fire_Truck", "aquarium fish"), ("fire truck", "aquarium-fish")) is None
    assert _order(("B", "a b"), ("A_B", "b")) == [1, 0]


def test_names_that_differ_in_their_spelling_alone_are_taken_as_written():
    assert _order(("a", "A"), ("a", "A")) is None
    assert _order(("a", "A"), ("A", "a")) == [1, 0]
    with pytest.raises(ExportError, match="class 1 is 'A'"):
        _order(("a", "A"), ("a", "b"))


@pytest.mark.parametrize("model", [CIFAR[:9], (*CIFAR, "x"), ("x",) * 100])
def test_another_number_of_classes_is_refused(model):
    with pytest.raises(ExportError, match=rf"names {len(model)} classes, --dataset=set has 10$"):
        _order(model, CIFAR)
