"""`Fields`: every setting of a run, declared once: its default, its rule and its sentence of help.

Nothing here imports TensorFlow, so that `--help` and every error about a setting come at once.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.averages.catalog import AVERAGES
from tfsc.errors import shown
from tfsc.inputs.catalog import INPUTS
from tfsc.losses.catalog import LOSSES
from tfsc.models.catalog import NETWORKS
from tfsc.optimizers import groups
from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS, momenta
from tfsc.recipe.setting import Setting
from tfsc.schedules.catalog import FAMILIES, NAMED
from tfsc.schedules.momentum_and_batch_size import Inverse, parse_batch_sizes
from tfsc.schedules.parsed import SHAPES, ScheduleText
from tfsc.schedules.parser import parse as parse_schedule

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "auto")
PRECISION_ALIASES = {
    "float32": "fp32",
    "mixed_bfloat16": "bf16",
    "mixed_float16": "fp16",
}


def _setting(default: Any, help: str, **rule: Any) -> Any:
    setting = Setting(help, type(default), **rule)
    return dataclasses.field(default=default, metadata={"setting": setting})


_LIMIT = 10_000_000  # a bound that only a typing error exceeds


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
        f"Network: {', '.join(NETWORKS)}, with its parameters: resnet_v2([6,6,6], "
        "shortcut=3), wide_resnet([4,4,4], width=10). `python -m tfsc.models` lists them.",
        parse_text=NETWORKS.parse,
    )
    input: str = _setting(
        "center(pixel)",
        "What is done to images inside the network, after scaling to 0–1: steps of "
        f"{', '.join(INPUTS)}, such as 'standardize whiten(5000)'; none: nothing.",
        parse_text=INPUTS.parse_several,
    )

    # Augmentation.
    augment: str = _setting(
        "shift(0.07) flip",
        f"Augmentation of training images, in the order typed: {', '.join(AUGMENTATIONS)}; "
        "such as 'crop(2) flip(alternating)'; none: none.",
        parse_text=AUGMENTATIONS.parse_several,
    )

    # Optimization.
    schedule: str = _setting(
        NAMED["type1"],
        "Learning rate: segments [rate, epoch]lin[rate, epoch]… with "
        f"{', '.join(SHAPES)}; a name ({', '.join(NAMED)}); a number; a family "
        f"({', '.join(FAMILIES)}) such as cyclic(0.1, 3, half_cycle=5000); or several "
        "joined by →. Positions are epochs, 5000s steps, 50% of the run. `python -m "
        "tfsc.schedules --show=…` draws it.",
        parse_text=parse_schedule,
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
        f"Optimizer: {', '.join(OPTIMIZERS)}, with its parameters: adamw(beta_2=0.99), "
        "sgd(0.9, nesterov), muon(0.6, rest=sgd(0.85)). A momentum may be a schedule. "
        "`python -m tfsc.optimizers` lists them.",
        parse_text=OPTIMIZERS.parse,
    )
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
        parse_text=groups.parse_names,
        canonical=groups.names_text,
    )
    lr_factors: str = _setting(
        "",
        "Factors of the learning rate of some variables, such as bn_bias:64,head:0.5; groups as in "
        "--no_decay, of several that hold a variable the last one counts.",
        parse_text=groups.parse_factors,
        canonical=groups.factors_text,
    )
    wd_factors: str = _setting(
        "",
        "Factors of --wd of some variables, likewise: bn_bias:0.015625 beside a factor 64 of their "
        "rate leaves their decay as it was.",
        parse_text=groups.parse_factors,
        canonical=groups.factors_text,
    )
    freeze_after: str = _setting(
        "",
        "Epochs after which some variables stay as they are, such as whitening/bias:3; groups "
        "likewise.",
        parse_text=groups.parse_epochs,
        canonical=groups.factors_text,
    )
    clip: str = _setting(
        "none",
        "Clip gradients: norm(1) of each variable, global_norm(1) of all together, value(0.5) of "
        "each number; none: as they are.",
        parse_text=CLIPS.parse,
    )
    l2: float = _setting(
        0.0, "L2 penalty on convolution kernels, added to the loss (Atienza: 1e-4).", low=0, high=10
    )
    loss: str = _setting(
        "cross_entropy",
        "Loss of training, mean over a batch: cross_entropy(smoothing=0.1). Validation has the "
        "plain cross-entropy.",
        parse_text=LOSSES.parse,
    )
    average: str = _setting(
        "none",
        "Average of all weights, BatchNorm statistics included: ema(0.999), evaluated in its own "
        "columns; lookahead(0.774, every=5, power=3), to which the weights go; none: none.",
        parse_text=AVERAGES.parse,
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
    native: str = _setting(
        "auto",
        "Compute in C++ that is compiled on first use what comes out the same within the rounding "
        "of a float32 sum: BatchNormalization with the ReLU behind it (on one replica), 1×1 "
        "convolutions with what stands around them, augmentation, and in fp32 and tf32 3×3 "
        "convolutions of stride 1 by Winograd's F(4×4, 3×3), a quarter of the multiplications. "
        "Needs a C++ compiler and a CPU with AVX2. "
        "auto: where these are, and no GPU, XLA or fp16; on: an error elsewhere.",
        choices=("auto", "on", "off"),
    )
    bf16_winograd: bool = _setting(
        False,
        "In bf16, too, compute 3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3): rounding "
        "errors of 1 %, else 0.2 %. Part of --native, needs AVX-512 BF16; with --native=auto not "
        "where AMX is, which is faster without it.",
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

    def parsed(self, name: str) -> Any:
        """What the text of a setting says, such as `model` or `schedule`.

        Raises:
            TextSyntaxError: if it breaks a rule.
        """
        parse = _SETTINGS[name].parse_text
        assert parse is not None, name
        return parse(getattr(self, name))

    def short(self, name: str) -> str:
        """What the text of a setting says, for titles."""
        return shown(str(self.parsed(name)), 40)

    def parsed_schedule(self) -> ScheduleText:
        """What `schedule` says."""
        return self.parsed("schedule")

    def momenta(self) -> list[tuple[str, ScheduleText]]:
        """Every momentum of the optimizer, with what it is; `inverse(…)` made out.

        Raises:
            TextSyntaxError: if a text breaks a rule.
            ValueError: if `inverse(…)` stands beside another schedule.
        """
        return [(what, self.momentum(text)) for what, text in momenta(self.parsed("optimizer"))]

    def momentum(self, text: ScheduleText | Inverse) -> ScheduleText:
        """A momentum of the optimizer, `inverse(…)` made out.

        Raises:
            ValueError: likewise.
        """
        return text.of(self.parsed_schedule()) if isinstance(text, Inverse) else text

    def batch_sizes(self) -> tuple[tuple[int, int], ...]:
        """Pairs (first epoch, batch size)."""
        if not self.batch_schedule:
            return ((0, self.batch_size),)
        return parse_batch_sizes(self.batch_schedule, self.batch_size)


# The first setting of each section; a setting belongs to the section that has begun.
_SECTIONS = {
    "run_dir": "Where things are",
    "val_split": "Data",
    "epochs": "Length and chance",
    "model": "Network and augmentation",
    "schedule": "Learning rate",
    "optimizer": "Optimization",
    "precision": "How it is computed",
    "checkpoint_every": "What is kept",
}
_SETTINGS = {field.name: field.metadata["setting"] for field in dataclasses.fields(Fields)}


def settings() -> dict[str, Setting]:
    """Every field's `Setting`, by name, in order of declaration."""
    return _SETTINGS


def sections() -> dict[str, str]:
    """The section of every field, by its name, in order of declaration."""
    found, section = {}, ""
    for name in settings():
        section = _SECTIONS.get(name, section)
        found[name] = section
    return found
