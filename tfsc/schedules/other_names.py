"""What schedules and their parameters are called elsewhere, and how to say it here.

For errors: whoever brings a word of torch.optim.lr_scheduler, keras.optimizers.schedules, timm,
transformers or fastai is told ours. Without TensorFlow, like `tfsc.schedules.parser`.

A hint is one of

    low                     our name of the parameter
    start=max/25            how to write it
    warmup(5) → cosine(…)   a schedule; … stands for arguments
    --optimizer='…'         a flag beside --schedule
    no …                    why there is none

and the words behind it in the tables below are those that it answers. Capitals and _ make no
difference.
"""

_SCHEDULES = {
    "cosine(0.1, to=0)": "CosineAnnealingLR CosineAnnealing CosineLRScheduler CosineLR CosineDecay "
    "CosineScheduler cos_annealing",
    "one_cycle(0.1)": "OneCycleLR OneCycleScheduler OneCyclePolicy fit_one_cycle",
    "warm_restarts(0.1, period=10, mult=2)": "CosineAnnealingWarmRestarts CosineDecayRestarts SGDR "
    "fit_sgdr CosineWithRestarts cosine_with_hard_restarts cosine_restarts restarts",
    "cyclic(0.1, 3, half_cycle=5000)": "CyclicLR CLR CyclicalLearningRate exp_range triangular "
    "triangular2 TriangularCyclicalLearningRate",
    "multistep(0.1, [40,80,120], gamma=0.1)": "MultiStepLR MultiStepLRScheduler StepLR step "
    "StepLRScheduler MultiFactorScheduler step_decay",
    "[0.1,0]const[0.01,40]const[0.001,80]": "PiecewiseConstantDecay piecewise piecewise_constant",
    "exponential(0.1, gamma=0.95)": "ExponentialLR ExponentialDecay exp exp_decay",
    "polynomial(0.1, power=2)": "PolynomialLR PolynomialDecay PolyLRScheduler poly poly_decay",
    "[0.01,0]lin[0.1,5]": "LinearLR",
    "[0.1,0]lin[0,100%]": "linear linear_decay lin",
    "warmup(5, constant) → cosine(0.1)": "ConstantLR",
    "[0,0]lin[0.1,5%]lin[0.1,80%]lin[0,100%]": "wsd WarmupStableDecay trapezoid "
    "trapezoidal warmup_stable_decay get_wsd_schedule",
    "warmup(5) → 0.1": "constant_with_warmup get_constant_schedule_with_warmup",
    "warmup(5) → cosine(0.1)": "LinearWarmup GradualWarmupScheduler WarmupCosine "
    "cosine_with_warmup cosine_schedule_with_warmup get_cosine_schedule_with_warmup",
    "warmup(5) → [0.1,0]lin[0,100%]": "linear_schedule_with_warmup get_linear_schedule_with_warmup",
    "cosine(0.1, length=10) → cosine(0.05)": "SequentialLR ChainedScheduler",
    "0.1": "constant const",
    "[0.1,0]exp[0.01,10]lin[0,25]": "LambdaLR MultiplicativeLR LearningRateScheduler",
    "[0.1,0]half[0,25]": "TanhLRScheduler tanh",
    "no schedule follows the validation loss": "ReduceLROnPlateau PlateauLRScheduler plateau",
    "no schedule falls by the inverse of time; a polynomial or segments come near it": (
        "InverseTimeDecay InverseSquareRoot inverse_sqrt NoamLR noam"
    ),
}

# What several families have, by the same words; {} is the family. Lengths are counted in epochs or
# in steps, as what has the word elsewhere counts.
_RATE = {"rate": "lr learning_rate initial_lr initial_learning_rate base_lr max_lr lr_max"}
_TO = {
    "to": "eta_min lr_min min_lr end_lr final_lr end_learning_rate lr_end",
    "to=rate/100": "alpha",
}
_LENGTH = {
    "length=25e": "T_max t_initial epochs num_epochs duration total_iters",
    "length=5000s": "decay_steps total_steps max_steps steps num_training_steps max_iter",
}
_WARMUP = {
    "warmup(5) → {}(…)": "warmup_t warmup_epochs warmup warmup_prefix warmup_target",
    "warmup(500s) → {}(…)": "warmup_steps num_warmup_steps warmup_iters",
    "warmup(5%) → {}(…)": "warmup_ratio",
    "warmup(5, start=0.1) → {}(…)": "warmup_lr_init warmup_lr warmup_start_lr warmup_init_lr "
    "warmup_factor",
}
_MOMENTUM = {
    "--optimizer='sgd(inverse(0.95, 0.85))'": "cycle_momentum base_momentum max_momentum moms",
}
_OF_ALL = {
    "no schedule needs it: a run that is resumed knows its step": "last_epoch",
    "no schedule needs it: 5e are epochs, 500s steps, 5% a part of the run": (
        "steps_per_epoch t_in_epochs convert_to_epochs"
    ),
    "no schedule prints; python -m tfsc.schedules shows it": "verbose",
    "--schedule_per=epoch": "staircase",
}
_ONE_AFTER_THE_OTHER = "{}(0.1, length=10) → {}(0.05)"

_PARAMETERS = {
    "cyclic": {
        "low": "base_lr min_lr lr_min initial_lr initial_learning_rate",
        "high": "max_lr lr_max maximal_learning_rate",
        "half_cycle": "step_size_up step_size_down step_size stepsize",
        "policy": "mode scale_fn",
        "cycles": "cycle_limit",
        **_WARMUP,
        **_MOMENTUM,
    },
    "one_cycle": {
        "max": "max_lr lr_max lr learning_rate rate peak_lr",
        "start": "base_lr initial_lr initial_learning_rate",
        "end": "eta_min lr_min min_lr end_lr final_lr end_learning_rate lr_end",
        "peak": "pct_start",
        "start=max/25": "div_factor div",
        "end=start/1e4": "final_div_factor final_div div_final",
        "phases=3": "three_phase",
        "anneal": "anneal_strategy annealing",
        **_LENGTH,
        **_WARMUP,
        **_MOMENTUM,
    },
    "warm_restarts": {
        **_RATE,
        **_TO,
        "period": "T_0 t_initial cycle_length",
        "period=1000s": "first_decay_steps",
        "mult": "T_mult t_mul cycle_mul",
        "cosine(0.1, length=10) → cosine(0.05)": "m_mul cycle_decay gamma decay_rate",
        "no restarts end before the run": "cycle_limit",
        **_WARMUP,
    },
    "multistep": {
        **_RATE,
        "milestones": "decay_t decay_epochs lr_steps steps",
        "milestones=[5000s,8000s]": "boundaries",
        "milestones=[30,60,90]": "step_size decay_steps",
        "gamma": "decay_rate factor lr_decay",
        "[0.1,0]const[0.05,40]const[0.01,80]": "values",
        **_WARMUP,
    },
    "cosine": {
        **_RATE,
        **_TO,
        **_LENGTH,
        "warm_restarts(0.1, period=10, mult=2)": "T_0 T_mult t_mul cycle_mul first_decay_steps",
        _ONE_AFTER_THE_OTHER: "cycle_limit cycle_decay m_mul",
        **_WARMUP,
    },
    "exponential": {
        **_RATE,
        "every=1000s": "decay_steps",
        "every": "decay_t step_size",
        "gamma": "decay_rate factor",
        "length=25e": "T_max epochs num_epochs",
        "length=5000s": "total_steps max_steps steps",
        **_WARMUP,
    },
    "polynomial": {
        **_RATE,
        **_TO,
        **_LENGTH,
        _ONE_AFTER_THE_OTHER: "cycle cycle_limit cycle_decay",
        **_WARMUP,
    },
    "warmup": {
        "length": "warmup_t warmup_epochs epochs num_epochs total_iters warmup warmup_prefix",
        "length=500s": "warmup_steps num_warmup_steps warmup_iters steps warmup_period",
        "length=5%": "warmup_ratio",
        "start": "start_factor warmup_factor factor initial_factor",
        "start=0.1": "warmup_lr_init warmup_lr warmup_start_lr warmup_init_lr",
        "policy": "mode warmup_strategy warmup_mode",
        "warmup(5) → 0.1": "warmup_target lr learning_rate base_lr max_lr initial_learning_rate",
    },
}

# Shapes of segments.
_SHAPES = {
    "lin": "linear line",
    "half": "cosine half_cosine",
    "cos": "quarter_cosine",
    "exp": "exponential geometric",
    "const": "constant hold step",
}


def _key(word: str) -> str:
    return word.replace("_", "").lower()


def _by_word(table: dict[str, str], family: str = "") -> dict[str, str]:
    return {
        _key(word): hint.replace("{}", family)
        for hint, words in table.items()
        for word in words.split()
    }


SCHEDULES = _by_word(_SCHEDULES)
PARAMETERS = {family: _by_word(_OF_ALL | table, family) for family, table in _PARAMETERS.items()}
SHAPES = _by_word(_SHAPES)


def schedule_hint(word: str, ours: tuple[str, ...]) -> str:
    """How a schedule called so elsewhere is written here, to go behind an error; empty if unknown.

    Args:
        word: as received.
        ours: names of this package, of which `word` may be another spelling.
    """
    for name in ours:
        if _key(word) == _key(name):
            return f"; here it is called {name}"
    return _behind(SCHEDULES.get(_key(word)))


def parameter_hint(word: str, family: str, ours: tuple[str, ...]) -> str:
    """How a parameter called so elsewhere is called in a family of ours, likewise."""
    for name in ours:
        if _key(word) == _key(name):
            return f"; here it is called {name}"
    return _behind(PARAMETERS[family].get(_key(word)))


def shape_hint(word: str) -> str:
    """How a shape called so elsewhere is called in segments, likewise."""
    return _behind(SHAPES.get(_key(word)))


def _behind(hint: str | None) -> str:
    if hint is None:
        return ""
    if hint.isidentifier():
        return f"; here it is called {hint}"
    return f"; {hint}" if hint.startswith("no ") else f"; write {hint}"
