"""`range_test` on one weight, whose losses are known, and on a model in the middle of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc.lr_finder.range_test import Smoothing, range_test
from tfsc.optimizers.lookahead import Lookahead
from tfsc.optimizers.muon import Muon
from tfsc.schedules.range_test import RangeTest

_ONES = tf.data.Dataset.from_tensors((np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")))
_ONES = _ONES.repeat()


def _half_square(target, output):
    return output[:, 0] ** 2 / 2


def _one_weight(optimizer, value=1.0, **compile_arguments):
    """Loss w²/2, gradient w: SGD multiplies w by 1 − rate."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(value)
    )
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, loss=_half_square, **compile_arguments)
    return model


def _expected(schedule, steps):
    factors = [1 - schedule.value(step) for step in range(steps)]
    weights = np.concatenate([[1.0], np.cumprod(factors)])
    return weights[:steps] ** 2 / 2


_RATES = RangeTest(0.01, 1.5, num_steps=12)


@pytest.mark.parametrize("own", [0.1, RangeTest(0.2, 0.3, 5)], ids=["number", "schedule"])
def test_each_step_has_its_rate_and_all_is_put_back(own):
    model = _one_weight(keras.optimizers.SGD(own, momentum=0.0))
    before = _bytes(model)
    rate_before = float(model.optimizer.learning_rate)
    sweep = range_test(model, _ONES, _RATES)
    assert sweep.rates == [_RATES.value(step) for step in range(12)]
    np.testing.assert_allclose(sweep.losses, _expected(_RATES, 12), rtol=1e-4)
    assert sweep.stopped == "" and sweep.measured == []
    assert _bytes(model) == before
    assert float(model.optimizer.learning_rate) == rate_before
    if isinstance(own, RangeTest):
        assert model.optimizer._learning_rate is own
    model.fit(_ONES, steps_per_epoch=1, shuffle=False, verbose=0)  # trains on at its own rate
    assert float(model.layers[0].kernel[0, 0]) == pytest.approx(1 - rate_before)


@pytest.mark.parametrize("own", [0.1, RangeTest(0.2, 0.3, 5)], ids=["number", "schedule"])
def test_every_optimizer_inside_another_gets_the_rates(own):
    rest = keras.optimizers.SGD(own)
    inner = Muon(own, momentum=0.0, nesterov=False, rest=rest, renormalize=False)
    optimizer = Lookahead(inner, every=100)
    model = keras.Sequential(
        [keras.Input((1, 1, 1)), keras.layers.Conv2D(2, 1), keras.layers.Flatten()]
    )
    model.compile(optimizer, loss=lambda target, output: output[:, 0])
    model.optimizer.build(model.trainable_variables)
    moved = []

    def biases():
        moved.append(float(model.layers[0].bias[0]))

    ones = np.ones((2, 1, 1, 1), "float32"), np.zeros((2, 1), "float32")
    batches = tf.data.Dataset.from_tensors(ones).repeat()
    range_test(model, batches, _RATES, stop_at=0, measure=biases)
    # The loss is the first output: each step takes its rate from the first bias.
    expected = -np.cumsum([_RATES.value(step) for step in range(12)])
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    assert float(model.layers[0].bias[0]) == 0
    for one in (inner, rest):
        assert float(one.learning_rate) == pytest.approx(0.1 if own == 0.1 else 0.2)


def test_a_model_in_training_is_restored_to_the_bit_and_counts_from_where_it_is():
    model = _one_weight(keras.optimizers.AdamW(RangeTest(1e-3, 1e-2, 50), weight_decay=0.1))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Dropout(0.5))
    model.compile(model.optimizer, loss=_half_square, metrics=["mae"])
    model.fit(_ONES, steps_per_epoch=3, shuffle=False, verbose=0)
    before, compiled = _bytes(model), model.train_function
    assert len(before) > 12  # moments, statistics, counts, the dropout's seed, metrics
    seen = []
    sweep = range_test(
        model, _ONES, _RATES, measure=lambda: seen.append(_bytes(model)), measure_every=5
    )
    assert [step for step, _ in sweep.measured] == [4, 9]
    assert seen[0] != before and seen[1] != seen[0]
    assert _bytes(model) == before
    assert model.train_function is compiled
    assert int(model.optimizer.iterations) == 3


def _bytes(model):
    model.optimizer.build(model.trainable_variables)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    return [v.numpy().tobytes() for v in (*model.variables, *model.optimizer.variables, *metrics)]


def test_a_diverging_loss_ends_the_test_and_still_all_is_put_back():
    model = _one_weight(keras.optimizers.SGD(0.1))
    schedule = RangeTest(1, 100, num_steps=100, growth="linear")
    before = _bytes(model)
    sweep = range_test(model, _ONES, schedule, smoothing=0.0)
    # |1 − rate| is 0 at the first step, so rate 1 lands in the minimum: 0 times anything stays 0.
    assert sweep.stopped == "" and sweep.losses[1:] == [0.0] * 99
    schedule = RangeTest(3, 100, num_steps=98, growth="linear")
    sweep = range_test(model, _ONES, schedule, smoothing=0.0)
    # Losses ½, ½·2², ½·2²·3²: the second is 4 × the least and not more, the third is 36 ×.
    assert sweep.losses == [0.5, 2.0, 18.0]
    assert sweep.stopped == "the smoothed loss exceeds 4 × its least, 0.5"
    sweep = range_test(model, _ONES, schedule, stop_at=0)
    assert sweep.stopped == "the loss is inf" and np.isfinite(sweep.losses[:-1]).all()
    assert _bytes(model) == before


def test_an_error_puts_everything_back_too():
    model = _one_weight(keras.optimizers.SGD(_RATES))
    before = _bytes(model)

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        range_test(model, _ONES, _RATES, measure=fail, measure_every=3)
    assert _bytes(model) == before
    assert model.optimizer._learning_rate is _RATES


def test_smoothing_has_no_bias_at_the_start():
    smoothing = Smoothing(0.98)
    # After two losses: (.98·.02·5 + .02·2)/(1 − .98²) = .138/.0396
    assert smoothing(5.0) == pytest.approx(5.0)
    assert smoothing(2.0) == pytest.approx(0.138 / 0.0396)
    constant = Smoothing(0.98)
    assert [constant(3.0) for _ in range(50)] == pytest.approx([3.0] * 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stop_at": 1.0}, "stop_at must be 0 or above 1. Received: 1.0"),
        ({"smoothing": 1.0}, "beta must be at least 0 and below 1. Received: 1.0"),
        ({"measure_every": 0}, "measure_every must be at least 1. Received: 0"),
    ],
)
def test_bad_arguments_state_the_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        range_test(_one_weight("sgd"), _ONES, _RATES, **arguments)


def test_models_that_cannot_be_tested_are_refused():
    with pytest.raises(ValueError, match="compiled with steps_per_execution=1"):
        range_test(_one_weight("sgd", steps_per_execution=2), _ONES, _RATES)
    with pytest.raises(ValueError, match=r"must be compiled and built\. Received: bare"):
        range_test(keras.Sequential([keras.layers.Dense(1)], name="bare"), _ONES, _RATES)


_PAIR = (np.ones((4, 1), "float32"), np.zeros((4, 1), "float32"))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (_PAIR, r"from_tensor_slices\(\(x, y\)\).*Received: tuple of ndarray, ndarray"),
        (_PAIR[0], r"must be a tf.data.Dataset .* of batches \(x, y\) .*Received: ndarray"),
        (None, "Received: NoneType"),
        (
            tf.data.Dataset.from_tensors(_PAIR[0]).repeat(),
            r"must hold pairs \(x, y\).*Received elements: TensorSpec\(shape=\(4, 1\)",
        ),
        (
            tf.data.Dataset.from_tensor_slices(_PAIR).batch(1),
            r"batches must be at least the schedule's 12; .*Received: 4",
        ),
    ],
    ids=["arrays", "array", "none", "no targets", "too few"],
)
def test_what_is_no_batches_is_told_what_they_are(batches, message):
    with pytest.raises(ValueError, match=message):
        range_test(_one_weight("sgd"), batches, _RATES)


def test_a_generator_of_batches_is_taken_and_a_model_with_a_step_of_its_own_has_its_own_batches():
    pair = (np.ones((2, 1), "float32"), np.zeros((2, 1), "float32"))
    sweep = range_test(_one_weight("sgd"), (pair for _ in range(12)), _RATES)
    np.testing.assert_allclose(sweep.losses, _expected(_RATES, 12), rtol=1e-4)

    class Own(keras.Sequential):
        def train_step(self, batch):
            return super().train_step((batch["a"], batch["a"]))

    model = Own(_one_weight("sgd").layers)
    model.build((None, 1))
    model.compile("sgd", loss=_half_square)
    batches = tf.data.Dataset.from_tensors({"a": pair[0]}).repeat()
    sweep = range_test(model, batches, _RATES)
    np.testing.assert_allclose(sweep.losses, _expected(_RATES, 12), rtol=1e-4)


class _Five(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras' own word for it
def test_batches_that_run_out_are_an_error_whatever_gives_them():
    of_unknown_length = _ONES.take(5).filter(lambda x, y: True)
    for batches in (of_unknown_length, _Five(), (pair for pair in [_Five()[0]] * 5)):
        with pytest.raises(ValueError, match=r"at least the schedule's 12; .* Received: 5"):
            range_test(_one_weight("sgd"), batches, _RATES)


def test_a_callback_may_end_a_test_early():
    model = _one_weight("sgd")

    def stop(step, logs):
        model.stop_training = step == 3

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    assert len(range_test(model, _ONES, _RATES, callbacks=[callback]).rates) == 4
