"""The recipe: its defaults, its rules, and that whatever is accepted replays."""

import dataclasses
import re

import pytest
from absl import flags
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tfsc import __version__
from tfsc.errors import RecipeError, shown
from tfsc.recipe import Recipe, settings
from tfsc.recipe.flags import define_flags
from tfsc.schedules import parser
from tfsc.schedules.catalog import NAMED

_FUZZ = hypothesis_settings(max_examples=80, deadline=None)
_FEW = hypothesis_settings(max_examples=25, deadline=None)  # of a hundred settings each

_NO_IDENTITY = {
    "run_dir",
    "data_dir",
    "steps_per_execution",
    "data_on",
    "checkpoint_every",
    "validate_every",
    "keep_checkpoints",
    "export",
    "threshold",
}


def _flags(*arguments, **options):
    """Recipe flags defined anew and parsed, as a command does with `sys.argv`."""
    values = flags.FlagValues()
    define_flags("test", flag_values=values, **options)
    values(["test", *arguments])
    return values


def _recipe(*arguments):
    return Recipe.from_flags(_flags(*arguments))


def test_the_defaults_are_seed_000s_changes_1_and_2_with_type_one():
    recipe = Recipe()
    assert recipe.dataset == "cifar10"
    assert recipe.batch_size == 64
    assert recipe.epochs == 25
    assert recipe.steps == 0
    assert recipe.model == "resnet_v2"
    network = recipe.parsed("model")
    assert (network["units"], network["shortcut"]) == ((6, 6, 6), (3,))
    assert (network["pooling"], network["preactivation"]) == ("none", "none")
    assert recipe.input == "center(pixel)"
    assert recipe.augment == "shift(0.07) flip"
    assert recipe.optimizer == "adamw"
    assert recipe.wd == 0.19
    assert recipe.l2 == 0
    assert recipe.average == "none"
    assert parser.parse(recipe.schedule) == parser.parse(
        "[8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 12]cos[1.e-5, 20]lin[6.e-6, 26]"
    )
    assert recipe.precision == "fp32"
    assert recipe.threshold == 0.92


# --- rules ------------------------------------------------------------------------------------

_BAD_VALUES = [
    ("run_dir", "a\nb", "text on one line"),
    ("run_dir", None, "text on one line"),
    ("run_dir", "runs/\0", "text on one line"),
    ("dataset", "", "name of a TFDS dataset"),
    ("dataset", "cifar 10", "name of a TFDS dataset"),
    ("dataset", "cifar10;", "name of a TFDS dataset"),
    ("dataset", "/etc", "a name, not a path"),
    ("dataset", "../cifar10", "a name, not a path"),
    ("dataset", 10, "text on one line"),
    ("data_dir", "a\tb", "text on one line"),
    ("val_split", "train", "one of test, stratified, merged"),
    ("train_examples", -1, "a whole number from 0 to 10000000"),
    ("train_examples", 0.5, "a whole number from 0 to 10000000"),
    ("batch_size", 0, "a whole number from 1 to 65536"),
    ("batch_size", 65537, "a whole number from 1 to 65536"),
    ("batch_size", 64.0, "a whole number from 1 to 65536"),
    ("batch_size", "64", "a whole number from 1 to 65536"),
    ("epochs", 0, "a whole number from 1 to 100000"),
    ("epochs", 100_001, "a whole number from 1 to 100000"),
    ("epochs", True, "a whole number from 1 to 100000"),
    ("steps", -1, "a whole number from 0 to 1000000000"),
    ("seed", -1, "a whole number from 0 to 2147483647"),
    ("seed", 2**31, "a whole number from 0 to 2147483647"),
    ("model", 5, "text on one line"),
    ("input", None, "text on one line"),
    ("augment", True, "text on one line"),
    ("schedule_per", "batch", "one of step, epoch"),
    ("batch_schedule", 128, "text on one line"),
    ("scale_lr_from", -1, "a whole number from 0 to 65536"),
    ("micro_batch", 8.0, "a whole number from 0 to 65536"),
    ("optimizer", ("adamw",), "text on one line"),
    ("decoupled", 1, "true or false"),
    ("clip", 1.0, "text on one line"),
    ("no_decay", 3, "text on one line"),
    ("lr_factors", "bn:1\n", "text on one line"),
    ("wd_factors", 1.0, "text on one line"),
    ("freeze_after", None, "text on one line"),
    ("wd", -0.19, "a number from 0.0 to 1000.0"),
    ("wd", float("inf"), "a number from 0.0 to 1000.0"),
    ("wd", True, "a number from 0.0 to 1000.0"),
    ("wd", "0.19", "a number from 0.0 to 1000.0"),
    ("l2", 10.5, "a number from 0 to 10"),
    ("loss", 0.1, "text on one line"),
    ("average", 0.999, "text on one line"),
    ("precision", "fp8", "one of fp32, tf32, bf16, fp16"),
    ("xla", "yes", "one of auto, on, off"),
    ("native", "yes", "one of auto, on, off"),
    ("bf16_winograd", "auto", "true or false"),
    ("replicas", 0, "a whole number from 1 to 1024"),
    ("steps_per_execution", 0, "a whole number from 1 to 10000"),
    ("data_on", "disk", "one of host, prefetch, device"),
    ("checkpoint_every", 0, "a whole number from 1 to 100000"),
    ("validate_every", 0, "a whole number from 1 to 100000"),
    ("keep_checkpoints", 0, "a whole number from 1 to 100000"),
    ("export", "yes", "true or false"),
    ("threshold", 1.5, "a number from 0.0 to 1.0"),
    ("threshold", 92, "a number from 0.0 to 1.0"),
]


@pytest.mark.parametrize(("name", "value", "rule"), _BAD_VALUES)
def test_a_bad_value_is_an_error_with_the_flag_the_value_and_the_rule(name, value, rule):
    with pytest.raises(RecipeError) as caught:
        Recipe(**{name: value})
    received = shown(value if isinstance(value, str) else repr(value))
    assert str(caught.value).startswith(f"--{name}={received}: must be ")
    assert rule in str(caught.value)
    assert str(caught.value).isprintable()


def test_every_setting_has_a_bad_value_above():
    # A schedule has a language of its own and its errors a test of their own.
    assert {name for name, _, _ in _BAD_VALUES} == set(settings()) - {"schedule"}


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("batch_size", "64.0", "a whole number from 1 to 65536"),
        ("batch_size", "", "a whole number from 1 to 65536"),
        ("epochs", "0", "a whole number from 1 to 100000"),
        ("epochs", "9" * 5000, "a whole number from 1 to 100000"),
        ("seed", "2147483648", "a whole number from 0 to 2147483647"),
        ("export", "yes", "true or false"),
        ("export", "", "true or false"),
        ("threshold", "7%", "a number from 0.0 to 1.0"),
        ("wd", "nan", "a number from 0.0 to 1000.0"),
        ("wd", "1e999", "a number from 0.0 to 1000.0"),
        ("precision", "float16", "one of fp32, tf32, bf16, fp16"),
    ],
)
def test_a_bad_text_is_an_error_with_the_flag_the_text_and_the_rule(name, text, rule):
    message = re.escape(f"recipe line 1: --{name}={shown(text)}: must be {rule}")
    with pytest.raises(RecipeError, match=message):
        Recipe.from_flagfile(f"--{name}={text}")
    with pytest.raises(flags.Error, match=re.escape(f"--{name}={text}: must be {rule}")):
        _flags(f"--{name}={text}")


@pytest.mark.parametrize("argument", ["--export=false", "--export=F", "--export=0", "--noexport"])
def test_false_may_be_written_in_several_ways(argument):
    assert _recipe(argument).export is False
    assert _recipe(argument, "--export").export is True  # the last one counts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer": "adam"},
            "--wd=0.19: must be 0 with --optimizer=adam, which has no decoupled decay; add --wd=0",
        ),
        ({"micro_batch": 48}, "--micro_batch=48: must divide the batch size 64"),
        (
            {"micro_batch": 64, "batch_schedule": "[64,0]const[160,2]"},
            "--micro_batch=64: must divide the batch size 160",
        ),
        (
            {"native": "on", "precision": "fp16"},
            "--precision=fp16: must be fp32, tf32, bf16 or auto with --native=on",
        ),
        ({"native": "on", "xla": "on"}, "--xla=on: must be auto or off with --native=on"),
        ({"native": "on", "replicas": 2}, "--replicas=2: must be 1 with --native=on"),
        (
            {"bf16_winograd": True, "precision": "bf16", "native": "off"},
            "--native=off: must be auto or on with --bf16_winograd",
        ),
        (
            {"bf16_winograd": True},
            "--precision=fp32: must be bf16 or auto with --bf16_winograd",
        ),
        (
            {"replicas": 2, "micro_batch": 32},
            "--micro_batch=32: must be 0 with --replicas=2",
        ),
        (
            {"decoupled": False},
            "--decoupled=false: must be true with --optimizer=adamw, whose decay is decoupled",
        ),
        ({"optimizer": "lion", "decoupled": False}, "--decoupled=false: must be true with"),
        (
            {"replicas": 2, "average": "lookahead(0.9)"},
            "--average=lookahead(0.9): must be none or ema(…) of power 0 at every step with",
        ),
        (
            {"replicas": 2, "average": "ema(0.9, every=2)"},
            "--average=ema(0.9, every=2): must be none or ema(…) of power 0 at every step with",
        ),
        ({"replicas": 2, "clip": "norm(1)"}, "--clip=norm(1): must be none with --replicas=2"),
        (
            {"optimizer": "sgd(inverse(0.95, 0.85))"},
            "--optimizer=sgd(inverse(0.95, 0.85)): inverse(…) needs a --schedule that is one_cycle",
        ),
        (
            {"optimizer": "lookahead(adam)"},
            "--wd=0.19: must be 0 with --optimizer=adam, which has no decoupled decay",
        ),
        ({"replicas": 3}, "--replicas=3: must divide --batch_size=64 into equal shares"),
        (
            {"replicas": 2, "steps_per_execution": 4},
            "--steps_per_execution=4: must be 1 with --replicas=2",
        ),
        ({"replicas": 2, "xla": "on"}, "--xla=on: must be auto or off with --replicas=2"),
        (
            {"replicas": 2, "precision": "fp16"},
            "--precision=fp16: must be fp32, tf32 or bf16 with --replicas=2",
        ),
        (
            {"replicas": 2, "data_on": "device"},
            "--data_on=device: must be host with --replicas=2",
        ),
    ],
)
def test_values_that_do_not_go_together_are_an_error_that_says_what_would(changes, message):
    with pytest.raises(RecipeError) as caught:
        Recipe(**changes)
    assert str(caught.value).startswith(message)


def test_adam_without_decoupled_decay_is_allowed():
    assert Recipe(optimizer="adam", wd=0, l2=1e-4).wd == 0
    assert Recipe(optimizer="adam", wd=0.1, decoupled=False).wd == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "--schedule=[8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26]: must be warm_"),
        ({"schedule": "warmup(1) → warm_restarts(0.1, 5)"}, "--schedule=warmup(1) → warm_restarts"),
        ({"schedule": "warm_restarts(0, 5)"}, "--schedule: its rate must be above 0"),
        (
            {"schedule": "warm_restarts(0.1, 5)", "batch_schedule": "[64,0]const[128,5]"},
            "--batch_schedule=[64,0]const[128,5]: must be empty with --optimizer=adamwr",
        ),
    ],
)
def test_adamwr_needs_warm_restarts(changes, message):
    with pytest.raises(RecipeError) as caught:
        Recipe(optimizer="adamwr", **changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "text", "rule", "at"),
    [
        ("schedule", "[8e-4,0]lni[1e-3,5]", "unknown shape 'lni', allowed: lin, cos, half", 8),
        ("schedule", "cyclic(0.1,3)", "cyclic needs half_cycle", 12),
        ("model", "resnet_v3", "no network is named 'resnet_v3'; names: resnet_v2, ", 0),
        (
            "model",
            "wide_resnet(depth=3)",
            "wide_resnet has no parameter 'depth'; it has: units",
            12,
        ),
        ("model", "wide_resnet(28,10)", "units of wide_resnet must be a list, such as [4,4,4]", 12),
        ("optimizer", "adamw(lr=1e-3)", "adamw has no parameter 'lr'; that is the flag --sched", 6),
        ("optimizer", "sgd(nesterov)", "nesterov of sgd needs a momentum, such as sgd(0.9", 0),
        ("input", "whiten center", "center must stand before whiten", 7),
        ("augment", "shift(0.07), flip", "expected a blank and another augmentation", 11),
        ("optimizer", "sgd(inverse(0.95,1.1))", "momentum must be at most 0.999999, received", 17),
        ("optimizer", "muon(rest=sgd([0.9,0]lin[1.1,3]))", "momentum of sgd must be at most", 14),
        ("clip", "norm", "norm needs most", 4),
        ("loss", "cross_entropy(smoothing=1)", "smoothing of cross_entropy must be from 0", 24),
        ("average", "ema(1)", "decay of ema must be above 0 and at most 0.999999, received 1", 4),
        ("batch_schedule", "[64,0]lin[128,5]", "batch sizes jump", 0),
    ],
)
def test_a_bad_text_is_an_error_with_a_caret_under_the_fault(name, text, rule, at):
    with pytest.raises(RecipeError) as caught:
        Recipe(**{name: text})
    first, shown, caret = str(caught.value).split("\n")
    assert first.startswith(f"--{name}: {rule}")
    assert shown == "  " + text
    assert caret == "  " + " " * at + "^"


@pytest.mark.parametrize(
    ("name", "value", "rule", "caret_under"),
    [
        ("no_decay", "bias;bn", "expected ',' between groups, found ';'", ";bn"),
        ("lr_factors", "head:0.5,bn", "expected ':' between a group and its factor", ""),
        ("wd_factors", "bn:2e6", "a factor must be at most 1e+06, received 2e6", "2e6"),
        ("freeze_after", "bn", "expected ':' between a group and its number of epochs", ""),
        ("freeze_after", "bn:x", "expected a number of epochs, a number such as", "x"),
        ("lr_factors", "head:-1", "a factor must be finite and at least 0, received -1", "-1"),
    ],
)
def test_a_bad_text_of_groups_is_an_error_with_a_caret_under_the_fault(
    name, value, rule, caret_under
):
    with pytest.raises(RecipeError) as caught:
        Recipe(**{name: value})
    first, text, caret = str(caught.value).split("\n")
    assert first.startswith(f"--{name}: {rule}")
    assert text == "  " + value
    assert text[caret.index("^") :] == caret_under


@pytest.mark.parametrize("schedule", ["", "type3", "[8e-4,5]lin[1e-3,5]", "-1", 0.001, "1\n2"])
def test_a_schedule_that_is_none_names_its_flag(schedule):
    with pytest.raises(RecipeError, match=r"^--schedule"):
        Recipe(schedule=schedule)


@pytest.mark.parametrize("name", ["digits", "cifar10_1", "cifar10:3.0.2", "emnist/letters"])
def test_datasets_are_named_as_tfds_names_them(name):
    assert Recipe(dataset=name).dataset == name


def test_a_whole_number_is_a_number():
    recipe = Recipe(wd=1, threshold=1, l2=0)
    assert [type(x) for x in (recipe.wd, recipe.threshold, recipe.l2)] == [float] * 3
    assert recipe.digest == Recipe(wd=1.0, l2=0.0).digest


@pytest.mark.parametrize(
    ("alias", "precision"),
    [("float32", "fp32"), ("mixed_bfloat16", "bf16"), ("mixed_float16", "fp16")],
)
def test_keras_names_of_precisions_are_aliases(alias, precision):
    assert _recipe(f"--precision={alias}").precision == precision
    text = f"--native=auto\n--precision={alias}\n"
    assert Recipe.from_flagfile(text) == Recipe(precision=precision)


def test_auto_has_no_identity_before_it_is_made_out():
    recipe = _recipe("--precision=auto")
    with pytest.raises(RecipeError, match=r"^--precision=auto: must be made out first"):
        recipe.digest  # noqa: B018
    assert recipe.replace(precision="bf16").digest == Recipe(precision="bf16").digest
    assert Recipe.from_flagfile(recipe.flagfile()) == recipe


def test_a_recipe_cannot_be_changed_but_replaced_and_is_checked_anew():
    recipe = Recipe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3
    assert recipe.replace(epochs=3).epochs == 3
    assert recipe.epochs == 25
    with pytest.raises(RecipeError, match="--epochs=0"):
        recipe.replace(epochs=0)


# --- digest -----------------------------------------------------------------------------------

_OTHER_VALUES = {
    "run_dir": "elsewhere",
    "dataset": "digits",
    "data_dir": "elsewhere",
    "val_split": "merged",
    "train_examples": 1000,
    "batch_size": 128,
    "epochs": 26,
    "steps": 5,
    "seed": 1,
    "model": "resnet_v2([6,6,7])",
    "input": "standardize",
    "augment": "flip",
    "schedule": "type2",
    "schedule_per": "epoch",
    "batch_schedule": "[64,0]const[128,5]",
    "micro_batch": 32,
    "scale_lr_from": 32,
    "optimizer": "sgdw",
    "wd": 0.2,
    "decoupled": False,
    "no_decay": "bias",
    "lr_factors": "bias:2",
    "wd_factors": "bias:2",
    "freeze_after": "bias:2",
    "clip": "norm(1)",
    "l2": 1e-4,
    "loss": "cross_entropy(smoothing=0.1)",
    "average": "ema(0.99)",
    "precision": "bf16",
    "xla": "off",
    "native": "off",
    "bf16_winograd": True,
    "replicas": 2,
    "steps_per_execution": 8,
    "data_on": "device",
    "checkpoint_every": 5,
    "validate_every": 5,
    "keep_checkpoints": 3,
    "export": False,
    "threshold": 0.93,
}


# What a value above needs beside it.
_BESIDE = {"decoupled": {"optimizer": "rmsprop"}, "bf16_winograd": {"precision": "bf16"}}


def test_every_setting_with_a_choice_has_another_value_above():
    assert set(_OTHER_VALUES) == set(settings())


def test_the_digest_is_16_hex_digits_and_the_same_for_equal_recipes():
    assert re.fullmatch("[0-9a-f]{16}", Recipe().digest)
    assert Recipe().digest == Recipe(seed=0, wd=0.19).digest


def test_every_setting_that_shapes_the_weights_changes_the_digest():
    digests = {
        name: Recipe(**{name: value}, **_BESIDE.get(name, {})).digest
        for name, value in _OTHER_VALUES.items()
        if name not in _NO_IDENTITY
    }
    digests["nothing"] = Recipe().digest
    digests["beside decoupled"] = Recipe(**_BESIDE["decoupled"]).digest
    # What stands beside the other is a value above.
    assert Recipe(**_BESIDE["bf16_winograd"]).digest == digests["precision"]
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize("name", sorted(_NO_IDENTITY))
def test_settings_that_leave_the_weights_alone_do_not_change_the_digest(name):
    changed = Recipe(**{name: _OTHER_VALUES[name]})
    assert changed != Recipe()
    assert changed.digest == Recipe().digest


def test_the_identity_is_every_setting_on_which_the_weights_depend():
    assert set(Recipe().identity()) == set(settings()) - _NO_IDENTITY


def test_a_named_schedule_and_its_text_have_the_same_digest():
    spelled = "[8.e-4, 0]lin[1.e-3, 5]lin[1.e-3, 12]cos[1.e-5, 20]lin[6.e-6, 26]"
    assert Recipe(schedule="type1").digest == Recipe(schedule=spelled).digest == Recipe().digest
    assert Recipe(schedule="type1").digest != Recipe(schedule="type2").digest


def test_texts_of_groups_have_one_digest_however_they_are_written():
    plain = Recipe(no_decay="bias,bn", lr_factors="bn_bias:64,head:0.5")
    assert Recipe(no_decay="bn, bias", lr_factors=" bn_bias:64.0, head:5e-1").digest == plain.digest
    # Of several factors the last one counts.
    assert Recipe(no_decay="bias,bn", lr_factors="head:0.5,bn_bias:64").digest != plain.digest


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("model", "resnet_v2(shortcut=3)", "resnet_v2([6,6,6], shortcut=[3,3,3])"),
        ("model", "airbench", "airbench(identity_init=true)"),
        ("input", "center(pixel)", "center"),
        ("augment", "shift(0.07) flip", "shift(7e-2)  flip(random)"),
        ("optimizer", "muon", "muon(0.6, nesterov, rest=sgd(0.6, nesterov=true))"),
        ("optimizer", "sgd(0.9)", "sgd([0.9,0])"),
        ("loss", "cross_entropy(0)", "cross_entropy"),
    ],
)
def test_a_text_has_one_digest_however_it_is_written(name, one, other):
    assert Recipe(**{name: one}).digest == Recipe(**{name: other}).digest


def test_zero_has_one_digest_whatever_its_sign():
    assert Recipe(wd=-0.0) == Recipe(wd=0.0)
    assert Recipe(wd=-0.0).digest == Recipe(wd=0.0).digest


def test_differences_name_each_field_of_identity_with_both_values():
    mine = Recipe(wd=0.25, threshold=0.93, model="resnet_v2([2,2,2])")
    theirs = Recipe(schedule="0.001", export=False)
    assert mine.differences(theirs) == [
        "model: resnet_v2([2,2,2]), resnet_v2",
        "schedule: [8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26], [1e-3,0]",
        "wd: 0.25, 0.19",
    ]


def test_recipes_that_differ_only_in_what_is_kept_have_no_differences():
    changes = {name: _OTHER_VALUES[name] for name in _NO_IDENTITY}
    assert Recipe(schedule="type1").differences(Recipe(**changes)) == []


# --- flagfile ---------------------------------------------------------------------------------


def test_the_flagfile_holds_every_setting_but_the_run_directory():
    lines = Recipe(run_dir="runs/a", wd=0.25, export=False).flagfile().splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        f"--{name}" for name in settings() if name != "run_dir"
    ]
    assert {"--wd=0.25", "--export=false", "--model=resnet_v2"} <= set(lines)


def test_blank_lines_and_comments_in_a_flagfile_are_skipped():
    text = "# Replay\n\n  --epochs=3  \n// absl's other comment\n"
    assert Recipe.from_flagfile(text) == Recipe(epochs=3, native="off")


@pytest.mark.parametrize("line", ["epochs=3", "--epochs", "-epochs=3", "--epochs 3", "three"])
def test_a_flagfile_line_of_another_form_is_an_error_that_shows_it(line):
    with pytest.raises(RecipeError, match=rf"recipe line 2: {line}: must be --name=value"):
        Recipe.from_flagfile(f"--wd=0.2\n{line}\n")


def test_a_recipe_of_a_newer_version_is_an_error_that_names_line_setting_and_version(fault):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_flagfile("# Replay\n--wd=0.2\n--warmup=3\n")
    assert str(caught.value) == (
        f"recipe line 3: --warmup=3: this version of tfsc ({__version__}) has no setting named "
        "warmup; the recipe may be of a newer version"
    )
    fault("bad input", "recipe.flags of a newer version's run", f"refused: {caught.value}")


@pytest.mark.parametrize(
    "line", ["--" + "x" * 100_000, "--wd=" + "9" * 100_000, "\x1b[2J=", "--x\udcff=1", "--\x07=1"]
)
def test_an_odd_line_in_a_flagfile_is_an_error_of_one_short_line(line):
    with pytest.raises(RecipeError, match=r"^recipe line 1: ") as caught:
        Recipe.from_flagfile(line)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("dataset", ["x" * 100_000 + "!", "/" * 100_000])
def test_a_long_value_is_shortened_in_an_error(dataset):
    with pytest.raises(RecipeError, match=r"^--dataset=") as caught:
        Recipe(dataset=dataset)
    assert len(str(caught.value)) <= 400


_ONE_LINE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "))


_TEXTS = {
    "model": ["resnet_v2([1,2], shortcut=1)", "wide_resnet(width=2)", "airbench", "caffe_cifar10"],
    "input": ["none", "center", "standardize(pixel) scale(255) whiten(100)"],
    "augment": ["none", "crop(2) flip(alternating)", "flip  shift(.5)"],
    "optimizer": [
        "adamw(beta_2=.99)",
        "adam",
        "adamwr",
        "muon(0.6,rest=sgd(0.85,nesterov))",
        "lookahead(sgd([0.95,0]lin[0.85,5]), alpha=1)",
        "lion",
        "sgdw(0.9)",
    ],
    "clip": ["none", "norm(1)", "global_norm(2)", "value(.5)"],
    "loss": ["cross_entropy", "cross_entropy( 0.2 )"],
    "average": ["none", "ema(0.99)", "ema(0.9, power=1)", "lookahead(0.774,every=5,power=3)"],
}


def _values(name, setting):
    if name == "dataset":
        return st.from_regex(r"\A[A-Za-z0-9_]+([-./:]?[a-z0-9]+)*\Z")
    if name == "schedule":
        return st.sampled_from(
            [*NAMED, "0.1", "[1,0] const [0.5, 2.5]", "warmup(2) -> cyclic(.1,3,50s)"]
        )
    if name in _TEXTS:
        return st.sampled_from(_TEXTS[name])
    if name == "batch_schedule":
        return st.sampled_from(["", "[64,0] const [128,3]"])
    if name == "micro_batch":
        return st.sampled_from([0, 1, 32])
    if name == "no_decay":
        return st.sampled_from(["", "bias", "bn, bias", "stem_conv/kernel,head"])
    if name in ("lr_factors", "wd_factors", "freeze_after"):
        return st.sampled_from(["", "bias:0.5", "head : 1e-3, bn_bias:64"])
    if name == "replicas":
        return st.sampled_from([1, 2, 64])
    if setting.choices:
        return st.sampled_from(setting.choices)
    return {
        bool: st.booleans(),
        int: st.integers(setting.low, setting.high),
        float: st.floats(setting.low, setting.high),
        str: _ONE_LINE.map(str.strip),
    }[setting.kind]


@st.composite
def _recipes(draw):
    values = draw(
        st.fixed_dictionaries(
            {}, optional={name: _values(name, setting) for name, setting in settings().items()}
        )
    )
    _fit_the_optimizer(values)
    if values.get("replicas", 1) > 1:
        values |= {"batch_size": 64, "xla": "off", "precision": "bf16", "steps_per_execution": 1}
        values |= {"data_on": "host", "batch_schedule": "", "micro_batch": 0}
        values |= {"clip": "none", "average": "none"}
    if values.get("native") == "on":
        values |= {"precision": "bf16", "xla": "off", "replicas": 1}
    if values.get("bf16_winograd"):
        values["precision"] = "auto" if values.get("precision") == "auto" else "bf16"
        values["native"] = "auto" if values.get("native") == "off" else values.get("native", "auto")
    if values.get("batch_schedule") or values.get("micro_batch"):
        values["batch_size"] = 64
    return Recipe(**values)


def _fit_the_optimizer(values):
    """Give the optimizer what it needs."""
    optimizer = values.get("optimizer", "adamw").partition("(")[0]
    if optimizer in ("adamw", "adamwr", "sgdw", "lion", "muon"):
        values.pop("decoupled", None)
    if optimizer == "adamwr":
        values |= {"schedule": "warm_restarts(0.1, 5)", "batch_schedule": ""}
    if optimizer == "adam" and values.get("decoupled", True):
        values["wd"] = 0.0


def _far_from_the_defaults():
    """Few recipes that have among them every value above, as many together as may be."""
    together = []
    for name, value in _OTHER_VALUES.items():
        own = {**_BESIDE.get(name, {}), name: value}
        for values in together:
            # What one setting needs beside it is not what another has.
            if all(values.get(key, wanted) == wanted for key, wanted in own.items()):
                try:
                    Recipe(**values | own)
                except RecipeError:
                    continue
                values |= own
                break
        else:
            together.append(own)
    return [Recipe(**values) for values in together]


def test_every_other_value_is_in_a_flagfile_for_us_and_for_absl():
    recipes = _far_from_the_defaults()
    for name, value in _OTHER_VALUES.items():
        plain = Recipe(**_BESIDE.get(name, {}), **{name: value})
        assert any(getattr(recipe, name) == getattr(plain, name) for recipe in recipes), name
    for recipe in recipes:
        again = Recipe.from_flagfile(recipe.flagfile())
        assert again == _recipe(*recipe.flagfile().splitlines()) == recipe.replace(run_dir="")


@_FEW
@given(_recipes())
def test_a_flagfile_reads_back_as_the_recipe_that_wrote_it(recipe):
    again = Recipe.from_flagfile(recipe.flagfile())
    assert again == recipe.replace(run_dir="")
    if recipe.precision != "auto":
        assert again.digest == recipe.digest


@_FEW
@given(_recipes())
def test_absl_reads_a_flagfile_as_the_recipe_that_wrote_it(recipe):
    assert _recipe(*recipe.flagfile().splitlines()) == recipe.replace(run_dir="")


def test_absl_reads_a_flagfile_from_disk(tmp_path):
    recipe = Recipe(
        data_dir="my data/#1",
        schedule="[8.e-4, 0]lin[1.0e-3, 5]",
        model="resnet_v2([2,3], shortcut=[1, 3])",
        augment="none",
    )
    path = tmp_path / "recipe.flags"
    path.write_text("# A comment\n" + recipe.flagfile())
    assert _recipe(f"--flagfile={path}") == recipe


# --- flags ------------------------------------------------------------------------------------


def test_flags_have_the_defaults_of_the_recipe():
    assert _recipe() == Recipe()


def test_a_command_can_define_some_flags_and_tell_which_were_typed():
    values = _flags("--seed=3", names=("seed", "dataset"), unset=True)
    assert (values.seed, values.dataset) == (3, None)
    assert "wd" not in values


def test_a_flag_that_code_has_set_is_checked_too():
    values = _flags()
    values.epochs = 0  # absl itself does not check an assignment
    with pytest.raises(RecipeError, match="--epochs=0: must be a whole number from 1 to 100000"):
        Recipe.from_flags(values)


_PLAUSIBLE = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e3",
        "nan",
        "true",
        "6,6",
        "sgd(0.9)",
        "none",
        "fp16",
        "adam",
        "type2",
        "1_0",
        "٣",
        "²",
    ]
)


@_FUZZ
@given(st.sampled_from(sorted(settings())), st.text() | _PLAUSIBLE)
def test_any_text_for_any_flag_is_a_recipe_that_replays_or_a_foreseen_error(name, text):
    try:
        recipe = _recipe(f"--{name}={text}")
    except (flags.Error, RecipeError) as error:
        assert name in str(error)
        return
    assert Recipe.from_flagfile(recipe.flagfile()) == recipe.replace(run_dir="")
    assert _recipe(*recipe.flagfile().splitlines()).digest == recipe.digest
