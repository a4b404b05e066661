"""Words of torch, Keras, timm, transformers and fastai: each is answered with what works here."""

import re

import pytest

from tfsc.optimizers.catalog import OPTIMIZERS
from tfsc.schedules import other_names
from tfsc.schedules.catalog import FAMILIES
from tfsc.schedules.momentum_and_batch_size import parse_momentum
from tfsc.schedules.parser import NAMED, ScheduleSyntaxError, parse

# The least that each family is called with.
_LEAST = {
    "cyclic": "0.1,3,50",
    "one_cycle": "0.1",
    "warm_restarts": "0.1,50",
    "multistep": "0.1,[40]",
    "cosine": "0.1",
    "exponential": "0.1",
    "polynomial": "0.1",
    "warmup": "5",
}


def _rule(text):
    with pytest.raises(ScheduleSyntaxError) as caught:
        parse(text)
    return caught.value.rule


def _assert_it_works(family, hint):
    """The hint says something that the language takes."""
    if hint.startswith("no "):
        return
    if hint.isidentifier():
        assert hint in FAMILIES[family].parameters
    elif hint.startswith("--optimizer="):
        momentum = OPTIMIZERS.parse(hint.split("'")[1])["momentum"]
        parse_momentum(str(momentum), parse(f"{family}({_LEAST[family]})"))
    elif hint.startswith("--"):
        assert hint == "--schedule_per=epoch"
    elif match := re.fullmatch(r"(\w+)=.*", hint):
        # By name, which a positional argument before it must not have given.
        names = list(FAMILIES[family].parameters)
        least = _LEAST[family].split(",")[: names.index(match[1])]
        call = parse(f"{family}({','.join([*least, hint])}){' → 1' * (family == 'warmup')}")
        assert call
    else:
        parse(re.sub(r"(\w+)\(…\)", lambda call: f"{call[1]}({_LEAST[call[1]]})", hint))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_the_table_is_answered_with_what_works(family):
    assert len(other_names.PARAMETERS[family]) > 15
    for word, hint in other_names.PARAMETERS[family].items():
        _assert_it_works(family, hint)
        assert word not in FAMILIES[family].parameters
        rule = _rule(f"{family}({word}=1)")
        assert rule.startswith(f"{family} has no parameter {word!r}; ")
        assert rule.endswith(hint)


def test_every_schedule_of_the_table_is_answered_with_one_that_parses():
    assert len(other_names.SCHEDULES) > 50
    for word, hint in other_names.SCHEDULES.items():
        rule = _rule(f"{word}(0.1)")
        assert rule.startswith(f"no schedule is named {word!r}; ")
        assert rule.endswith(hint)
        if not hint.startswith("no "):
            assert word not in (*FAMILIES, *NAMED)
            assert parse(hint)


def test_every_shape_of_the_table_is_answered_with_one_of_ours():
    for word, shape in other_names.SHAPES.items():
        assert _rule(f"[1,0]{word}[0,5]").endswith(f"; here it is called {shape}")
        assert parse(f"[1,0]{shape}[0.1,5]")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cyclic(0.1, max_lr=3)", "cyclic has no parameter 'max_lr'; here it is called high"),
        ("one_cycle(max_lr=3)", "one_cycle has no parameter 'max_lr'; here it is called max"),
        ("one_cycle(3, pct_start=1)", "no parameter 'pct_start'; here it is called peak"),
        ("one_cycle(3, div_factor=10)", "no parameter 'div_factor'; write start=max/25"),
        ("warm_restarts(1, T_0=5)", "no parameter 'T_0'; here it is called period"),
        ("warm_restarts(1, 5, T_mult=2)", "no parameter 'T_mult'; here it is called mult"),
        ("cosine(1, eta_min=0)", "no parameter 'eta_min'; here it is called to"),
        ("cosine(1, warmup_t=5)", "no parameter 'warmup_t'; write warmup(5) → cosine(…)"),
        ("multistep(1, step_size=30)", "no parameter 'step_size'; write milestones=[30,60,90]"),
        ("exponential(1, decay_steps=9)", "no parameter 'decay_steps'; write every=1000s"),
        ("polynomial(1, decay_steps=9)", "no parameter 'decay_steps'; write length=5000s"),
        ("cosine(1, Rate=3)", "cosine has no parameter 'Rate'; here it is called rate"),
        ("cosine(1, speed=3)", "cosine has no parameter 'speed'; it has: rate, to, length"),
        ("OneCycleLR(0.1)", "no schedule is named 'OneCycleLR'; write one_cycle(0.1)"),
        ("onecycle(0.1)", "no schedule is named 'onecycle'; here it is called one_cycle"),
        ("Type1", "no schedule is named 'Type1'; here it is called type1"),
        ("ReduceLROnPlateau", "'ReduceLROnPlateau'; no schedule follows the validation loss"),
    ],
)
def test_words_as_people_bring_them(text, rule):
    assert _rule(text).endswith(rule)


# The parameters of their classes that are about rates or time.
@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("cyclic", "base_lr max_lr step_size_up step_size_down mode scale_fn cycle_momentum"),
        ("cyclic", "base_momentum max_momentum last_epoch"),
        ("one_cycle", "max_lr total_steps epochs steps_per_epoch pct_start anneal_strategy"),
        ("one_cycle", "cycle_momentum div_factor final_div_factor three_phase last_epoch"),
        ("warm_restarts", "T_0 T_mult eta_min last_epoch"),
        ("warm_restarts", "initial_learning_rate first_decay_steps t_mul m_mul alpha"),
        ("multistep", "step_size last_epoch boundaries values decay_t decay_rate"),
        ("cosine", "T_max eta_min initial_learning_rate decay_steps alpha warmup_target"),
        ("cosine", "warmup_steps t_initial lr_min cycle_mul cycle_decay cycle_limit warmup_t"),
        ("cosine", "warmup_lr_init warmup_prefix t_in_epochs"),
        ("exponential", "initial_learning_rate decay_steps decay_rate staircase"),
        ("polynomial", "initial_learning_rate decay_steps end_learning_rate cycle total_iters"),
        ("warmup", "factor total_iters start_factor warmup_steps warmup_t"),
    ],
)
def test_the_parameters_of_torch_keras_and_timm_have_an_answer(family, words):
    for word in words.split():
        assert "; it has: " not in _rule(f"{family}({word}=1)"), word
