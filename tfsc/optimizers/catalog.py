"""The families of optimizers: what `--optimizer` and `--clip` take; without TensorFlow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfsc.schedules.momentum_and_batch_size import HIGHEST_MOMENTUM, Inverse, read_momentum
from tfsc.schedules.parsed import Knot, ScheduleText, Segments
from tfsc.text.component import Component
from tfsc.text.family import Call, Catalog, Family
from tfsc.text.parameters import Number, Parameter, Place, Switch, Whole
from tfsc.text.reader import Reader, number_text


@dataclass(frozen=True, kw_only=True)
class Momentum(Parameter):
    """A number, a schedule, or inverse(high, low): against the learning rate."""

    @property
    def rule(self) -> str:
        return f"a number or a schedule of at most {HIGHEST_MOMENTUM}, or inverse(high, low)"

    def read(self, reader: Reader, place: Place) -> ScheduleText | Inverse:
        return read_momentum(reader, place.what)

    def text(self, value: ScheduleText | Inverse | float | str) -> str:
        if isinstance(value, str | int | float):
            return super().text(value)
        number = value.constant() if not isinstance(value, Inverse) else None
        return str(value) if number is None else number_text(number)


def constant(number: float) -> Segments:
    """A schedule that never moves."""
    return Segments((Knot(number, 0.0),), ())


@dataclass(frozen=True, eq=False)
class OptimizerFamily(Family):
    """An optimizer.

    Attributes:
        decoupled: whether its weight decay always is; else --decoupled says.
    """

    decoupled: bool = False


def _nesterov_fault(call: Call) -> str | None:
    if call["nesterov"] and call["momentum"] == constant(0.0):
        return f"nesterov of {call.family} needs a momentum, such as {call.family}(0.9, nesterov)"
    return None


_BETA_1 = Number(default=0.9, high=0.9999, about="β₁: decay of the mean gradient")
_EPSILON = Number(default=1e-7, low=1e-30, high=1.0, about="ε")
_ADAM = {
    "beta_1": _BETA_1,
    "beta_2": Number(default=0.999, high=0.999999, about="β₂: decay of the mean square"),
    "epsilon": _EPSILON,
}


def _rho(default: float) -> Number:
    return Number(default=default, high=0.999999, about="ρ: decay of the mean square")


def _momentum(default: float) -> dict[str, Parameter]:
    return {
        "momentum": Momentum(
            default=constant(default), leading=True, about="inverse(0.95, 0.85) follows 1cycle"
        ),
        "nesterov": Switch(default=False, about="Nesterov momentum"),
    }


# What is a flag here, by its names elsewhere, and parameters that go by another name.
_ELSEWHERE = {
    "--schedule": "lr learning_rate rate",
    "--wd": "wd weight_decay decay l2_decay",
    "--clip": "clipnorm global_clipnorm clipvalue clip",
    "beta_1": "b1 beta1 betas",
    "beta_2": "b2 beta2",
    "epsilon": "eps",
    "rho": "alpha smoothing_constant",
    "steps": "ns_steps",
}


def _other_parameter(word: str, family: str, parameters: tuple[str, ...]) -> str:
    for ours, words in _ELSEWHERE.items():
        if word.lower() in words.split() and (ours.startswith("--") or ours in parameters):
            return f"; {'that is the flag' if ours.startswith('--') else 'here it is'} {ours}"
    return ""


_BASIC = Catalog(
    "an optimizer",
    (
        OptimizerFamily(
            "adamw", _ADAM, "Adam, its decay decoupled.", "adam:FusedAdamW", decoupled=True
        ),
        OptimizerFamily(
            "adamwr",
            _ADAM,
            "adamw in warm restarts: --wd divided by the root of the steps in the current one, "
            "and by the rate at its beginning.",
            "adam:FusedAdamW",
            decoupled=True,
        ),
        OptimizerFamily("adam", _ADAM, "Kingma & Ba's.", "adam:FusedAdam"),
        OptimizerFamily(
            "sgd",
            _momentum(0.0),
            "Stochastic gradient descent.",
            "sgd:FusedSGD",
            fault=_nesterov_fault,
        ),
        OptimizerFamily(
            "sgdw",
            _momentum(0.0),
            "sgd, its decay decoupled.",
            "sgd:FusedSGD",
            fault=_nesterov_fault,
            decoupled=True,
        ),
        OptimizerFamily(
            "rmsprop",
            {"rho": _rho(0.9), "epsilon": _EPSILON},
            "Tieleman & Hinton's.",
            "rmsprop:FusedRMSprop",
        ),
        OptimizerFamily("adagrad", {"epsilon": _EPSILON}, "Duchi's.", "adagrad:FusedAdagrad"),
        OptimizerFamily(
            "adadelta",
            {"rho": _rho(0.95), "epsilon": _EPSILON},
            "Zeiler's.",
            "adadelta:FusedAdadelta",
        ),
        OptimizerFamily(
            "lion",
            {
                "beta_1": _BETA_1,
                "beta_2": Number(default=0.99, high=0.999999, about="β₂: decay of its momentum"),
            },
            "Chen's, by the gradient's signs.",
            "lion:Lion",
            decoupled=True,
        ),
    ),
    "tfsc.optimizers",
    other_parameter=_other_parameter,
)


def _shortest_muon(call: Call) -> dict[str, Any]:
    """No rest, where that is what muon leaves to sgd by itself."""
    rest = call["rest"]
    own = (
        rest and rest.family == "sgd" and all(rest[n] == call[n] for n in ("momentum", "nesterov"))
    )
    return {"rest": None} if own else {}


_ALONE = (
    *_BASIC.values(),
    OptimizerFamily(
        "muon",
        {
            "momentum": Momentum(default=constant(0.6), leading=True, about="as of sgd"),
            "nesterov": Switch(default=True, about="Nesterov momentum"),
            "steps": Whole(default=3, low=1, high=100, about="Newton–Schulz steps"),
            "rest": Component(
                catalog=Catalog(
                    "an optimizer", (_BASIC["sgd"], _BASIC["adamw"]), "tfsc.optimizers"
                ),
                optional=True,
                about="what updates biases, BatchNorm and the dense layer, at the same learning "
                "rate (see --lr_factors); sgd with muon's momentum",
            ),
        },
        "Jordan's Muon: the kernels of convolutions move by orthogonal matrices.",
        "muon:Muon",
        shortest=_shortest_muon,
        decoupled=True,
    ),
)

OPTIMIZERS = Catalog(
    "an optimizer",
    (
        *_ALONE,
        OptimizerFamily(
            "lookahead",
            {
                "inner": Component(
                    catalog=Catalog("an optimizer", _ALONE, "tfsc.optimizers"),
                    about="what moves the weights",
                ),
                "every": Whole(default=5, low=1, high=1_000_000, about="steps between two moves"),
                "alpha": Number(
                    default=0.5,
                    low=0.001,
                    high=1.0,
                    about="how far slow weights move towards the weights, which go back to them",
                ),
            },
            "Zhang's slow weights around another optimizer.",
            "lookahead:Lookahead",
        ),
    ),
    "tfsc.optimizers",
    other_parameter=_other_parameter,
)


def innermost(call: Call) -> Call:
    """The optimizer inside lookahead."""
    return innermost(call["inner"]) if "inner" in call else call


def momenta(call: Call) -> Iterator[tuple[str, Any]]:
    """Every momentum of an optimizer, with what it is."""
    for name, value in call.arguments:
        if isinstance(value, Call) and name in ("inner", "rest"):
            yield from momenta(value)
        elif isinstance(call.kind.parameters[name], Momentum):
            yield f"{name} of {call.family}", value


_NORM = Number(above=True, high=1e9, about="the largest there may be")

CLIPS = Catalog(
    "a kind of clipping",
    (
        Family("none", {}, "Gradients are as they are."),
        Family("norm", {"most": _NORM}, "Scale each variable's gradient down to a norm."),
        Family("global_norm", {"most": _NORM}, "Scale the whole gradient down to a norm."),
        Family("value", {"most": _NORM}, "Cut each number of a gradient."),
    ),
)


def clipping(call: Call) -> dict[str, float]:
    """A call of `CLIPS` as arguments of a Keras optimizer."""
    names = {"norm": "clipnorm", "global_norm": "global_clipnorm", "value": "clipvalue"}
    return {} if call.family == "none" else {names[call.family]: call["most"]}
