"""The shared test vectors that the segment language can say; skipped where they are missing."""

import json
from pathlib import Path

import pytest

from tfsc.schedules.language import parse

VECTORS = Path(__file__).parents[2] / "../shared/reference/test_vectors.json"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="../shared/reference is not there")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("anracom_type_I_quarter_cos(inferred)", "type1"),
        ("anracom_type_II_quarter_cos(inferred)", "type2"),
        ("multistep_40_80_120_g.2", "[.1,0]const[.02,40]const[.004,80]const[.0008,120]"),
        ("caffe_triangular_.1_3_ss5000", "[.1,0]lin[3,5000]lin[.1,10000]"),
    ],
)
def test_every_point_of_the_vector(name, text):
    points = json.loads(VECTORS.read_text())[name]
    assert len(points) > 5
    schedule = parse(text)
    for position, rate in points.items():
        assert schedule.value(float(position)) == pytest.approx(rate, rel=1e-9), position
