"""Flags of earlier versions: what they are now, and that old recipes are still read."""

import pytest

from tfsc.errors import RecipeError
from tfsc.recipe import Recipe, old_spelling, settings
from tfsc.recipe.old_spelling import translated

# As version 0.1 wrote it.
_OLD = """--dataset=digits
--val_split=stratified
--batch_size=32
--model=resnet_v2
--stack_units=1,1,1
--shortcut_kernels=3,3,3
--pooling=none
--shortcut_preactivation=none
--shortcut_bn=true
--whiten_images=-1
--identity_init=auto
--logit_scale=0.0
--activation=relu
--dropout=0.0
--center=pixel
--input_scale=1.0
--scale_by=none
--shift=0.07
--crop=0
--flip=false
--flip_mode=random
--schedule=type1
--optimizer=sgd
--momentum=0.9
--nesterov=true
--muon_rest=sgd
--muon_rest_momentum=
--muon_steps=3
--wd=0.05
--clipnorm=0.0
--global_clipnorm=2.0
--clipvalue=0.0
--lookahead=0
--lookahead_alpha=0.5
--label_smoothing=0.1
--ema=0.99
--ema_every=1
--ema_power=0.0
--ema_lookahead=false
"""


def test_a_recipe_of_old_is_read_in_todays_spelling():
    assert Recipe.from_flagfile(_OLD) == Recipe(
        dataset="digits",
        val_split="stratified",
        batch_size=32,
        model="resnet_v2([1,1,1])",
        input="center",
        augment="shift(0.07)",
        schedule="type1",
        optimizer="sgd(0.9,nesterov)",
        wd=0.05,
        clip="global_norm(2)",
        loss="cross_entropy(smoothing=0.1)",
        average="ema(0.99)",
        native="off",  # it had nothing in C++
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"stack_units": "2,3", "pooling": "avg"}, {"model": "resnet_v2([2,3],pooling=avg)"}),
        ({"shortcut_kernels": "1,3,3"}, {"model": "resnet_v2(shortcut=[1,3,3])"}),
        (
            {"shortcut_preactivation": "all", "shortcut_bn": "false"},
            {"model": "resnet_v2(preactivation=all,preactivation_bn=false)"},
        ),
        # It had six units a stack by default, and now its own nine.
        ({"model": "resnet_smith", "conv_bias": "none"}, "resnet_smith([6,6,6],bias=none)"),
        ({"model": "wide_resnet", "width": "10"}, "wide_resnet([6,6,6])"),
        ({"model": "wide_resnet", "bn_momentum": "0.8"}, "wide_resnet([6,6,6],width=1,bn_mom"),
        ({"model": "caffe_cifar10", "dropout": "0.1"}, "caffe_cifar10(dropout=0.1)"),
        (
            {"model": "airbench", "group_depth": "3", "activation": "gelu"},
            {"model": "airbench(depth=3)", "input": "center whiten"},
        ),
        (
            {"model": "airbench", "whiten_images": "0", "identity_init": "false"},
            {"model": "airbench(activation=relu,identity_init=false)", "input": "center"},
        ),
        ({"center": "channel", "scale_by": "channel_std"}, {"input": "standardize"}),
        ({"center": "none", "scale_by": "channel_std"}, {"input": "standardize(none)"}),
        ({"center": "none", "input_scale": "255"}, {"input": "scale(255)"}),
        ({"center": "none"}, {"input": "none"}),
        ({"whiten_images": "100"}, {"input": "center whiten(100)"}),
        ({"flip": "false"}, {"augment": "shift(0.07)"}),
        ({"shift": "0", "flip": "0"}, {"augment": "none"}),
        ({"crop": "2", "flip_mode": "alternating"}, "crop(2) shift(0.07) flip(alternating)"),
        ({"beta_2": "0.99", "epsilon": "1e-7"}, {"optimizer": "adamw(beta_2=0.99)"}),
        # Momentum 0.9 was the default.
        ({"optimizer": "sgd", "nesterov": "false"}, {"optimizer": "sgd(0.9)"}),
        ({"optimizer": "sgd", "nesterov": "true"}, {"optimizer": "sgd(0.9,nesterov)"}),
        (
            {"optimizer": "sgd", "momentum": "0", "nesterov": "true"},
            {"optimizer": "sgd"},  # Nesterov's had no effect without a momentum
        ),
        ({"optimizer": "rmsprop", "beta_2": "0.95"}, {"optimizer": "rmsprop(rho=0.95)"}),
        ({"optimizer": "sgd", "momentum": "inverse(0.95, .85)"}, "sgd(inverse(0.95,0.85))"),
        (
            {"optimizer": "muon", "momentum": "0.6", "nesterov": "true"},
            {"optimizer": "muon"},
        ),
        (
            {"optimizer": "muon", "momentum": "0.7", "muon_rest_momentum": "0.8"},
            {"optimizer": "muon(0.7,nesterov=false,rest=sgd(0.8))"},
        ),
        (
            {"optimizer": "muon", "muon_rest": "adamw", "beta_1": "0.8", "muon_steps": "5"},
            {"optimizer": "muon(0.9,nesterov=false,steps=5,rest=adamw(beta_1=0.8))"},
        ),
        ({"lookahead": "6"}, {"optimizer": "lookahead(adamw,every=6)"}),
        ({"clipvalue": "0.5"}, {"clip": "value(0.5)"}),
        ({"clipnorm": "0"}, {"clip": "none"}),
        ({"label_smoothing": "0.2"}, {"loss": "cross_entropy(smoothing=0.2)"}),
        ({"ema": "0.9", "ema_every": "5"}, {"average": "ema(0.9,every=5)"}),
        ({"ema": "0.9", "ema_lookahead": "true"}, "lookahead(0.9,every=1,power=0)"),
        ({"ema_every": "5"}, {"average": "none"}),
    ],
)
def test_settings_of_old_in_todays_spelling(old, new):
    found = translated(old)
    if isinstance(new, str):
        assert any(text.startswith(new) for text in found.values()), found
    else:
        # A network or optimizer of old had other defaults, and is written out.
        assert new.items() <= found.items(), found
    assert not set(found) & set(old_spelling.NAMES)
    Recipe(**{"schedule": "one_cycle(0.1)", "wd": 0.0, **found})


def test_a_stem_that_was_written_for_networks_without_use_for_it_is_none():
    before = {"whiten_images": "5000", "identity_init": "true", "logit_scale": "0.1111111111111111"}
    assert translated({"model": "wide_resnet", **before}) == {
        "model": "wide_resnet([6,6,6],width=1)",
        "input": "center",
        "native": "off",
    }
    assert translated({"model": "airbench", "activation": "gelu", **before}) == {
        "model": "airbench",
        "input": "center whiten",
        "native": "off",
    }
    chosen = {**before, "logit_scale": "0.1"}
    assert translated({"model": "wide_resnet", **chosen})["input"] == "center whiten"


def _in_cpp(winograd="off", fused_norm="off", fused_augment="off", **others):
    """A recipe.flags of a development version of 0.2, in its three flags of operations in C++."""
    flags = dict(winograd=winograd, fused_norm=fused_norm, fused_augment=fused_augment)
    text = Recipe(**{name: value for name, value in others.items()}).flagfile()
    lines = [line for line in text.splitlines() if not line.startswith(("--native", "--bf16_win"))]
    return "\n".join([*lines, *(f"--{name}={value}" for name, value in flags.items())])


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"native": "off"}),
        ({"precision": "bf16"}, {"native": "off"}),
        (dict(winograd="auto", fused_norm="auto", fused_augment="auto"), {"native": "auto"}),
        (dict(winograd="on", fused_norm="on", fused_augment="on"), {"native": "on"}),
        (
            dict(winograd="auto", fused_norm="auto", fused_augment="auto", precision="bf16"),
            {"native": "auto", "bf16_winograd": True},
        ),
        (dict(winograd="auto", precision="auto"), {"native": "auto", "bf16_winograd": True}),
        (dict(fused_norm="auto", fused_augment="auto", precision="bf16"), {"native": "auto"}),
        # The nearest: one operation alone cannot be said now.
        (dict(fused_norm="auto"), {"native": "auto"}),
        (dict(winograd="on", precision="bf16"), {"native": "on", "bf16_winograd": True}),
        (dict(winograd="on", fused_norm="auto", precision="fp32"), {"native": "on"}),
        # What "on" is not allowed with now.
        (dict(winograd="on", replicas=2), {"native": "auto"}),
        (dict(fused_augment="on", precision="fp16"), {"native": "auto"}),
    ],
)
def test_what_was_computed_in_cpp_is_one_setting(before, now):
    names = ("winograd", "fused_norm", "fused_augment")
    others = {name: value for name, value in before.items() if name not in names}
    assert Recipe.from_flagfile(_in_cpp(**before)) == Recipe(**others, **now)


def test_a_recipe_without_any_word_of_cpp_is_as_before_there_was_any():
    text = "--model=wide_resnet\n--optimizer=muon\n--wd=0.1\n"
    expected = Recipe(model="wide_resnet", optimizer="muon", wd=0.1, native="off")
    assert Recipe.from_flagfile(text) == expected  # and a network's name is today's
    assert Recipe.from_flagfile(f"{text}--native=auto\n") == expected.replace(native="auto")


def test_flags_of_old_beside_native_are_an_error():
    with pytest.raises(RecipeError, match=r"^recipe: winograd, .* are --native now, which is ther"):
        Recipe.from_flagfile("--native=auto\n--winograd=off\n")
    with pytest.raises(RecipeError, match=r"^recipe: winograd must be one of off, auto, on"):
        Recipe.from_flagfile("--winograd=yes\n")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--winograd=off"], "what was typed is --native=off"),
        (["--winograd=auto"], "what was typed is --native=auto"),
        (["--fused_norm=on", "--winograd=off"], "what was typed is --native=on"),
        (
            ["--winograd=auto", "--precision=bf16"],
            "what was typed is --native=auto --bf16_winograd=true",
        ),
        (
            ["--winograd=on", "--precision=mixed_bfloat16"],
            "what was typed is --native=on --bf16_winograd=true",
        ),
        (["--fused_augment=auto", "--native=off"], "change it in --native=off"),
        (["--fused_augment"], "beside --bf16_winograd)"),
    ],
)
def test_a_flag_of_cpp_is_answered_with_native(words, answer):
    name = words[0].strip("-").partition("=")[0]
    said = old_spelling.answer(name, words)
    assert said.startswith("is part of --native now") and said.endswith(answer)


def test_the_other_flags_of_old_are_answered_beside_those_of_cpp():
    words = ["--stack_units=1,1,1", "--winograd=auto", "--model=wide_resnet"]
    assert old_spelling.answer("stack_units", words).endswith(
        "what was typed is --model='wide_resnet([1,1,1],width=1)'"
    )


def test_no_setting_of_old_is_one_of_today():
    assert not set(old_spelling.NAMES) & set(settings())
    assert set(old_spelling.NAMES.values()) <= set(settings())


@pytest.mark.parametrize("name", old_spelling.NAMES)
def test_every_flag_of_old_is_answered_with_the_setting_that_says_it_now(name):
    said = old_spelling.answer(name, [f"--{name}=1"])
    assert said.startswith(f"is part of --{old_spelling.NAMES[name]} now")
    assert said.isprintable()
    assert old_spelling.answer(f"no{name}", [f"--no{name}"])


def test_the_answer_is_what_was_typed_in_todays_spelling():
    words = ["--stack_units=1,1,1", "--noflip", "--wd=0.1", "--optimizer=sgd", "--nesterov"]
    assert old_spelling.answer("noflip", words) == (
        "is part of --augment now; what was typed is --optimizer='sgd(0.9,nesterov)' "
        "--model='resnet_v2([1,1,1])' --augment='shift(0.07)'"
    )
    assert old_spelling.answer("warmup", words) == ""
    words = ["--model=airbench", "--widths=4,4,4", "--activation=gelu"]
    assert old_spelling.answer("widths", words).endswith(
        "--model='airbench([4,4,4])' --input='center whiten'"
    )


def test_beside_a_text_of_today_it_says_where_to_change_it():
    """A flagfile of today says what 0.1's defaults would not."""
    words = ["--augment=crop(2) flip(alternating)", "--optimizer=sgd", "--crop=4"]
    assert old_spelling.answer("crop", words) == (
        "is part of --augment now (`python -m tfsc.augment` lists what it can say); change it in "
        "--augment='crop(2) flip(alternating)'"
    )
    words = ["--model=resnet_smith([9,9,9])", "--optimizer=sgd", "--noflip"]
    assert old_spelling.answer("noflip", words).endswith(
        "what was typed is --augment='shift(0.07)'"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--momentum=0.9"],  # of adamw
        ["--width=10"],  # of resnet_v2
        ["--ema_every=5"],  # of no average
        ["--flip=yes"],
        ["--beta_2=0.9", "--optimizer=sgd"],
    ],
)
def test_what_had_no_effect_or_was_wrong_is_told_where_it_is_now(words):
    name = words[0].strip("-").partition("=")[0]
    assert old_spelling.answer(name, words).endswith("lists what it can say)")


def test_a_value_of_old_that_no_spelling_allows_names_the_recipe():
    with pytest.raises(RecipeError, match=r"^recipe: shift|^recipe: factor of shift must be"):
        Recipe.from_flagfile("--shift=1.5\n")
