"""One training step against NumPy, and what the learner promises of its state."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsc import augment
from tfsc.augment.flip import AlternatingFlip
from tfsc.averages import Averaging
from tfsc.data import example_and_epoch
from tfsc.data.examples import Examples
from tfsc.data.pipeline import TrainingPipeline
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.losses import CrossEntropy
from tfsc.optimizers.sgd import FusedSGD
from tfsc.training.learner import Learner


def _network(norm=True, l2=None):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(
        2, 3, padding="same", kernel_regularizer=l2, kernel_initializer="he_normal"
    )(keras.layers.Rescaling(1 / 255)(inputs))
    x = FusedBatchNormalization(momentum=0.9)(x) if norm else x
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def _batch(seed=0, n=6):
    rng = np.random.default_rng(seed)
    return {
        "image": tf.constant(rng.integers(0, 256, (n, 4, 4, 1)), tf.uint8),
        "label": tf.constant(rng.integers(0, 3, n), tf.int32),
        "number": tf.range(n, dtype=tf.int64),
    }


def _learner(network=None, rate=0.01, optimizer=None, augmentation=None, **arguments):
    keras.utils.set_random_seed(1)
    learner = Learner(network or _network(), augmentation, **arguments)
    learner.compile(optimizer=optimizer or keras.optimizers.SGD(rate), jit_compile=False)
    learner.optimizer.build(learner.network.trainable_variables)
    return learner


def _softmax_cross_entropy(logits, labels):
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels]


def test_a_step_descends_the_gradient_of_the_mean_cross_entropy():
    learner = _learner(_network(norm=False), rate=0.1)
    batch = _batch()
    images, labels = batch["image"].numpy().astype(np.float32), batch["label"].numpy()
    logits = learner.network(images).numpy()
    dense = learner.network.layers[-1]
    flat = keras.Model(learner.network.input, dense.input)(images).numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = flat.T @ (probabilities - np.eye(3)[labels]) / len(labels)
    before = dense.kernel.numpy()
    logs = learner.train_step(batch)
    np.testing.assert_allclose(before - dense.kernel.numpy(), 0.1 * gradient, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        logs["batch_loss"], _softmax_cross_entropy(logits, labels).mean(), rtol=1e-5
    )
    expected = (logits.argmax(axis=1) == labels).mean()
    np.testing.assert_allclose(logs["accuracy"], expected, rtol=1e-6)


def test_the_penalty_is_in_the_training_loss_only():
    network = _network(norm=False, l2=keras.regularizers.L2(0.5))
    learner = _learner(network, rate=0.0)
    batch = _batch()
    data_loss = _softmax_cross_entropy(
        network(tf.cast(batch["image"], tf.float32)).numpy(), batch["label"].numpy()
    ).mean()
    penalty = 0.5 * float((network.layers[2].kernel.numpy() ** 2).sum())
    assert float(learner.train_step(batch)["batch_loss"]) == pytest.approx(
        data_loss + penalty, rel=1e-5
    )
    learner.reset_metrics()
    logs = learner.test_step({**batch, "weight": tf.ones(6)})
    assert float(logs["loss"]) == pytest.approx(data_loss, rel=1e-5)


def test_smoothing_is_in_the_training_loss_only_and_pulls_to_all_classes_alike():
    learner = _learner(_network(norm=False), rate=0.1, loss=CrossEntropy(0.3))
    batch = _batch()
    images, labels = batch["image"].numpy().astype(np.float32), batch["label"].numpy()
    logits = learner.network(images).numpy()
    dense = learner.network.layers[-1]
    flat = keras.Model(learner.network.input, dense.input)(images).numpy()
    plain = _softmax_cross_entropy(logits, labels)
    others = np.mean([_softmax_cross_entropy(logits, np.full(6, k)) for k in range(3)], axis=0)
    validation = learner.test_step({**batch, "weight": tf.ones(6)})["loss"]
    np.testing.assert_allclose(validation, plain.mean(), rtol=1e-5)
    before = dense.kernel.numpy()
    logs = learner.train_step(batch)
    np.testing.assert_allclose(logs["batch_loss"], (0.7 * plain + 0.3 * others).mean(), rtol=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = flat.T @ (probabilities - 0.7 * np.eye(3)[labels] - 0.1) / len(labels)
    np.testing.assert_allclose(before - dense.kernel.numpy(), 0.1 * gradient, rtol=1e-3, atol=1e-6)


def test_evaluation_ignores_padding():
    learner = _learner()
    batch = _batch()
    whole = {**batch, "weight": tf.ones(6)}
    alone = {name: value[:4] for name, value in whole.items()}
    padded = {**whole, "weight": tf.constant([1.0, 1, 1, 1, 0, 0])}
    results = []
    for data in (alone, padded):
        learner.reset_metrics()
        results.append({k: float(v) for k, v in learner.test_step(data).items()})
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_logged_rate_is_the_one_the_step_used():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.1, 0.2, 0.3])
    learner = _learner(rate=schedule)
    rates = [float(learner.train_step(_batch())["learning_rate"]) for _ in range(3)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3], rtol=1e-6)


def test_the_average_covers_every_weight_with_batchnorm_statistics():
    learner = _learner(ema=0.75)
    expected = [weight.numpy().astype(np.float64) for weight in learner.network.weights]
    assert len(learner.ema_weights) == len(learner.network.weights) == 8
    for seed in range(3):
        learner.train_step(_batch(seed))
        expected = [
            0.75 * average + 0.25 * weight.numpy()
            for average, weight in zip(expected, learner.network.weights, strict=True)
        ]
    for average, value in zip(learner.ema_weights, expected, strict=True):
        np.testing.assert_allclose(average.numpy(), value, rtol=1e-5, atol=1e-6)


def test_lookahead_over_every_weight_goes_on_exactly_from_the_state():
    def made():
        return _learner(ema=Averaging(0.75, every=2, power=1, lookahead=True, total_steps=5))

    learner = made()
    step = tf.function(learner.train_step)
    pairs = list(zip(learner.ema_weights, learner.network.weights, strict=True))
    together, held = [], None
    for seed in range(5):
        step(_batch(seed))
        together.append(all(np.array_equal(average, weight) for average, weight in pairs))
        if seed == 2:  # between two turns
            held = [variable.numpy() for variable in learner.state().values()]
    assert together == [False, True, False, True, True]  # and at the end
    again = made()
    for variable, value in zip(again.state().values(), held, strict=True):
        variable.assign(value)
    step = tf.function(again.train_step)
    for seed in (3, 4):
        step(_batch(seed))
    for one, other in zip(learner.state().values(), again.state().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_swapping_the_average_twice_restores_every_bit():
    learner = _learner(ema=0.9)
    learner.train_step(_batch())
    before = {name: variable.numpy() for name, variable in learner.state().items()}
    learner.swap_ema()
    first = learner.network.weights[0].numpy()
    np.testing.assert_array_equal(first, before["ema/0000/" + learner.ema_weights[0].path])
    learner.swap_ema()
    for name, variable in learner.state().items():
        np.testing.assert_array_equal(variable.numpy(), before[name])


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", [keras.optimizers.AdamW, keras.optimizers.SGD])
def test_state_is_all_that_the_next_step_depends_on(ema, optimizer):
    learner = _learner(
        ema=ema, optimizer=optimizer(0.01), augmentation=augment.build("shift(0.1) flip", 3)
    )
    for seed in range(2):
        learner.train_step(_batch(seed))
    held = {name: variable.numpy() for name, variable in learner.state().items()}
    learner.train_step(_batch(2))
    expected = {name: variable.numpy() for name, variable in learner.state().items()}

    again = _learner(
        ema=ema, optimizer=optimizer(0.01), augmentation=augment.build("shift(0.1) flip", 3)
    )
    # Layer names are numbered through a process; a run's process builds its network once.
    values = list(held.values())
    assert len(again.state()) == len(values)
    for variable, value in zip(again.state().values(), values, strict=True):
        variable.assign(value)
    again.train_step(_batch(2))
    for variable, value in zip(again.state().values(), expected.values(), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_step_that_the_loss_scale_rejects_is_a_step_all_the_same():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=np.inf)
    learner = _learner(optimizer=scaled)
    before = learner.network.trainable_weights[0].numpy()
    learner.train_step(_batch())
    np.testing.assert_array_equal(learner.network.trainable_weights[0].numpy(), before)
    assert int(scaled.iterations) == 0  # why the learner counts for itself
    assert int(learner.steps) == 1


def test_augmentation_sees_float32_and_sample_numbers():
    seen = {}

    class Spy(keras.layers.Layer):
        def call(self, images, sample_numbers):
            seen["dtype"], seen["numbers"] = images.dtype, sample_numbers
            return images

    learner = _learner(augmentation=Spy())
    learner.train_step(_batch())
    assert seen["dtype"] == "float32"
    np.testing.assert_array_equal(seen["numbers"], np.arange(6))


def test_augmentation_that_wants_them_sees_visits():
    flip = AlternatingFlip(seed=2)
    batch = _batch(n=12)
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, images):
            seen.append(images)
            return images

    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(Spy()(inputs))))
    for micro_batch in (0, 6):
        learner = _learner(network, augmentation=flip, micro_batch=micro_batch)
        for epoch in (0, 1):
            batch["visit"] = example_and_epoch.join(tf.range(12), epoch)
            seen.clear()
            learner.train_step(batch)
            expected = flip(batch["image"], batch["number"], batch["visit"])
            np.testing.assert_array_equal(np.concatenate(seen), expected)


def test_ema_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"decay must be at least 0 and below 1. Received: 1.0"):
        Learner(_network(), ema=1.0)


def _weights_after_five_steps(data_on="host", **compile_options):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 4, 4, 1)).astype(np.uint8)
    examples = Examples(images, rng.integers(0, 3, 30).astype(np.int32))
    pipeline = TrainingPipeline(examples, batch_size=6, seed=0, data_on=data_on)
    learner = _learner(augmentation=augment.build("shift(0.1) flip", 3), complete=pipeline.resident)
    learner.compile(optimizer=keras.optimizers.SGD(0.1), **compile_options)
    learner.fit(pipeline.batches(0, 5), steps_per_epoch=5, shuffle=False, verbose=0)
    assert int(learner.optimizer.iterations) == 5
    return [weight.numpy() for weight in learner.network.weights]


@pytest.fixture(scope="module")
def plain_weights():
    return _weights_after_five_steps(jit_compile=False, steps_per_execution=1)


def test_xla_and_where_the_data_lies_do_not_change_the_result(plain_weights):
    resident = _weights_after_five_steps("device", jit_compile=True, steps_per_execution=3)
    for one, other in zip(plain_weights, resident, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # above, all at once; test_run.py groups steps of a whole run
def test_steps_per_execution_and_xla_do_not_change_the_result_each_for_itself(plain_weights):
    grouped = _weights_after_five_steps(jit_compile=False, steps_per_execution=3)  # 5 = 3 + 2
    compiled = _weights_after_five_steps(jit_compile=True, steps_per_execution=1)
    for one, two, three in zip(plain_weights, grouped, compiled, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, three, rtol=1e-4, atol=1e-5)


# --- micro-batches ------------------------------------------------------------------------------


def test_gradients_of_parts_make_one_update_of_the_whole_batch():
    # Without BatchNorm, parts change nothing but the order of a sum.
    keras.utils.set_random_seed(1)
    network = _network(norm=False, l2=keras.regularizers.L2(0.5))
    start = network.get_weights()
    results = []
    for micro_batch in (0, 2):
        network.set_weights(start)
        learner = _learner(network, 0.1, augmentation=augment.build("shift(0.3) flip", 0), ema=0.5,
                           micro_batch=micro_batch)  # fmt: skip
        logs = tf.function(learner.train_step)(_batch())
        assert int(learner.steps) == int(learner.optimizer.iterations) == 1
        results.append([*logs.values(), *network.get_weights(), *learner.ema_weights])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("micro_batch", [0, 2])
def test_frozen_variables_take_no_gradients_and_change_nothing_else(micro_batch):
    """Frozen after one update: the second is the same with their gradients and without.

    Also where the gradients of all variables count in one norm.
    """
    results, backward = [], []
    for leave_out in (False, True):
        keras.utils.set_random_seed(1)
        optimizer = FusedSGD(
            0.1, 0.9, freeze_after={"conv": 1}, weight_decay=0.1, global_clipnorm=1e-3
        )
        learner = _learner(_network(), optimizer=optimizer, ema=0.5, micro_batch=micro_batch)
        assert any("conv" in v.path for v in learner.network.trainable_variables)
        tf.function(learner.train_step)(_batch(0))
        if leave_out:
            learner.leave_out_frozen(0)
            assert not any(learner._frozen)
            learner.train_function = "traced before"
            learner.leave_out_frozen(1)
            assert learner.train_function is None
            learner.train_function = "traced after"
            learner.leave_out_frozen(2)
            assert learner.train_function == "traced after"
        step = tf.function(learner.train_step)
        logs = step(_batch(1))
        graph = step.get_concrete_function(_batch(1)).graph
        needed = [op.name for op in graph.control_outputs] + [t.op.name for t in graph.outputs]
        used = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), needed)
        backward.append(str(used).count("Conv2DBackpropFilter"))
        results.append([*logs.values(), *(v.numpy() for v in learner.state().values())])
    if not micro_batch:  # else in a loop's body, of which the graph has all
        assert backward[0] > 0 == backward[1]
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("micro_batch", [0, 3])
def test_the_averages_lookahead_does_not_move_what_is_frozen(micro_batch, scaled):
    """With a loss scale around the optimizer, too; BatchNorm's statistics go on."""
    averaging = Averaging(0.75, every=2, lookahead=True, total_steps=6)
    optimizer = FusedSGD(0.1, freeze_after={"conv": 3})
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0)
    learner = _learner(optimizer=optimizer, ema=averaging, micro_batch=micro_batch)
    step = tf.function(learner.train_step)
    groups = {"conv": [], "dense": [], "moving_mean": []}
    for seed in range(6):
        step(_batch(seed))
        for name, values in groups.items():
            found = [w.numpy().ravel() for w in learner.network.weights if name in w.path]
            values.append(np.concatenate(found))
    moved = {
        name: [bool((one != other).any()) for one, other in itertools.pairwise(values)]
        for name, values in groups.items()
    }
    assert moved["conv"] == [True, True, False, False, False]
    assert moved["dense"] == moved["moving_mean"] == [True] * 5


def test_a_frozen_gradient_that_overflows_is_no_reason_to_reject_a_step():
    class Overflows(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(), initializer="ones", name="kernel")

        def call(self, x):
            @tf.custom_gradient
            def same(x, kernel):
                return x, lambda upstream: (upstream, tf.constant(np.inf))

            return same(x, tf.convert_to_tensor(self.kernel))

    inputs = keras.Input((4, 4, 1))
    x = Overflows(name="stem")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    optimizer = keras.optimizers.LossScaleOptimizer(FusedSGD(0.1, freeze_after={"stem": 0}))
    learner = _learner(keras.Model(inputs, keras.layers.Dense(3)(x)), optimizer=optimizer)
    learner.train_step(_batch())
    assert int(optimizer.iterations) == 1


def test_each_part_is_a_ghost_batch():
    network = _network()
    norm = next(layer for layer in network.layers if isinstance(layer, FusedBatchNormalization))
    maps = keras.Model(network.input, norm.input)
    batch = _batch()
    values = maps(tf.cast(batch["image"], tf.float32)).numpy()
    learner = _learner(network, 0.0, micro_batch=3)
    learner.train_step(batch)
    expected = np.zeros(2)
    for part in (values[:3], values[3:]):
        expected = 0.9 * expected + 0.1 * part.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-5)


def test_parts_compile_with_xla():
    learner = _learner(_network(norm=False), 0.1, micro_batch=2)
    start = learner.network.get_weights()
    step = tf.function(learner.train_step, jit_compile=True)
    step(_batch())
    compiled = learner.network.get_weights()
    learner.network.set_weights(start)
    learner.train_step(_batch())
    for one, other in zip(compiled, learner.network.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_graph_serves_batches_of_any_number_of_parts():
    learner = _learner(micro_batch=2)
    traces = []

    @tf.function(
        input_signature=[
            {
                "image": tf.TensorSpec([None, 4, 4, 1], tf.uint8),
                "label": tf.TensorSpec([None], tf.int32),
                "number": tf.TensorSpec([None], tf.int64),
            }
        ]
    )
    def step(batch):
        traces.append(1)
        return learner.train_step(batch)

    losses = [float(step(_batch(n=n))["batch_loss"]) for n in (2, 6, 10)]
    assert np.isfinite(losses).all()
    assert len(traces) == 1
