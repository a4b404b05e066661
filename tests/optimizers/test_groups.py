"""Groups of variables: which belong to them, and how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsc.optimizers import groups

PATHS = ["stem_conv/kernel", "stem_conv/bias", "stem_bn/gamma", "stem_bn/beta", "logits/kernel"]


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("bias", [1]),
        ("bn", [2, 3]),
        ("bn_scale", [2]),
        ("bn_bias", [3]),
        ("kernel", [0, 4]),
        ("head", [4]),
        ("stem", [0, 1, 2, 3]),
        ("stem_conv/kernel", [0]),
        ("gits/k", [4]),
        ("stem_dense", []),
    ],
)
def test_a_variable_belongs_to_a_group_by_its_path(group, members):
    assert [k for k, path in enumerate(PATHS) if groups.matches(group, path)] == members


def test_a_layer_called_bias_is_not_one():
    assert not groups.matches("bias", "bias_net/kernel")
    assert not groups.matches("head", "my_logits2/kernel")


def test_the_last_factor_that_holds_a_variable_counts():
    several = groups.VariableGroups(("bias",), (("stem", 2.0), ("kernel", 3.0), ("stem_bn", 4.0)))
    assert [several.factor(path) for path in PATHS] == [3, 2, 4, 4, 3]
    assert several.assign(PATHS) == groups.Assignment(
        (3, 2, 4), (0, 1, 2, 2, 0), (True, False, True, True, True)
    )


def test_decays_are_factors_and_none_counts_most():
    several = groups.VariableGroups(("bias",), (), (("stem", 2.0), ("kernel", 0.0)))
    assert several.assign(PATHS).decays == (0, 0, 2, 2, 0)


def test_some_variables_freeze():
    several = groups.VariableGroups(freeze_after=(("stem", 7), ("bn", 0)))
    assert several.assign(PATHS).freezes == (7, 7, 0, 0, None)
    assert groups.VariableGroups().assign(PATHS).freezes == ()


@pytest.mark.parametrize("updates", [-1, 1.5])
def test_updates_before_freezing_are_whole_numbers(updates):
    with pytest.raises(ValueError, match=f"freeze_after must be .* Received: bias: {updates}"):
        groups.VariableGroups(freeze_after=(("bias", updates),))


@pytest.mark.parametrize(
    ("argument", "given_groups"),
    [
        ("wd_factors", groups.VariableGroups(wd_factors=(("sten", 2.0),))),
        ("freeze_after", groups.VariableGroups(freeze_after=(("sten", 2),))),
        ("no_decay", groups.VariableGroups(("bias", "sten"))),
        ("lr_factors", groups.VariableGroups(("bias",), (("bn", 2.0), ("sten", 2.0)))),
    ],
)
def test_a_group_without_variables_is_an_error_that_shows_some(argument, given_groups):
    with pytest.raises(groups.UnknownGroupError) as caught:
        given_groups.check(PATHS)
    assert str(caught.value).startswith(f"{argument} must name groups of the network's variables:")
    assert "stem_conv/kernel" in str(caught.value)
    assert str(caught.value).endswith("Received: 'sten'")


def test_of_a_large_network_a_few_paths_are_shown():
    with pytest.raises(groups.UnknownGroupError) as caught:
        groups.VariableGroups(("x",)).check([f"conv{k}/kernel" for k in range(500)])
    assert str(caught.value).count("conv") == 6
    assert "conv0/" in str(caught.value)
    assert "conv499/" in str(caught.value)


@pytest.mark.parametrize(
    "bad", [{"no_decay": (3,)}, {"no_decay": ("",)}, {"lr_factors": ((1, 2),)}]
)
def test_a_group_is_a_text(bad):
    with pytest.raises(ValueError, match=r"must be a text\. Received"):
        groups.VariableGroups(**bad)


@pytest.mark.parametrize("factor", [-1.0, float("nan"), 1e7])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(ValueError, match="lr_factors must be from 0 to 1e"):
        groups.VariableGroups((), (("bias", factor),))


def test_texts_are_read_with_blanks_and_written_without():
    assert groups.parse_names(" bn ,bias") == ("bn", "bias")
    assert groups.names_text(("bn", "bias")) == "bias,bn"
    factors = groups.parse_factors("bn_bias : 64, stem_conv/kernel:5e-1")
    assert list(factors.items()) == [("bn_bias", 64.0), ("stem_conv/kernel", 0.5)]
    assert groups.factors_text(factors) == "bn_bias:64,stem_conv/kernel:0.5"
    assert groups.parse_names(" ") == ()
    assert groups.parse_factors("") == {}


@pytest.mark.parametrize(
    ("parse", "text", "rule", "caret_under"),
    [
        (groups.parse_names, "bias,,bn", "expected a group (bias, bn, ", ",bn"),
        (groups.parse_names, "bias,", "found the end of the text", ""),
        (groups.parse_names, "bias bn", "expected ',' between groups, found 'b'", "bn"),
        (groups.parse_names, "bn,bias,bn", "group 'bn' is given twice", "bn"),
        (groups.parse_names, "bn:2", "expected ',' between groups, found ':'", ":2"),
        (groups.parse_factors, "bn", "expected ':' between a group and its factor", ""),
        (groups.parse_factors, "bn:x", "expected a factor, a number such as 8.e-4", "x"),
        (groups.parse_factors, "bn:1e", "expected ',' between groups, found 'e'", "e"),
        (
            groups.parse_factors,
            "bn:1,head:-2",
            "a factor must be finite and at least 0, received -2",
            "-2",
        ),
        (groups.parse_factors, "bn:1 bias:2", "expected ',' between groups", "bias:2"),
    ],
)
def test_a_mistake_is_a_rule_the_text_and_a_caret(parse, text, rule, caret_under):
    with pytest.raises(groups.GroupSyntaxError) as caught:
        parse(text)
    first, shown, caret = str(caught.value).split("\n")
    assert rule in first
    assert shown == "  " + text
    assert shown[caret.index("^") :] == caret_under


@given(
    st.dictionaries(
        st.text("abz_/.-059", min_size=1), st.floats(0, groups.LARGEST_FACTOR), max_size=5
    )
)
def test_what_is_written_is_read_back(factors):
    assert list(groups.parse_factors(groups.factors_text(factors)).items()) == list(factors.items())
    assert set(groups.parse_names(groups.names_text(list(factors)))) == set(factors)


@given(st.text() | st.text("abn:,. -e1/"))
def test_any_text_is_read_or_refused_with_its_place(text):
    for parse in (groups.parse_names, groups.parse_factors):
        try:
            parse(text)
        except groups.GroupSyntaxError as error:
            assert 0 <= error.position <= len(text)
            assert len(str(error).split("\n")) == 3
