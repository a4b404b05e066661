"""`Windows`: by hand, and whatever series is fed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.reporting.windows import Windows


def test_a_window_has_mean_least_and_largest_and_the_last_one_may_be_short():
    windows = Windows(total=7, most=3)
    assert windows.length == 3
    losses = [5.0, 1.0, 3.0, 2.0, 2.0, 8.0, 4.0]
    points = {n: windows.add(n, {"loss": x}) for n, x in enumerate(losses, start=1)}
    assert {n: point for n, point in points.items() if point} == {
        3: {"loss": 3.0, "loss_min": 1.0, "loss_max": 5.0},
        6: {"loss": 4.0, "loss_min": 2.0, "loss_max": 8.0},
        7: {"loss": 4.0, "loss_min": 4.0, "loss_max": 4.0},
    }


def test_a_short_series_is_left_as_it_is():
    windows = Windows(total=1000)
    assert [windows.add(n, {"loss": n / 7}) for n in (1, 2, 1000)] == [
        {"loss": 1 / 7},
        {"loss": 2 / 7},
        {"loss": 1000 / 7},
    ]
    assert Windows(total=1001).length == 2


def test_what_has_no_value_has_no_point_and_nan_hides_no_spike():
    windows = Windows(total=4, most=1)
    windows.add(1, {"loss": 2.0, "val": None})
    windows.add(2, {"loss": 9.0, "val": None})
    windows.add(3, {"loss": math.nan})
    point = windows.add(4, {"loss": 1.0})
    assert math.isnan(point.pop("loss"))
    assert point == {"loss_min": 1.0, "loss_max": 9.0}
    windows = Windows(total=2, most=1)
    windows.add(1, {"loss": math.nan})
    assert all(math.isnan(value) for value in windows.end().values())
    assert windows.end() == {}


@given(
    most=st.integers(1, 12),
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    data=st.data(),
)
def test_no_extreme_is_lost_in_at_most_so_many_points_and_a_resumed_series_has_the_same(
    most, gaps, data
):
    numbers = [sum(gaps[: i + 1]) for i in range(len(gaps))]  # executions of several steps
    values = data.draw(
        st.lists(st.floats(-1e6, 1e6), min_size=len(numbers), max_size=len(numbers)), "values"
    )
    series = list(zip(numbers, values, strict=True))

    def points(windows, part):
        found = [(n, windows.add(n, {"x": x})) for n, x in part]
        return [(n, point) for n, point in found if point]

    whole = points(Windows(numbers[-1], most), series)
    assert 1 <= len(whole) <= most and whole[-1][0] == numbers[-1]
    assert max(point.get("x_max", point["x"]) for _, point in whole) == max(values)
    assert min(point.get("x_min", point["x"]) for _, point in whole) == min(values)

    stop = data.draw(st.integers(0, len(series)), "stop")
    begun = points(Windows(numbers[-1], most), series[:stop])
    at = numbers[stop - 1] if stop else 0
    resumed = Windows(numbers[-1], most)
    first = resumed.first_of(at)
    points(resumed, [pair for pair in series[:stop] if pair[0] >= first])
    resumed.add(at, {})
    assert begun + points(resumed, series[stop:]) == whole


def test_a_resumed_series_whose_beginning_is_lost_has_no_more_points():
    windows = Windows(total=100, most=10)
    windows.add(54, {})
    found = [n for n in range(55, 101) if windows.add(n, {"x": 1.0})]
    assert found == [60, 70, 80, 90, 100]


@pytest.mark.parametrize(("total", "length"), [(0, 1), (1, 1), (19525, 20), (1_000_000_000, 10**6)])
def test_the_length_is_the_least_that_does(total, length):
    assert Windows(total).length == length
