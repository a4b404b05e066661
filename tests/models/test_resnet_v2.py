"""resnet_v2: its size as published, its structure, and what it promises of inputs and outputs."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import Activation, Conv2D
from planned import planned

from tfsc import models
from tfsc.layers.norm import FusedBatchNormalization
from tfsc.text.reader import TextSyntaxError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)


ATIENZA = "[1,1,1], shortcut=1, pooling=avg"


def _small(parameters=ATIENZA, input_shape=(16, 16, 3), **arguments):
    keras.utils.set_random_seed(0)
    return models.build(f"resnet_v2({parameters})", input_shape, 5, **arguments)


@functools.cache
def _plain(policy="float32"):
    """The small network that tests only read."""
    assert keras.config.dtype_policy().name == policy
    return _small()


def _planned(parameters=ATIENZA, input_shape=(16, 16, 3), classes=5, **arguments):
    with planned():
        return models.build(f"resnet_v2({parameters})", input_shape, classes, **arguments)


def _layers(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def _count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


BASELINE = "shortcut=1, pooling=avg"


@pytest.mark.parametrize(
    ("parameters", "trainable", "total"),
    [
        pytest.param(BASELINE, 1_663_338, 1_673_738, id="baseline n=6"),
        pytest.param(f"[2,2,2], {BASELINE}", 570_602, 574_090, id="baseline n=2"),
        pytest.param(f"[12,12,12], {BASELINE}", 3_302_442, 3_323_210, id="baseline n=12"),
        pytest.param("shortcut=1", 1_824_618, 1_835_018, id="1"),
        pytest.param("shortcut=[1,3,3], pooling=avg", 1_991_018, 2_001_418, id="2, two 3×3"),
        pytest.param("pooling=avg", 1_999_210, 2_009_610, id="2, three 3×3"),
        pytest.param("shortcut=[1,3,3]", 2_152_298, 2_162_698, id="1+2, two"),
        pytest.param("", 2_160_490, 2_170_890, id="1+2, three"),
        pytest.param("shortcut=[3,3,3]", 2_160_490, 2_170_890, id="1+2, three, each for itself"),
        pytest.param(
            "preactivation=downsampling", 2_160_874, 2_171_658, id="1+2+3, three, stages 1 and 2"
        ),
        pytest.param("preactivation=all", 2_160_906, 2_171_722, id="1+2+3, three, all stages"),
        pytest.param(
            "shortcut=[1,3,3], preactivation=downsampling",
            2_152_682,
            2_163_466,
            id="1+2+3, two, stages 1 and 2",
        ),
    ],
)
def test_parameters_are_as_many_as_published(parameters, trainable, total):
    network = _planned(parameters, (32, 32, 3), 10)
    assert _count(network.trainable_variables) == trainable
    assert _count(network.variables) == total


@pytest.mark.parametrize("n", [1, 2, 3])
def test_depth_is_9n_plus_2(n):
    network = _planned(f"[{n},{n},{n}]")
    on_the_path = [c for c in _layers(network, Conv2D) if "shortcut" not in c.name]
    assert len(on_the_path) + len(_layers(network, keras.layers.Dense)) == 9 * n + 2
    assert len(_layers(network, Conv2D)) - len(on_the_path) == 3


def test_stacks_may_have_unequal_units_and_any_number():
    network = _small("[1,3], shortcut=[1,3]")
    units = [layer.name for layer in network.layers if layer.name.endswith("_add")]
    assert units == ["stack0_unit0_add", "stack1_unit0_add", "stack1_unit1_add", "stack1_unit2_add"]
    assert network.get_layer("stack0_unit0_add").output.shape == (None, 16, 16, 64)
    assert network.get_layer("stack1_unit2_add").output.shape == (None, 8, 8, 128)
    assert network(IMAGES).shape == (4, 5)


def test_kernels_strides_widths_and_initial_weights_are_atienzas():
    network = _small("[2,1,1], shortcut=[1,3,3]")

    def shape(name):
        conv = network.get_layer(name)
        return conv.kernel_size[0], conv.strides[0], conv.filters

    assert shape("stem_conv") == (3, 1, 16)
    assert [shape(f"stack0_unit0_conv{i}") for i in (1, 2, 3)] == [
        (1, 1, 16), (3, 1, 16), (1, 1, 64),
    ]  # fmt: skip
    assert [shape(f"stack1_unit0_conv{i}") for i in (1, 2, 3)] == [
        (1, 2, 64), (3, 1, 64), (1, 1, 128),
    ]  # fmt: skip
    assert [shape(f"stack{i}_unit0_shortcut_conv") for i in (0, 1, 2)] == [
        (1, 1, 64), (3, 2, 128), (3, 2, 256),
    ]  # fmt: skip
    for conv in _layers(network, Conv2D):
        assert conv.padding == "same" and conv.use_bias
        assert isinstance(conv.kernel_initializer, keras.initializers.HeNormal)
    norms = _layers(network, FusedBatchNormalization)
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.99, 1e-3)}
    # Two a unit and one before each unit but the first, whose input the stem has activated.
    assert len(norms) == 1 + 3 * 4 - 1 + 1


def test_a_unit_adds_its_branch_to_its_raw_input():
    network = _small("[2,1,1]")
    names = ("stack0_unit0_add", "stack0_unit1_conv3", "stack0_unit1_add")
    parts = keras.Model(network.input, [network.get_layer(name).output for name in names])
    before, branch, after = parts(IMAGES, training=False)
    np.testing.assert_array_equal(after, before + branch)
    assert before.numpy().min() < 0  # raw: not activated


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_logits_are_float32(policy):
    keras.config.set_dtype_policy(policy)
    logits = _plain(policy)(IMAGES, training=False)
    assert logits.shape == (4, 5)
    assert logits.dtype == tf.float32
    if policy == "mixed_bfloat16":
        assert _plain(policy).get_layer("stem_conv").compute_dtype == "bfloat16"
    # No softmax: probabilities would be positive and sum to 1.
    assert logits.numpy().min() < 0


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_uint8_and_float_images_give_the_same_logits(policy):
    keras.config.set_dtype_policy(policy)
    network = _small(mean=IMAGES.mean(0) / 255)
    np.testing.assert_array_equal(
        network(IMAGES, training=False), network(IMAGES.astype(np.float32), training=False)
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("shape", [(16, 16, 3), (3,), ()], ids=["pixel", "channel", "number"])
def test_images_are_scaled_to_0_to_1_and_centred_inside(shape, policy):
    keras.config.set_dtype_policy(policy)
    mean = np.random.default_rng(1).uniform(size=shape).astype(np.float32)
    network = _planned(mean=mean)  # what scales has no variables
    scaled = keras.Model(network.input, network.get_layer("scale").output)(IMAGES)
    # In float32 under every policy: bfloat16 would round 254 to 255.
    assert scaled.dtype == tf.float32
    np.testing.assert_allclose(scaled, IMAGES / 255 - mean, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_all_that_follows_sees_only_scaled_images(policy):
    keras.config.set_dtype_policy(policy)
    mean = np.random.default_rng(1).uniform(size=(16, 16, 3)).astype(np.float32)
    network, plain = _small(mean=mean), _plain(policy)
    for one, other in zip(plain.weights, network.weights, strict=True):  # of the same seed
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        plain(255 * (IMAGES / 255 - mean), training=False),
        network(IMAGES, training=False),
        atol=1e-4 if policy == "float32" else 0.1,
    )


def test_small_grey_images_work():
    network = _small("[1,1,1]", (28, 28, 1))
    assert network(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 5)
    assert network.get_layer("stack2_unit0_add").output.shape == (None, 7, 7, 256)


def test_without_pooling_the_dense_layer_sees_every_place_of_the_last_maps():
    for pooling, places in (("none", 4 * 4), ("avg", 1)):
        network = _planned(f"[1,1,1], pooling={pooling}")
        assert network.get_layer("logits").kernel.shape == (places * 256, 5)


@pytest.mark.parametrize(
    ("stacks", "where"), [("none", ()), ("downsampling", (1, 2)), ("all", (0, 1, 2))]
)
@pytest.mark.parametrize("norm", [True, False])
def test_shortcuts_are_preactivated_where_asked(stacks, where, norm):
    bn = "" if norm or stacks == "none" else ", preactivation_bn=false"
    network = _small(f"{ATIENZA}, preactivation={stacks}{bn}")
    plain = _plain()
    extra = len(where)
    assert len(_layers(network, Activation)) == len(_layers(plain, Activation)) + extra
    norms, plain_norms = (_layers(n, FusedBatchNormalization) for n in (network, plain))
    assert len(norms) == len(plain_norms) + (extra if norm else 0)
    convolutions = [network.get_layer(f"stack{stack}_unit0_shortcut_conv") for stack in range(3)]
    inputs = keras.Model(network.input, [conv.input for conv in convolutions])
    for stack, seen in enumerate(inputs(IMAGES, training=False)):
        # Behind a ReLU nothing is negative. Stack 0 sees the stem's, activated already.
        assert (seen.numpy().min() >= 0) == (stack in where or stack == 0)


def test_the_activation_is_the_one_asked_for_throughout():
    network = _planned("[1,1,1], preactivation=all, activation=silu")
    kinds = {layer.activation for layer in _layers(network, Activation)}
    assert kinds == {keras.activations.silu, keras.activations.linear}  # linear casts the logits


def test_nothing_is_random_once_the_weights_are():
    network = _small("[1,1], shortcut=1")
    for training in (False, True):
        np.testing.assert_array_equal(
            network(IMAGES, training=training), network(IMAGES, training=training)
        )
    # Seed generators would be variables that are neither weights nor statistics.
    assert len(network.variables) == len(network.weights)


def test_the_penalty_is_l2_times_the_squares_of_convolution_kernels_alone():
    network = _small(l2=1e-4)
    for norm in _layers(network, FusedBatchNormalization):
        norm.beta.assign(norm.beta + 3.0)  # would show if it were counted
    squares = sum(np.sum(conv.kernel.numpy() ** 2.0) for conv in _layers(network, Conv2D))
    np.testing.assert_allclose(float(tf.add_n(network.losses)), 1e-4 * squares, rtol=1e-5)
    assert _plain().losses == []


def test_gradients_reach_every_trainable_variable():
    network = _small("[1,1,1], shortcut=1, preactivation=all")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(IMAGES, training=False) ** 2)
    for variable, gradient in zip(
        network.trainable_variables,
        tape.gradient(loss, network.trainable_variables),
        strict=True,
    ):
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient.numpy() != 0), variable.path


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("[]", "expected units of resnet_v2, .* found ']'"),
        ("[1,0,1]", "units of resnet_v2 must be whole numbers from 1 to 100, received 0"),
        ("shortcut=2", "shortcut of resnet_v2 must be odd numbers from 1 to 7, received 2"),
        ("[1,1,1], shortcut=[1,1]", r"one size or as many as units has stacks \(3\), has 2"),
        ("pooling=max", "pooling of resnet_v2 must be one of none, avg, found 'max'"),
        ("preactivation=some", "must be one of none, downsampling, all, found 'some'"),
        ("width=2", "resnet_v2 has no parameter 'width'"),
    ],
)
def test_arguments_out_of_range_are_named(parameters, rule):
    with pytest.raises(TextSyntaxError, match=rule):
        _small(parameters)


def test_images_that_cannot_be_halved_so_often_are_refused():
    rule = r"needs images of at least 4×4\. Received: input_shape=\(3, 16, 3\)"
    with pytest.raises(ValueError, match=rule):
        _small(input_shape=(3, 16, 3))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_saved_network_gives_the_same_logits(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    network = _small(
        "[1,2], shortcut=[1,3], pooling=avg, preactivation=all",
        mean=IMAGES.mean(0) / 255,
        l2=1e-4,
    )
    network(IMAGES, training=True)  # statistics of their own
    network.save(tmp_path / "network.keras")
    # The policy is the file's, not the session's.
    keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(IMAGES, training=False), network(IMAGES, training=False))
    np.testing.assert_allclose(tf.add_n(loaded.losses), tf.add_n(network.losses), rtol=1e-6)
