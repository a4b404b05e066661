"""`SegmentSchedule` in TensorFlow against the language in float64, and as a part of Keras."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.schedules import parser
from tfsc.schedules.builder import build
from tfsc.schedules.segments import SegmentSchedule

_STEPS_PER_EPOCH = 781  # CIFAR-10 at batch size 64
_TEXTS = ("type1", "type2", "atienza", "[0,1]lin[3,2.5]cos[0.5,7]const[2,8]", "0.01")


def _as_called(schedule, compiled):
    """The schedule as eager code calls it, or compiled as in the training step."""
    if not compiled:
        return schedule

    @tf.function
    def graph(steps):
        return schedule(steps)

    return graph


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("text", _TEXTS)
def test_rates_are_those_of_the_language_to_float32_over_the_run_and_beyond(text, per):
    schedule = SegmentSchedule(text, _STEPS_PER_EPOCH, per)
    segments = parser.parse(text)
    end = int(segments.knots[-1].position + 3) * _STEPS_PER_EPOCH
    steps = np.linspace(0, end, 4001).astype(np.int64)
    epochs = steps // _STEPS_PER_EPOCH if per == "epoch" else steps / _STEPS_PER_EPOCH
    expected = np.array([segments.value(epoch) for epoch in epochs])
    scale = max(1e-3, max(knot.value for knot in segments.knots))
    for compiled in (False, True):
        rates = _as_called(schedule, compiled)(tf.constant(steps))
        assert rates.dtype == tf.float32
        np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-6 * scale)
    in_float64 = [schedule.value(int(step)) for step in steps]
    np.testing.assert_allclose(in_float64, expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("per", ["step", "epoch"])
# A compiler turns division by 97 (CIFAR-10 at batch size 512) into multiplication by the rounded
# 1/97; 64·97·fl(1/97) is less than 64 in float32.
@pytest.mark.parametrize("steps_per_epoch", [_STEPS_PER_EPOCH, 97])
def test_a_jump_at_an_epoch_happens_at_exactly_its_first_step(steps_per_epoch, per, compiled):
    epochs = (1, 2, 3, 7, 63, 64, 65, 127, 128)
    text = "[1,0]" + "".join(f"const[{number + 2},{epoch}]" for number, epoch in enumerate(epochs))
    schedule = _as_called(SegmentSchedule(text, steps_per_epoch, per), compiled)
    first = np.array(epochs, np.int64) * steps_per_epoch
    numbers = np.arange(len(epochs))
    np.testing.assert_array_equal(schedule(tf.constant(first)), numbers + 2)
    np.testing.assert_array_equal(schedule(tf.constant(first - 1)), numbers + 1)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
# 0.07·100 is more than 7 in float64, and 0.29·100 less than 29.
@pytest.mark.parametrize("steps_per_epoch", [388, 100])
def test_a_jump_within_an_epoch_happens_at_the_step_where_the_language_has_it(
    steps_per_epoch, compiled
):
    text = "[1,0]const[2,0.07]const[3,0.29]const[4,0.5]const[5,2.25]const[6,3.7]"
    schedule = SegmentSchedule(text, steps_per_epoch)
    steps = np.arange(4 * steps_per_epoch, dtype=np.int64)
    expected = [schedule.value(int(step)) for step in steps]
    np.testing.assert_array_equal(
        _as_called(schedule, compiled)(tf.constant(steps)), np.float32(expected)
    )


def test_per_epoch_holds_the_value_of_the_epochs_start():
    schedule = SegmentSchedule("type1", _STEPS_PER_EPOCH, "epoch")
    for epoch in (0, 1, 4, 14, 19, 22):
        first = epoch * _STEPS_PER_EPOCH
        start = parser.parse("type1").value(epoch)
        for step in (first, first + 1, first + _STEPS_PER_EPOCH - 1):
            assert schedule.value(step) == start
            assert float(schedule(step)) == pytest.approx(start, rel=1e-6, abs=1e-9)
        assert float(schedule(first)) == float(schedule(first + _STEPS_PER_EPOCH - 1))
        assert float(schedule(first)) != float(schedule(first + _STEPS_PER_EPOCH))


def test_per_step_moves_within_the_epoch():
    schedule = SegmentSchedule("[0,0]lin[1,1]", 4)
    assert [float(schedule(step)) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_the_step_may_be_a_keras_counter(dtype):
    counter = keras.Variable(390, dtype=dtype, trainable=False)
    assert float(SegmentSchedule("[0,0]lin[4,2]", 780)(counter)) == 1.0


# --- as a part of Keras -------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_get_config_round_trips_through_keras_serialization(per):
    schedule = SegmentSchedule("[8.e-4, 0]lin[1.0e-3, 5]cos[1.e-5, 20]", 390, per)
    text = json.dumps(keras.optimizers.schedules.serialize(schedule))
    again = keras.optimizers.schedules.deserialize(json.loads(text))
    assert type(again) is SegmentSchedule
    assert again.get_config() == schedule.get_config()
    assert again.get_config() == {
        "text": "[8e-4,0]lin[1e-3,5]cos[1e-5,20]",
        "steps_per_epoch": 390,
        "per": per,
    }
    assert [again.value(step) for step in (0, 391, 5000)] == [
        schedule.value(step) for step in (0, 391, 5000)
    ]


def test_an_optimizer_config_carries_the_schedule():
    optimizer = keras.optimizers.AdamW(SegmentSchedule("type2", 390, "epoch"), weight_decay=0.19)
    text = json.dumps(keras.optimizers.serialize(optimizer))
    again = keras.optimizers.deserialize(json.loads(text))
    assert again.weight_decay == 0.19
    again.build([keras.Variable(0.0)])
    assert float(again.learning_rate) == pytest.approx(8e-4)
    again.iterations.assign(15 * 390 + 1)
    assert float(again.learning_rate) == pytest.approx(9.170545292229938e-4, rel=1e-6)


def test_a_saved_model_resumes_the_schedule_where_it_stood(tmp_path):
    model = _one_weight()
    schedule = SegmentSchedule("[0.5,0]lin[1.5,1]", 4)
    model.compile(keras.optimizers.AdamW(schedule), loss="mse")
    model.fit(np.ones((6, 1)), np.ones((6, 1)), batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert int(again.optimizer.iterations) == 3
    assert float(again.optimizer.learning_rate) == 1.25


def _one_weight():
    return keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )


def test_fit_moves_weights_by_the_rate_of_each_step():
    model = _one_weight()
    # The gradient of the mean output for inputs of 1 is 1: each step subtracts its rate.
    model.compile(
        keras.optimizers.SGD(SegmentSchedule("[0.5,0]lin[1.5,1]", 4)),
        loss=lambda target, output: output,
    )
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), batch_size=2, epochs=1, verbose=0)
    assert float(model.layers[0].kernel[0, 0]) == -(0.5 + 0.75)


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps_per_epoch", [0, -1, 0.5, 2.5, float("nan")])
def test_steps_per_epoch_must_be_a_whole_number_from_1(steps_per_epoch):
    with pytest.raises(ValueError, match=rf"steps_per_epoch must be .*Received: {steps_per_epoch}"):
        SegmentSchedule("type1", steps_per_epoch)


def test_per_must_be_step_or_epoch():
    with pytest.raises(ValueError, match=r"per must be 'step' or 'epoch'\. Received: 'batch'"):
        SegmentSchedule("type1", 781, per="batch")


def test_bad_text_is_a_syntax_error_with_its_position():
    with pytest.raises(parser.ScheduleSyntaxError) as caught:
        SegmentSchedule("[1e-3,0]lin", 781)
    assert caught.value.position == 11


def test_positions_in_percent_are_those_of_the_run_whatever_its_budget():
    text = "[0.2,0]lin[0.4,25%]lin[0,100%]"
    for steps in (8, 200):
        schedule = build(text, steps_per_epoch=5, total_steps=steps)
        rates = [schedule.value(steps * percent // 100) for percent in (0, 25, 50, 100)]
        np.testing.assert_allclose(rates, [0.2, 0.4, 0.8 / 3, 0], rtol=1e-12)
        np.testing.assert_allclose(schedule(tf.constant(steps // 2)), 0.8 / 3, rtol=1e-6)
    # In a chain: of what the parts before leave of the run.
    chain = build(f"warmup(1)→{text}", steps_per_epoch=10, total_steps=90)
    assert [chain.value(step) for step in (5, 10, 30, 90)] == pytest.approx([0.1, 0.2, 0.4, 0])
    # The same rates as in epochs, to rounding.
    other = build("[0.2,0]lin[0.4,2]lin[0,8]", steps_per_epoch=25, total_steps=200)
    assert [schedule.value(step) for step in range(201)] == pytest.approx(
        [other.value(step) for step in range(201)], rel=1e-12, abs=1e-15
    )


def test_percent_without_a_run_is_refused():
    with pytest.raises(ValueError, match="positions in epochs or steps"):
        SegmentSchedule("[1,0]lin[0,50%]", 100)
