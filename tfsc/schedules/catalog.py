"""The families of schedules, each with its parameters; without TensorFlow.

`tfsc.schedules.parser` reads them, between segments and in chains; `tfsc.schedules.builder` has
their classes.
"""

from tfsc.schedules.duration import Duration
from tfsc.schedules.other_names import parameter_hint, schedule_hint
from tfsc.schedules.parameters import HIGHEST, Length, Lengths, Rate
from tfsc.schedules.parsed import WARMUP_START, Moving
from tfsc.text.family import Call, Catalog, Family
from tfsc.text.parameters import Number, Whole, Word

LEAST_MULT = 1.01  # of warm restarts that grow: a run may have only so many
CYCLIC_POLICIES = ("triangular", "triangular2", "exp_range", "sine", "welch")

# Schedules with a name of their own, usable as `--schedule=type2`.
NAMED = {
    # Seed 000, illustrations 1 and 2.
    "type1": "[8e-4,0]lin[1e-3,5]lin[1e-3,12]cos[1e-5,20]lin[6e-6,26]",
    "type2": "[8e-4,0]lin[1.5e-3,4]lin[1.5e-3,8]cos[1e-5,20]lin[7e-6,26]",
    # Atienza's lr_schedule has `epoch > 80`, 0-based: epoch 81 is the first one at 1e-4.
    "atienza": "[1e-3,0]const[1e-4,81]const[1e-5,121]const[1e-6,161]const[5e-7,181]",
}


def _of_cyclic(call: Call) -> str | None:
    if call["policy"] == "exp_range" and call["gamma"] is None:
        return "cyclic with policy=exp_range needs gamma, such as gamma=0.99994"
    if call["policy"] != "exp_range" and call["gamma"] is not None:
        return f"cyclic has gamma only with policy=exp_range, not {call['policy']}"
    return None


def _of_one_cycle(call: Call) -> str | None:
    highest = 0.5 if call["phases"] == 3 else 1.0
    if not 0 < call["peak"] < highest:
        return f"peak of one_cycle must be above 0 and below {highest:g} with its phases"
    return None


def _of_warm_restarts(call: Call) -> str | None:
    if 1 < call["mult"] < LEAST_MULT:
        return f"mult of warm_restarts must be 1 or at least {LEAST_MULT:g}"
    return None


def _of_multistep(call: Call) -> str | None:
    assert isinstance(call, Moving)  # what this catalog reads texts as
    return f"multistep goes above {HIGHEST:g}" if max(call.steps_down()) > HIGHEST else None


_TO = Rate(default=0.0)
_LENGTH = Length(optional=True, about="what is left of the run")
_RATE = Rate(default=1e-3)
_STARTS = ", ".join(f"{at:g} ({how})" for how, at in WARMUP_START.items())

FAMILIES: Catalog = Catalog(
    "a schedule",
    (
        Family(
            "cyclic",
            {
                "low": Rate(),
                "high": Rate(),
                "half_cycle": Length(unit="s"),
                "policy": Word(default="triangular", choices=CYCLIC_POLICIES),
                "gamma": Number(
                    above=True, high=1.0, optional=True, about="none; exp_range needs one"
                ),
                "cycles": Number(above=True, optional=True, about="no end"),
            },
            "Up from `low` to `high` and down again, once or again and again.",
            fault=_of_cyclic,
        ),
        Family(
            "one_cycle",
            {
                "max": Rate(),
                "start": Rate(share=("max", 25.0)),
                "end": Rate(share=("start", 1e4)),
                "length": _LENGTH,
                "peak": Number(default=0.3, high=1.0, percent=True),
                "phases": Whole(default=2, choices=(2, 3)),
                "anneal": Word(default="cosine", choices=("cosine", "linear")),
            },
            "One rise, one fall, and an end far below the start: super-convergence.",
            fault=_of_one_cycle,
        ),
        Family(
            "warm_restarts",
            {
                "rate": Rate(),
                "period": Length(),
                "mult": Number(default=1.0, low=1.0),
                "to": _TO,
            },
            "Cosines from `rate` to `to`, each beginning anew at `rate` (SGDR).",
            fault=_of_warm_restarts,
        ),
        Family(
            "multistep",
            {"rate": Rate(), "milestones": Lengths(), "gamma": Number(default=0.1, above=True)},
            "Constant, times `gamma` at each milestone.",
            fault=_of_multistep,
        ),
        Family(
            "cosine",
            {"rate": _RATE, "to": _TO, "length": _LENGTH},
            "Half a cosine from `rate` to `to`.",
        ),
        Family(
            "exponential",
            {
                "rate": _RATE,
                "gamma": Number(default=0.95, above=True, high=1.0),
                "every": Length(default=Duration(1.0, "e")),
                "length": _LENGTH,
            },
            "Times `gamma` in every `every`, smoothly.",
        ),
        Family(
            "polynomial",
            {
                "rate": _RATE,
                "to": _TO,
                "power": Number(default=1.0, above=True),
                "length": _LENGTH,
            },
            "From `rate` to `to` by a power of what is left; power 1 is a line.",
        ),
        Family(
            "warmup",
            {
                "length": Length(),
                "policy": Word(default="gradual", choices=tuple(WARMUP_START)),
                "start": Number(high=1.0, percent=True, optional=True, about=_STARTS),
            },
            "Leads up to the first rate of what follows the arrow: `warmup(5) → cosine(0.1)`.",
        ),
    ),
    call=Moving,
    other_name=lambda word: schedule_hint(word, (*NAMED, *FAMILIES)),
    other_parameter=parameter_hint,
    further=tuple(NAMED),
)
