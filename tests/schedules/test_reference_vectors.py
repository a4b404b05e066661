"""Every schedule of the test vectors, to 1e-9 in float64 and to float32 rounding in a graph.

Skipped without TFSC_REFERENCE_DIR (tests/real_data.py); tests/schedules/test_families.py is not.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from real_data import REFERENCE

from tfsc.schedules import builder, momentum_and_batch_size, parser

VECTORS = REFERENCE / "test_vectors.json"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="TFSC_REFERENCE_DIR has no vectors")

# Positions of the vectors are epochs or steps; here each epoch has one step.
_TEXTS = {
    "cawr_T0=50_eta=.1": "warm_restarts(0.1, 50)",
    "sgdr_T0=10_Tmult=2_eta=.05": "warm_restarts(0.05, 10, 2)",
    "multistep_40_80_120_g.2": "multistep(0.1, [40, 80, 120], 0.2)",
    "onecycle_total100_max.1_default": "one_cycle(0.1)",
    "clr_triangular_.001_.006_ss2000_g1.0": "cyclic(0.001, 0.006, 2000)",
    "clr_triangular2_.001_.006_ss2000_g1.0": "cyclic(0.001, 0.006, 2000, triangular2)",
    "clr_exp_range_.001_.006_ss2000_g0.99994": "cyclic(0.001,0.006,2000,exp_range,0.99994)",
    "caffe_triangular_.1_3_ss5000": "cyclic(0.1, 3, 5000)",
    "anracom_type_I_quarter_cos(inferred)": "type1",
    "anracom_type_II_quarter_cos(inferred)": "type2",
}


def _check(text, points, total=100):
    schedule = builder.build(text, steps_per_epoch=1, total_steps=total)
    steps, rates = np.array(list(points)), np.array(list(points.values()))
    in_float64 = [schedule.value(step) for step in steps]
    np.testing.assert_allclose(in_float64, rates, rtol=1e-9, atol=1e-12)
    in_graph = tf.function(schedule)(tf.constant(steps, tf.int64))
    assert in_graph.dtype == tf.float32
    # A rate near the end of a cosine is the difference of two near ones: rounded to their size.
    np.testing.assert_allclose(in_graph, rates, rtol=2e-6, atol=2e-7 * rates.max())


@pytest.mark.parametrize(("name", "text"), _TEXTS.items())
def test_every_point_of_the_vector(name, text):
    points = json.loads(VECTORS.read_text())[name]
    assert len(points) > 5
    if name.startswith("onecycle"):
        momenta = {int(step): momentum for step, (_, momentum) in points.items()}
        inverse = momentum_and_batch_size.parse_momentum("inverse(0.95, 0.85)", parser.parse(text))
        _check(inverse, momenta)
        points = {step: rate for step, (rate, _) in points.items()}
    _check(text, {int(step): rate for step, rate in points.items()})


def test_no_schedule_of_the_vectors_is_left_out():
    assert set(json.loads(VECTORS.read_text())) - {"params"} == set(_TEXTS)
