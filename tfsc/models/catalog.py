"""The families of networks, each with its parameters: what `--model` takes; without TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfsc.models import rules
from tfsc.text.family import Call, Catalog, Family
from tfsc.text.parameters import Number, Parameter, Switch, Whole, Wholes, Word

ACTIVATIONS = ("relu", "gelu", "silu", "elu", "leaky_relu")


@dataclass(frozen=True, eq=False)
class NetworkFamily(Family):
    """A network: `builder` is its function from maps to features.

    Attributes:
        halvings: how often it halves the image, of a call.
        least_side: the smallest side of an image; None: the one that can be halved so often.
        whole_halves: whether every halving must come out even, of a call.
        takes_whitening: whether a whitening convolution is its own stem, not a layer before it.
    """

    halvings: Callable[[Call], int] = lambda call: 0
    least_side: Callable[[Call], int] | None = None
    whole_halves: Callable[[Call], bool] = lambda call: False
    takes_whitening: bool = False

    @property
    def is_normalized(self) -> bool:
        """Whether it has BatchNorm."""
        return "bn_momentum" in self.parameters


def size_fault(call: Call, height: int, width: int) -> str:
    """The rule about the size of its images that a network breaks; empty: none.

    Args:
        call: of `NETWORKS`.
        height, width: of the images.
    """
    family, halvings = call.kind, call.kind.halvings(call)
    least = family.least_side(call) if family.least_side else 2**halvings
    if min(height, width) < least:
        return f"needs images of at least {least}×{least}"
    factor = 2**halvings
    if family.whole_halves(call) and (height % factor or width % factor):
        return f"needs image sizes that {factor} divides"
    return ""


def _shared(
    norm: tuple[float, float] | None, activation: str = "relu", **own: Any
) -> Mapping[str, Parameter]:
    """What all networks have, with a network's own defaults.

    Args:
        norm: momentum and ε of its BatchNorm; None: it has none.
        activation: its own.
        own: other defaults: dropout, identity_init (None: it cannot have it), logit_scale.
    """
    parameters: dict[str, Parameter] = {
        "activation": Word(
            default=activation, choices=ACTIVATIONS, about="gelu is the exact one, x·Φ(x)"
        ),
        "dropout": Number(
            default=own.get("dropout", 0.0),
            high=0.99,
            about="rate before the dense layer, masks per sample",
        ),
    }
    if norm:
        momentum, epsilon = norm
        parameters |= {
            "bn_momentum": Number(
                default=momentum, high=0.99999, about="of BatchNorm's moving statistics"
            ),
            "bn_epsilon": Number(default=epsilon, high=1.0, about="added to BatchNorm's variance"),
        }
    if (identity := own.get("identity_init", False)) is not None:
        parameters["identity_init"] = Switch(
            default=identity,
            about="let the first filters of 3×3 (5×5) convolutions begin as the identity",
        )
    parameters["logit_scale"] = Number(
        default=own.get("logit_scale", 1.0), low=1e-6, high=1e3, about="factor on the logits"
    )
    return parameters


def _units(*default: int, what: str, high: int = 100) -> Wholes:
    return Wholes(default=default, high=high, leading=True, about=f"{what} in each stack")


def _stacks(call: Call) -> int:
    return len(call["units"]) - 1


NETWORKS = Catalog(
    "a network",
    (
        NetworkFamily(
            "resnet_v2",
            {
                "units": _units(6, 6, 6, what="residual units"),
                "shortcut": Wholes(
                    default=(3,),
                    high=7,
                    odd=True,
                    alone=True,
                    about="kernel size of each stack's projection shortcut, or one for all; "
                    "Change 2 is 3 (or [1,3,3]), Atienza has 1",
                ),
                "pooling": Word(
                    default="none",
                    choices=("none", "avg"),
                    about="before the dense layer: none is Change 1, Atienza has avg",
                ),
                "preactivation": Word(
                    default="none",
                    choices=("none", "downsampling", "all"),
                    about="Change 3: activate the input of projection shortcuts, in the stacks "
                    "that halve the maps or in all",
                ),
                "preactivation_bn": Switch(
                    default=True,
                    about="with preactivation: BatchNorm before it (seed 000's runs 8 and 9: "
                    "false)",
                ),
                **_shared((0.99, 1e-3)),
            },
            "Atienza's pre-activation bottlenecks with seed 000's Changes; [6,6,6] is ResNet56v2.",
            fault=rules.resnet_v2_fault,
            shortest=rules.resnet_v2_shortest,
            halvings=_stacks,
        ),
        NetworkFamily(
            "resnet_v1",
            {
                "units": _units(3, 3, 3, what="basic blocks"),
                "shortcut": Word(
                    default="zeros",
                    choices=("zeros", "projection"),
                    about="where the width changes: every other pixel and zeros (option A), or a "
                    "1×1 convolution with BatchNorm (B)",
                ),
                **_shared((0.9, 1e-5)),
            },
            "He's first residual networks; [3,3,3] is ResNet-20, [9,9,9] ResNet-56.",
            halvings=_stacks,
        ),
        NetworkFamily(
            "resnet_smith",
            {
                "units": _units(9, 9, 9, what="residual blocks"),
                "bias": Word(
                    default="all",
                    choices=("all", "standard", "none"),
                    about="which convolutions have one; standard: not those of the blocks that "
                    "halve the maps (seed 002)",
                ),
                "downsampling": Word(
                    default="caffe",
                    choices=("caffe", "tensorflow"),
                    about="caffe: shortcut 3×3 average pooling, convolution padded on all sides; "
                    "tensorflow (seed 002): 2×2, padded below and right",
                ),
                **_shared((0.95, 1e-5)),
            },
            "Smith & Topin's ResNet-56 of super-convergence: basic blocks, free shortcuts.",
            halvings=_stacks,
            whole_halves=lambda call: call["downsampling"] == "tensorflow",
        ),
        NetworkFamily(
            "resnet_rs",
            {
                "units": _units(3, 4, 6, 3, what="bottlenecks"),
                "stem_width": Whole(
                    default=128,
                    low=1,
                    high=1024,
                    about="channels of the stem, twice so many behind it",
                ),
                "stem_stride": Whole(default=2, choices=(1, 2), about="of its first convolution"),
                "se_ratio": Number(
                    default=0.25,
                    high=1.0,
                    about="width inside squeeze-and-excitation, of the unit's; 0: none",
                ),
                "se_reduction": Whole(
                    optional=True,
                    low=1,
                    high=256,
                    about="instead of se_ratio, the divisor of the width: the report's is 16",
                ),
                "depth_rate": Number(
                    default=0.0,
                    high=0.99,
                    about="of stochastic depth: stack s of four has rate·(s + 2)/5",
                ),
                "version": Word(
                    default="fixed",
                    choices=("fixed", "faithful"),
                    about="faithful: as in the code behind seed 003's figures, branches are dead "
                    "and evaluation has the batch's statistics",
                ),
                **_shared((0.9, 1e-5), dropout=0.25),
            },
            "ResNet-RS for CIFAR-10 with seed 003's stem: bottlenecks, squeeze-and-excitation; "
            "[3,4,6,3] is ResNet-RS 50.",
            fault=rules.resnet_rs_fault,
            halvings=lambda call: call["stem_stride"] + len(call["units"]) - 1,
        ),
        NetworkFamily(
            "wide_resnet",
            {
                "units": _units(4, 4, 4, what="residual blocks"),
                "width": Whole(default=10, low=1, high=100, about="the factor k of WRN-d-k"),
                **_shared((0.9, 1e-5)),
            },
            "Zagoruyko & Komodakis' wide residual networks; [4,4,4] and width=10 is WRN-28-10.",
            halvings=_stacks,
        ),
        NetworkFamily(
            "preact_resnet",
            {
                "units": _units(2, 2, 2, 2, what="residual blocks"),
                "width": Whole(default=64, low=1, high=1024, about="of the first stack"),
                "shortcut": Word(
                    default="activated",
                    choices=("activated", "raw"),
                    about="what a block of one width passes on: its input behind BatchNorm and "
                    "activation (mixup's code), or as it is (He et al.)",
                ),
                **_shared((0.9, 1e-5)),
            },
            "The PreAct ResNet-18 of mixup's figures: four stacks of basic blocks.",
            halvings=_stacks,
        ),
        NetworkFamily(
            "shake_shake",
            {
                "units": _units(4, 4, 4, what="residual blocks"),
                "width": Whole(default=32, low=2, high=1024, about="of the first stack, even"),
                "forward": Word(
                    default="shake",
                    choices=("shake", "even"),
                    about="share of the first branch in training: drawn, or ½",
                ),
                "backward": Word(
                    default="shake",
                    choices=("shake", "even", "keep"),
                    about="its share of the gradient: drawn anew, ½, or that of forward",
                ),
                "level": Word(
                    default="image",
                    choices=("image", "batch"),
                    about="what has draws of its own: each image, or each batch",
                ),
                **_shared((0.9, 1e-5)),
            },
            "Gastaldi's three-branch networks; [4,4,4] and width=32 is 26 2×32d.",
            fault=rules.shake_shake_fault,
            shortest=rules.shake_shake_shortest,
            halvings=_stacks,
            least_side=lambda call: 2 ** max(1, _stacks(call)),  # a shortcut's shift crops one
        ),
        NetworkFamily(
            "fixup",
            {
                "units": _units(9, 9, 9, what="basic blocks", high=2000),
                **_shared(None, identity_init=None),  # its zeros are what holds it together
            },
            "Zhang, Dauphin and Ma's residual networks without normalisation; [9,9,9] is "
            "ResNet-56, [18,18,18] ResNet-110.",
            halvings=_stacks,
        ),
        NetworkFamily(
            "resnet9",
            {
                "widths": Wholes(
                    default=(64, 128, 256, 512),
                    high=4096,
                    leading=True,
                    about="channels of each layer",
                ),
                "residual": Wholes(
                    default=(1, 3),
                    high=15,
                    about="layers with a residual block behind them; the stem is layer 0",
                ),
                **_shared((0.9, 1e-5), logit_scale=1 / 8),
            },
            "Page's nine-layer ResNet of DAWNBench.",
            fault=rules.resnet9_fault,
            shortest=lambda call: {"residual": tuple(sorted(call["residual"]))},
            halvings=lambda call: len(call["widths"]) - 1,
        ),
        NetworkFamily(
            "caffe_cifar10",
            dict(_shared(None)),
            "Caffe's cifar10_full: three convolutions, local response normalization.",
            least_side=lambda call: 8,
        ),
        NetworkFamily(
            "airbench",
            {
                "widths": Wholes(
                    default=(64, 256, 256), high=4096, leading=True, about="channels of each group"
                ),
                "depth": Whole(default=2, low=1, high=8, about="convolutions in each group"),
                "residual": Switch(
                    about="whether a group adds what its first convolution made to its last's"
                ),
                **_shared((0.6, 1e-12), "gelu", identity_init=True, logit_scale=1 / 9),
            },
            "Jordan's airbench94: three wide groups, each of which halves the maps; "
            "[128,384,512], depth 3, residual and bn_momentum 0.9 are airbench96.",
            fault=rules.airbench_fault,
            halvings=lambda call: len(call["widths"]),
            least_side=lambda call: 2 ** len(call["widths"]) + 1,
            takes_whitening=True,
        ),
    ),
    "tfsc.models",
)
