"""`Fields`: every setting of a run, declared once: its default, its rule and its sentence of help.

Nothing here imports TensorFlow, so that `--help` and every error about a setting come at once.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tfsc.recipe.setting import Setting
from tfsc.schedules import catalog, momentum_and_batch_size, parser

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "auto")
PRECISION_ALIASES = {
    "float32": "fp32",
    "mixed_bfloat16": "bf16",
    "mixed_float16": "fp16",
}


def _setting(default: Any, help: str, **rule: Any) -> Any:
    kind = type(default)
    if models := rule.get("models"):
        help = f"{help} [{', '.join(models)}]"
    return dataclasses.field(default=default, metadata={"setting": Setting(help, kind, **rule)})


_LIMIT = 10_000_000  # a bound that only a typing error exceeds
_RESIDUAL = ("resnet_v2", "resnet_smith", "wide_resnet")
_NORMALIZED = (*_RESIDUAL, "airbench")
# What a default leaves to the network: a plain one's, and those of networks with their own.
PLAIN_NETWORKS = {"whiten_images": 0, "identity_init": "false", "logit_scale": 1.0}
OWN_OF_NETWORKS = {
    "airbench": {"whiten_images": 5000, "identity_init": "true", "logit_scale": 1 / 9}
}
LEFT_TO_NETWORKS = tuple(PLAIN_NETWORKS)


@dataclass(frozen=True)
class Fields:
    """The settings, not yet checked, and what their texts say."""

    # Where things are.
    run_dir: str = _setting(
        "",
        "Directory that records the run; empty: runs/<dataset>-<model>-<digest>-seed<seed>.",
        identity=False,
        dumped=False,
    )
    dataset: str = _setting(
        "cifar10",
        "'digits' (bundled with scikit-learn) or any TFDS image-classification set of one "
        "image size: cifar10, cifar100, svhn_cropped, mnist, ...",
    )
    data_dir: str = _setting(
        "",
        "TFDS directory that holds the prepared dataset; empty: TFDS_DATA_DIR, then TFDS's own "
        "directory, into which TFDS downloads.",
        identity=False,
    )

    # Data.
    val_split: str = _setting(
        "test",
        "Validation set: the official test set; a stratified draw from the training set; or a "
        "stratified draw from both merged.",
        choices=("test", "stratified", "merged"),
    )
    train_examples: int = _setting(
        0, "Train on this many examples, drawn stratified; 0: all.", low=0, high=_LIMIT
    )
    batch_size: int = _setting(64, "Training examples in one optimizer step.", low=1, high=65536)
    batch_schedule: str = _setting(
        "",
        "Grow the batch instead of decaying the rate: batch sizes that jump at whole epochs, from "
        "--batch_size on: multistep(128, [60,120], gamma=5) or [128,0]const[640,60]…; empty: "
        "always --batch_size.",
    )
    micro_batch: int = _setting(
        0,
        "Pass a batch through the network in parts of so many examples and average their "
        "gradients before the one update (gradient accumulation); BatchNorm normalises each part "
        "by itself (ghost batches) and moves its statistics with each. 0: the whole batch at once.",
        low=0,
        high=65536,
    )

    # Length and chance.
    epochs: int = _setting(25, "Epochs to train, each of full batches only.", low=1, high=100_000)
    steps: int = _setting(
        0, "Stop after this many optimizer steps; 0: after --epochs.", low=0, high=1_000_000_000
    )
    seed: int = _setting(
        0,
        "Seed of the initial weights, the splits, the order of examples and the augmentation.",
        low=0,
        high=2**31 - 1,
    )

    # Network.
    model: str = _setting(
        "resnet_v2",
        "Architecture: Atienza's with the seeds' Changes, Smith & Topin's of super-convergence, "
        "wide residual networks, Caffe's cifar10_full, or airbench's wide and shallow one. A "
        "setting that names networks in [] must be left alone with the others.",
        choices=(*_RESIDUAL, "caffe_cifar10", "airbench"),
    )
    stack_units: tuple = _setting(
        (6, 6, 6),
        "Residual units in each stack: 6,6,6 is ResNet56v2, 9,9,9 Smith's ResNet-56, 4,4,4 a "
        "WRN-28.",
        low=1,
        high=100,
        models=_RESIDUAL,
    )
    width: int = _setting(
        1, "Factor k on the width: WRN-28-10 has 10.", low=1, high=100, models=("wide_resnet",)
    )
    shortcut_kernels: tuple = _setting(
        (3,),
        "Kernel size of each stack's projection shortcut, or one size for all. Change 2 is 3 "
        "(or 1,3,3); Atienza has 1.",
        low=1,
        high=7,
        models=("resnet_v2",),
    )
    pooling: str = _setting(
        "none",
        "Before the dense layer: none (Change 1) or the average over the last feature maps "
        "(Atienza).",
        choices=("none", "avg"),
        models=("resnet_v2",),
    )
    shortcut_preactivation: str = _setting(
        "none",
        "Change 3: activate the input of projection shortcuts: in no stack, in those that halve "
        "the maps (all but the first), or in all.",
        choices=("none", "downsampling", "all"),
        models=("resnet_v2",),
    )
    shortcut_bn: bool = _setting(
        True,
        "With --shortcut_preactivation: BatchNorm before the shortcut's activation "
        "(seed 000's runs 8 and 9: false).",
        models=("resnet_v2",),
    )
    conv_bias: str = _setting(
        "all",
        "Which convolutions have a bias: all (Smith), standard: not those of the blocks that halve "
        "the maps (seed 002), or none.",
        choices=("all", "standard", "none"),
        models=("resnet_smith",),
    )
    downsampling: str = _setting(
        "caffe",
        "How maps are halved: as Caffe does (shortcut 3×3 average pooling, convolution padded on "
        "all sides), or as seed 002's TensorFlow code does (2×2, padded below and right).",
        choices=("caffe", "tensorflow"),
        models=("resnet_smith",),
    )
    bn_momentum: float = _setting(
        0.0,
        "Momentum of BatchNorm's moving statistics; 0: the network's own (.99, .95, .9, .6).",
        low=0.0,
        high=0.99999,
        models=_NORMALIZED,
    )
    bn_epsilon: float = _setting(
        0.0,
        "Added to BatchNorm's variance; 0: the network's own (1e-3, 1e-5, 1e-5, 1e-12).",
        low=0.0,
        high=1.0,
        models=_NORMALIZED,
    )
    widths: tuple = _setting(
        (64, 256, 256), "Channels of each group.", low=1, high=4096, models=("airbench",)
    )
    group_depth: int = _setting(
        2, "Convolutions in each group.", low=1, high=8, models=("airbench",)
    )
    whiten_images: int = _setting(
        -1,
        "Compute a first 2×2 convolution from so many training images, so that its outputs are "
        "uncorrelated, and train its bias only; 0: none, airbench's trains like the others. -1: "
        "the network's own (airbench 5000, the others 0).",
        low=-1,
        high=_LIMIT,
    )
    identity_init: str = _setting(
        "auto",
        "Let the first filters of a 3×3 convolution (caffe_cifar10: 5×5) begin as the identity. "
        "auto: the network's own (airbench true, the others false).",
        choices=("auto", "true", "false"),
    )
    logit_scale: float = _setting(
        0.0,
        "Factor on the logits; 0: the network's own (airbench 1/9, the others 1). With another "
        "network airbench's 5000, true and 1/9 to sixteen digits all together are its own, too: "
        "earlier versions wrote them into every recipe.flags.",
        low=0.0,
        high=1e3,
    )
    activation: str = _setting(
        "relu", "Activation function.", choices=("relu", "gelu", "silu", "elu", "leaky_relu")
    )
    dropout: float = _setting(
        0.0, "Dropout rate before the dense layer, masks per sample.", low=0.0, high=0.99
    )
    center: str = _setting(
        "pixel",
        "Mean subtracted inside the network after scaling to 0–1: of each pixel over the "
        "training images (Atienza), of each channel, or none.",
        choices=("pixel", "channel", "none"),
    )
    input_scale: float = _setting(
        1.0,
        "Factor on the centred images: 255 gives the network raw pixels less their mean (Caffe).",
        low=1.0,
        high=255.0,
    )
    scale_by: str = _setting(
        "none",
        "Divide the centred images by the standard deviation of each channel over the training "
        "images, inside the network.",
        choices=("none", "channel_std"),
    )

    # Augmentation.
    shift: float = _setting(
        0.07,
        "Largest shift in each direction as a fraction of the image size, per image, sub-pixel.",
        low=0.0,
        high=1.0,
    )
    crop: int = _setting(
        0,
        "Largest shift in each direction in whole pixels, per image, mirrored at the border "
        "(airbench: 2, with --shift=0); beside --shift an image has both.",
        low=0,
        high=1000,
    )
    flip: bool = _setting(True, "Mirror half of the training images left-right.")
    flip_mode: str = _setting(
        "random",
        "Which: each image with probability 1/2 in each epoch; or alternating: each image in every "
        "other epoch.",
        choices=("random", "alternating"),
    )

    # Optimization.
    schedule: str = _setting(
        parser.NAMED["type1"],
        "Learning rate: segments [rate, epoch]lin[rate, epoch]… with "
        f"{', '.join(catalog.SHAPES)}; a name ({', '.join(parser.NAMED)}); a number; a family "
        f"({', '.join(catalog.FAMILIES)}) such as cyclic(0.1, 3, half_cycle=5000); or several "
        "joined by →. Positions are epochs, 5000s steps, 50% of the run. `python -m "
        "tfsc.schedules --show=…` draws it.",
    )
    schedule_per: str = _setting(
        "step", "Move the learning rate at every step or every epoch.", choices=("step", "epoch")
    )
    scale_lr_from: int = _setting(
        0,
        "Linear scaling rule: the schedule is meant for this batch size, rates are multiplied by "
        "--batch_size over it; 0: the schedule is meant as it is.",
        low=0,
        high=65536,
    )
    optimizer: str = _setting(
        "adamw",
        "Optimizer. muon takes the kernels of convolutions and leaves the rest to --muon_rest; "
        "adamwr is adamw with --wd divided by the root of the steps in the current warm restart, "
        "and by the rate at its beginning.",
        choices=(
            *("adamw", "adamwr", "adam", "sgd", "sgdw", "rmsprop", "adagrad", "adadelta", "lion"),
            "muon",
        ),
    )
    momentum: str = _setting(
        "0.9",
        "Momentum of sgd, sgdw and muon: a number, a schedule text with values below 1, or "
        "inverse(0.95, 0.85): against the rate of a one_cycle or cyclic --schedule.",
    )
    nesterov: bool = _setting(False, "Nesterov momentum, of sgd, sgdw and muon.")
    beta_1: float = _setting(
        0.9, "β₁ of adamw, adamwr, adam and lion: decay of the mean gradient.", low=0.0, high=0.9999
    )
    beta_2: float = _setting(
        0.0,
        "Decay of the mean square, β₂ of adamw, adamwr and adam (0.999), ρ of rmsprop (0.9) and "
        "adadelta (0.95), or of lion's momentum, β₂ (0.99); 0: the number in brackets.",
        low=0.0,
        high=0.999999,
    )
    epsilon: float = _setting(
        1e-7, "ε of adamw, adamwr, adam, rmsprop, adagrad and adadelta.", low=1e-30, high=1.0
    )
    muon_rest: str = _setting(
        "sgd",
        "With muon: what updates biases, BatchNorm and the dense layer, at the same learning rate "
        "(see --lr_factors).",
        choices=("sgd", "adamw"),
    )
    muon_rest_momentum: str = _setting(
        "", "Momentum of --muon_rest=sgd, as --momentum, which is then muon's alone; empty: that."
    )
    muon_steps: int = _setting(3, "Newton–Schulz steps of muon.", low=1, high=100)
    wd: float = _setting(
        0.19, "Weight decay λ on all variables but those of --no_decay.", low=0.0, high=1000.0
    )
    decoupled: bool = _setting(
        True,
        "Weight decay shrinks the weights, w −= rate·λ·w each step; false: it joins the clipped "
        "gradient, g += λ·w (of sgd, adam, rmsprop, adagrad and adadelta).",
    )
    no_decay: str = _setting(
        "",
        "Variables without weight decay: bias, bn, bn_scale, bn_bias, kernel, head, or parts of "
        "their paths, separated by commas; empty: none.",
    )
    lr_factors: str = _setting(
        "",
        "Factors of the learning rate of some variables, such as bn_bias:64,head:0.5; groups as in "
        "--no_decay, of several that hold a variable the last one counts.",
    )
    wd_factors: str = _setting(
        "",
        "Factors of --wd of some variables, likewise: bn_bias:0.015625 beside a factor 64 of their "
        "rate leaves their decay as it was.",
    )
    freeze_after: str = _setting(
        "",
        "Epochs after which some variables stay as they are, such as whitening/bias:3; groups "
        "likewise.",
    )
    clipnorm: float = _setting(
        0.0, "Largest norm of each variable's gradient; 0: any.", low=0.0, high=1e9
    )
    global_clipnorm: float = _setting(
        0.0, "Largest norm of the whole gradient; 0: any.", low=0.0, high=1e9
    )
    clipvalue: float = _setting(
        0.0, "Largest absolute value in a gradient; 0: any.", low=0.0, high=1e9
    )
    lookahead: int = _setting(
        0,
        "Every so many steps slow weights move towards the weights, which go back to them; 0: "
        "never.",
        low=0,
        high=1_000_000,
    )
    lookahead_alpha: float = _setting(
        0.5, "How far slow weights move: 1 is all the way.", low=0.001, high=1.0
    )
    l2: float = _setting(
        0.0, "L2 penalty on convolution kernels, added to the loss (Atienza: 1e-4).", low=0, high=10
    )
    label_smoothing: float = _setting(
        0.0,
        "ε: train towards 1 − ε + ε/K for the label and ε/K for each other of K classes; "
        "validation has the plain loss.",
        low=0.0,
        high=0.99,
    )
    ema: float = _setting(
        0.0,
        "Decay of an exponential moving average of all weights, BatchNorm statistics included, "
        "evaluated in its own columns; 0: off.",
        low=0.0,
        high=0.999999,
    )
    ema_every: int = _setting(1, "Steps between two movements of --ema.", low=1, high=1_000_000)
    ema_power: float = _setting(
        0.0,
        "Let the decay of --ema grow through the run: at step t of T it is ema·(t/T)^power.",
        low=0.0,
        high=100.0,
    )
    ema_lookahead: bool = _setting(
        False,
        "Each time --ema has moved, and at the end, set all weights to it, BatchNorm statistics "
        "included (airbench's lookahead; --lookahead is Zhang's).",
    )

    # How it is computed.
    precision: str = _setting(
        "fp32",
        "fp32 (TF32 off), tf32, bf16 or fp16 (mixed precision with float32 variables); auto: bf16 "
        "where the processor (AVX-512 BF16, AMX) or the GPU (since Ampere) multiplies in it, else "
        "fp32; a run goes on in what it was begun with.",
        choices=PRECISIONS,
        aliases=PRECISION_ALIASES,
    )
    xla: str = _setting(
        "auto", "Compile the step with XLA; auto: on a GPU only.", choices=("auto", "on", "off")
    )
    winograd: str = _setting(
        "off",
        "Compute 3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3), in C++ that is compiled "
        "on first use: a quarter of the multiplications, rounding errors of 1 % in bf16 and 1e-6 "
        "in fp32 (else 0.2 % and 2e-7). Needs a CPU with AVX512-BF16 and a C++ compiler. auto: "
        "where these are, and no GPU, XLA or (bf16) AMX, which are faster without it.",
        choices=("off", "auto", "on"),
        models=_NORMALIZED,
    )
    fused_norm: str = _setting(
        "off",
        "In training compute each BatchNormalization with the ReLU behind it as one operation in "
        "C++ that is compiled on first use: fewer passes over the maps, float32 and float64 "
        "inside. Needs --activation=relu, one replica, a CPU with AVX512-BF16 and a C++ compiler. "
        "auto: where these are, and no GPU or XLA.",
        choices=("off", "auto", "on"),
        models=_NORMALIZED,
    )
    fused_augment: str = _setting(
        "off",
        "Augment by one operation in C++ that is compiled on first use, in place of products of "
        "whole matrices; the same but for rounding. Needs a CPU with AVX512-BF16 and a C++ "
        "compiler. auto: where these are, and no GPU or XLA.",
        choices=("off", "auto", "on"),
    )
    replicas: int = _setting(
        1,
        "Train on so many devices at once, each with an equal share of every batch: GPUs, or "
        "virtual CPUs where there is none. Equal to one device up to rounding.",
        low=1,
        high=1024,
    )
    steps_per_execution: int = _setting(
        1, "Steps in one call of the compiled function.", low=1, high=10_000, identity=False
    )
    data_on: str = _setting(
        "host",
        "Where batches are put together: host; prefetch: there, and copied to the GPU ahead of "
        "their step; device: on the GPU, which holds the whole training set. Equal to the last "
        "bit; without a GPU all three are the CPU.",
        choices=("host", "prefetch", "device"),
        identity=False,
    )

    # What is kept.
    checkpoint_every: int = _setting(
        1, "Epochs between checkpoints; the last epoch always has one.", low=1, high=100_000,
        identity=False,
    )  # fmt: skip
    validate_every: int = _setting(
        1,
        "Epochs between evaluations; the last epoch always has one.",
        low=1,
        high=100_000,
        identity=False,
    )
    keep_checkpoints: int = _setting(
        2, "Newest checkpoints to keep, beside the best one.", low=1, high=100_000, identity=False
    )
    export: bool = _setting(
        True, "Export a SavedModel and a .keras file when training is done.", identity=False
    )
    threshold: float = _setting(
        0.92,
        "Target validation accuracy; summary.json names the epoch that reaches it.",
        low=0.0,
        high=1.0,
        identity=False,
    )

    def parsed_schedule(self) -> catalog.Schedule:
        """What `schedule` says."""
        return parser.parse(self.schedule)

    def parsed_momentum(self) -> catalog.Schedule:
        """What `momentum` says, `inverse(…)` made out."""
        return momentum_and_batch_size.parse_momentum(self.momentum, self.parsed_schedule())

    def parsed_rest_momentum(self) -> catalog.Schedule:
        """What `muon_rest_momentum` says, `momentum` if that is empty."""
        return momentum_and_batch_size.parse_momentum(
            self.muon_rest_momentum or self.momentum, self.parsed_schedule()
        )

    def resolved(self, name: str) -> Any:
        """A setting of `LEFT_TO_NETWORKS`, the network's own value where it has its default."""
        value = getattr(self, name)
        if value != getattr(type(self), name):
            return value
        return OWN_OF_NETWORKS.get(self.model, PLAIN_NETWORKS)[name]

    def batch_sizes(self) -> tuple[tuple[int, int], ...]:
        """Pairs (first epoch, batch size)."""
        if not self.batch_schedule:
            return ((0, self.batch_size),)
        return momentum_and_batch_size.parse_batch_sizes(self.batch_schedule, self.batch_size)


_SETTINGS = {field.name: field.metadata["setting"] for field in dataclasses.fields(Fields)}


def settings() -> dict[str, Setting]:
    """Every field's `Setting`, by name, in order of declaration."""
    return _SETTINGS
