"""`build`: the optimizer that a text names, and what its texts say."""

import keras
import numpy as np
import pytest

from tfsc import optimizers
from tfsc.optimizers import OPTIMIZERS, FusedAdamW, FusedSGD, Lookahead, Muon
from tfsc.optimizers.catalog import CLIPS, clipping, innermost, momenta
from tfsc.schedules.segments import SegmentSchedule
from tfsc.text.reader import TextSyntaxError

DECAY = {"weight_decay": 0.5, "decoupled": False, "no_decay": ["bias"]}


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in ("lookahead", "adamwr")])
def test_each_has_the_name_of_its_family_and_what_all_have(name):
    decay = DECAY | {"decoupled": bool(OPTIMIZERS[name].decoupled)}
    clip = CLIPS.parse("norm(2)")
    built = optimizers.build(name, 0.25, decay=decay, clip=clip, freeze_after={"bias": 7})
    inside = optimizers.build(
        f"lookahead({name})", 0.25, decay=decay, clip=clip, freeze_after={"bias": 7}
    ).inner
    for optimizer in (built, inside):
        assert type(optimizer) is OPTIMIZERS.builder(name)
        assert (optimizer.name, float(optimizer.learning_rate)) == (name, 0.25)
        assert (optimizer.clipnorm, optimizer.clipvalue) == (2.0, None)
        config = optimizer.get_config()
        assert {key: config[key] for key in decay} == decay
        assert config["freeze_after"] == {"bias": 7}


def test_a_text_and_what_it_reads_as_are_the_same_optimizer():
    text = "muon(0.7, steps=5, rest=adamw(0.8))"
    one, other = (optimizers.build(each, 0.1) for each in (text, OPTIMIZERS.parse(text)))
    assert one.get_config() == other.get_config()
    assert (type(one), type(one.rest)) == (Muon, FusedAdamW)
    assert (one.momentum, one.steps, one.rest.beta_1) == (0.7, 5, 0.8)


def test_muon_leaves_to_sgd_what_it_does_not_move_and_clips_for_it():
    optimizer = optimizers.build(
        "muon(0.7)",
        0.1,
        decay=DECAY | {"decoupled": True},
        clip="value(3)",
        freeze_after={"bn": 2},
    )
    rest = optimizer.rest
    assert (type(rest), rest.name) == (FusedSGD, "sgd")
    assert (rest.momentum, rest.nesterov) == (0.7, True)
    assert (optimizer.clipvalue, rest.clipvalue) == (3.0, None)
    assert (rest.weight_decay, rest.decoupled) == (0.5, True)
    assert rest.freeze_after == {"bn": 2}


def test_lookahead_may_be_around_muon_but_not_around_itself_nor_within():
    optimizer = optimizers.build("lookahead(muon(rest=sgd(0.5)), alpha=0.25)", 0.1)
    assert (type(optimizer), optimizer.name) == (Lookahead, "lookahead")
    assert (optimizer.every, optimizer.alpha) == (5, 0.25)
    assert optimizer.inner.rest.momentum == 0.5
    for text, word in (
        ("lookahead(lookahead(sgd))", "lookahead"),
        ("muon(rest=lookahead(sgd))", "lookahead"),
        ("muon(rest=muon)", "muon"),
    ):
        with pytest.raises(TextSyntaxError, match=f"no optimizer is named '{word}'") as caught:
            optimizers.build(text, 0.1)
        assert caught.value.position == text.rindex(word)
    with pytest.raises(TextSyntaxError, match="no optimizer is named 'lion'; names: sgd, adamw"):
        optimizers.build("muon(rest=lion)", 0.1)


def test_a_momentum_that_moves_is_made_by_who_knows_the_runs_length():
    falling = SegmentSchedule("[0.95,0]lin[0.85,2]", steps_per_epoch=10)
    built = optimizers.build("sgd([0.95,0]lin[0.85,2])", 0.1, momentum=lambda text: falling)
    assert built.momentum is falling
    seen = []
    optimizers.build("sgd(inverse(0.95, 0.85))", 0.1, momentum=lambda m: seen.append(m) or 0.5)
    assert [str(momentum) for momentum in seen] == ["inverse(0.95,0.85)"]
    for text in ("sgd([0.95,0]lin[0.85,2])", "sgd(inverse(0.95, 0.85))"):
        with pytest.raises(ValueError, match=r"a momentum that moves needs the run's length"):
            optimizers.build(text, 0.1)


@pytest.mark.parametrize("momentum", [0.9, "0.9", "[0.9, 0]"])
def test_a_momentum_from_code_is_a_number_or_a_text(momentum):
    assert OPTIMIZERS.call("sgd", momentum=momentum) == OPTIMIZERS.parse("sgd(0.9)")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sgd(1)", "momentum of sgd must be at most 0.999999, goes to 1"),
        ("sgd([0.9,0]lin[1,2])", "momentum of sgd must be at most 0.999999, goes to 1"),
        ("sgd(inverse(0.9, 1))", "momentum must be at most 0.999999, received 1"),
        ("adamw(epsilon=0)", "epsilon of adamw must be from 1e-30 to 1, received 0"),
        (
            "adamw(nesterov=true)",
            "adamw has no parameter 'nesterov'; it has: beta_1, beta_2, epsilon",
        ),
        ("adamw(momentum=0.9)", "adamw has no parameter 'momentum'"),
        ("rmsprop(beta_2=0.9)", "rmsprop has no parameter 'beta_2'; it has: rho, epsilon"),
        ("adagrad(rho=0.9)", "adagrad has no parameter 'rho'; it has: epsilon"),
        ("lion(epsilon=1e-8)", "lion has no parameter 'epsilon'; it has: beta_1, beta_2"),
        ("sgd(steps=3)", "sgd has no parameter 'steps'; it has: momentum, nesterov"),
        ("lookahead", "lookahead needs inner"),
        ("lookahead(every=5)", "lookahead needs inner"),
        ("lookahead(sgd, alpha=0)", "alpha of lookahead must be from 1e-3 to 1, received 0"),
        ("adamax", "no optimizer is named 'adamax'"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused(text, rule):
    with pytest.raises(TextSyntaxError) as caught:
        optimizers.build(text, 0.1)
    assert rule in str(caught.value)


def test_the_innermost_optimizer_and_all_momenta():
    def found(text):
        return [(what, str(value)) for what, value in momenta(OPTIMIZERS.parse(text))]

    assert innermost(OPTIMIZERS.parse("lookahead(muon(0.5))")) == OPTIMIZERS.parse("muon(0.5)")
    assert innermost(OPTIMIZERS.parse("adamw")).family == "adamw"
    assert found("adamw") == []
    assert found("lookahead(sgd(0.5))") == [("momentum of sgd", "[0.5,0]")]
    assert found("muon(0.6, rest=sgd(inverse(0.9, 0.8)))") == [
        ("momentum of muon", "[0.6,0]"),
        ("momentum of sgd", "inverse(0.9,0.8)"),
    ]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("none", {}),
        ("norm(1)", {"clipnorm": 1.0}),
        ("global_norm(0.5)", {"global_clipnorm": 0.5}),
        ("value(2)", {"clipvalue": 2.0}),
    ],
)
def test_clipping_is_keras_arguments(text, arguments):
    assert clipping(CLIPS.parse(text)) == arguments
    optimizer = optimizers.build("sgd", 0.1, clip=CLIPS.parse(text))
    assert {name: getattr(optimizer, name) for name in arguments} == arguments


@pytest.mark.parametrize("text", ["norm", "norm(0)", "none(1)", "global_norm(1, 2)"])
def test_clipping_needs_one_number_above_0(text):
    with pytest.raises(TextSyntaxError):
        CLIPS.parse(text)


def test_a_step_of_nesterov_is_that_of_its_text():
    """By hand: v = −0.1·g; w += 0.9·v − 0.1·g = −0.19·g at the first step."""
    weight = keras.Variable(np.float32([1.0, 2.0]), name="kernel")
    optimizer = optimizers.build("sgd(0.9, nesterov)", 0.1)
    optimizer.build([weight])
    optimizer.apply([np.float32([1.0, -1.0])], [weight])
    np.testing.assert_allclose(weight, [0.81, 2.19], rtol=1e-6)


def test_a_decay_that_does_not_go_with_the_optimizer_is_refused():
    with pytest.raises(ValueError, match=r"the decay of sgdw is decoupled. Received: decoupled=Fa"):
        optimizers.build("sgdw(0.9)", 0.1, decay={"weight_decay": 0.5, "decoupled": False})
    with pytest.raises(ValueError, match=r"adamwr needs a weight_decay that follows its restarts"):
        optimizers.build("adamwr", 0.1, decay={"weight_decay": 0.5})
