"""`Recipe`: everything a result depends on, declared once.

The absl flags, `--help`, validation, the run's `recipe.flags` dump and the digest all derive from
the fields below. Nothing here imports TensorFlow, so that `--help` and every error about a
setting come at once.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from absl import flags

from tfsc import __version__
from tfsc.errors import RecipeError
from tfsc.flagfile import shown
from tfsc.schedules import language
from tfsc.setting import Setting

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
PRECISION_ALIASES = {
    "float32": "fp32",
    "mixed_bfloat16": "bf16",
    "mixed_float16": "fp16",
}


def _setting(default: Any, help: str, **rule: Any) -> Any:
    kind = type(default)
    return dataclasses.field(default=default, metadata={"setting": Setting(help, kind, **rule)})


_LIMIT = 10_000_000  # a bound that only a typing error exceeds


@dataclass(frozen=True)
class Recipe:
    """One run: (recipe, seed) → run directory. The defaults are seed 000's Changes 1+2, Type I.

    Raises:
        RecipeError: if a value breaks its rule, alone or beside another one.
    """

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
    model: str = _setting("resnet_v2", "Architecture.", choices=("resnet_v2",))
    stack_units: tuple = _setting(
        (6, 6, 6),
        "Residual units in each stack; 6,6,6 is ResNet56v2.",
        low=1,
        high=100,
    )
    shortcut_kernels: tuple = _setting(
        (3,),
        "Kernel size of each stack's projection shortcut, or one size for all. Change 2 is 3 "
        "(or 1,3,3); Atienza has 1.",
        low=1,
        high=7,
    )
    pooling: str = _setting(
        "none",
        "Before the dense layer: none (Change 1) or the average over the last feature maps "
        "(Atienza).",
        choices=("none", "avg"),
    )
    shortcut_preactivation: str = _setting(
        "none",
        "Change 3: activate the input of projection shortcuts: in no stack, in those that halve "
        "the maps (all but the first), or in all.",
        choices=("none", "downsampling", "all"),
    )
    shortcut_bn: bool = _setting(
        True,
        "With --shortcut_preactivation: BatchNorm before the shortcut's activation "
        "(seed 000's runs 8 and 9: false).",
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

    # Augmentation.
    shift: float = _setting(
        0.07,
        "Largest shift in each direction as a fraction of the image size, per image, sub-pixel.",
        low=0.0,
        high=1.0,
    )
    flip: bool = _setting(True, "Mirror each training image left-right with probability 1/2.")

    # Optimization.
    schedule: str = _setting(
        language.NAMED["type1"],
        "Learning rate: segments [rate, epoch]lin[rate, epoch]cos[…]const[…]; a name "
        f"({', '.join(language.NAMED)}); or a number.",
    )
    schedule_per: str = _setting(
        "step", "Move the learning rate at every step or every epoch.", choices=("step", "epoch")
    )
    optimizer: str = _setting("adamw", "Optimizer.", choices=("adamw", "adam", "sgd"))
    momentum: float = _setting(0.9, "Momentum of sgd (not Nesterov).", low=0.0, high=0.9999)
    wd: float = _setting(
        0.19,
        "Decoupled weight decay λ of adamw and sgd on all variables: w −= rate·λ·w each step.",
        low=0.0,
        high=1000.0,
    )
    l2: float = _setting(
        0.0, "L2 penalty on convolution kernels, added to the loss (Atienza: 1e-4).", low=0, high=10
    )
    ema: float = _setting(
        0.0,
        "Decay of an exponential moving average of all weights, BatchNorm statistics included, "
        "evaluated in its own columns; 0: off.",
        low=0.0,
        high=0.999999,
    )

    # How it is computed.
    precision: str = _setting(
        "fp32",
        "fp32 (TF32 off), tf32, bf16 or fp16 (mixed precision with float32 variables).",
        choices=PRECISIONS,
        aliases=PRECISION_ALIASES,
    )
    xla: str = _setting(
        "auto", "Compile the step with XLA; auto: on a GPU only.", choices=("auto", "on", "off")
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

    def __post_init__(self):
        for name, setting in settings().items():
            value = getattr(self, name)
            try:
                value = setting.check(value)
            except ValueError as error:
                received = shown(value if isinstance(value, str) else repr(value))
                raise RecipeError(f"--{name}={received}: {error}") from None
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Rules about one value beside another, and about texts with a language of their own."""
        if not self.dataset or not all(c.isalnum() or c in "_-./:" for c in self.dataset):
            raise RecipeError(
                f"--dataset={shown(self.dataset)}: must be 'digits' or the name of a TFDS dataset "
                "(letters, digits and _ - . / :)"
            )
        if ".." in self.dataset or self.dataset.startswith("/"):
            raise RecipeError(f"--dataset={shown(self.dataset)}: must be a name, not a path")
        try:
            language.parse(self.schedule)
        except language.ScheduleSyntaxError as error:
            raise RecipeError(f"--schedule: {error}") from None
        stacks = len(self.stack_units)
        if stacks > 16:  # each halves the image
            units = shown(",".join(map(str, self.stack_units)))
            raise RecipeError(f"--stack_units={units}: must have at most 16 stacks, has {stacks}")
        if len(self.shortcut_kernels) == 1:
            object.__setattr__(self, "shortcut_kernels", self.shortcut_kernels * stacks)
        if len(self.shortcut_kernels) != stacks:
            kernels = shown(",".join(map(str, self.shortcut_kernels)))
            raise RecipeError(
                f"--shortcut_kernels={kernels}: must be one size or as many as --stack_units has "
                f"stacks ({stacks})"
            )
        if any(kernel % 2 == 0 for kernel in self.shortcut_kernels):
            kernels = shown(",".join(map(str, self.shortcut_kernels)))
            raise RecipeError(f"--shortcut_kernels={kernels}: kernel sizes must be odd")
        if self.optimizer == "adam" and self.wd != 0:
            raise RecipeError(
                f"--wd={self.wd:g}: must be 0 with --optimizer=adam, which has no decoupled decay; "
                "add --wd=0 (and --l2=1e-4 for Atienza's penalty), or use --optimizer=adamw"
            )
        self._check_replicas()

    def _check_replicas(self) -> None:
        if self.replicas == 1:
            return
        if self.batch_size % self.replicas:
            raise RecipeError(
                f"--replicas={self.replicas}: must divide --batch_size={self.batch_size} into "
                "equal shares"
            )
        # What Keras or TensorFlow cannot do under a strategy, or what nobody has tried here.
        for name, bad, allowed in (
            ("steps_per_execution", self.steps_per_execution > 1, "1"),
            ("xla", self.xla == "on", "auto or off"),
            ("precision", self.precision == "fp16", "fp32, tf32 or bf16"),
            ("data_on", self.data_on != "host", "host"),
        ):
            if bad:
                raise RecipeError(
                    f"--{name}={getattr(self, name)}: must be {allowed} with "
                    f"--replicas={self.replicas}"
                )

    @classmethod
    def from_flags(cls, flag_values: flags.FlagValues = flags.FLAGS) -> "Recipe":
        """The recipe that the parsed flags describe."""
        return cls(**{name: getattr(flag_values, name) for name in settings()})

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)

    @property
    def digest(self) -> str:
        """16 hex digits over all fields on which the trained weights depend, seed included."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]

    def identity(self) -> dict[str, str]:
        """Flag text of each field on which the trained weights depend.

        The schedule is in canonical form: `type1` and its segment text are the same recipe.
        """
        values = {
            name: setting.text(getattr(self, name))
            for name, setting in settings().items()
            if setting.identity
        }
        return values | {"schedule": str(language.parse(self.schedule))}

    def flagfile(self) -> str:
        """The text of `recipe.flags`: `--flagfile=` with it replays the run."""
        lines = [
            f"--{name}={setting.text(getattr(self, name))}"
            for name, setting in settings().items()
            if setting.dumped
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_flagfile(cls, text: str) -> "Recipe":
        """Read back what `flagfile` wrote.

        Raises:
            RecipeError: for a line that is not `--name=value`, an unknown name or a bad value.
        """
        known, values = settings(), {}
        for number, line in enumerate(text.splitlines(), start=1):
            line = line.strip()
            if not line or line.startswith(("#", "//")):
                continue
            name, equals, value = line.removeprefix("--").partition("=")
            if not line.startswith("--") or not equals:
                raise RecipeError(f"recipe line {number}: {shown(line)}: must be --name=value")
            if name not in known:
                raise RecipeError(
                    f"recipe line {number}: {shown(line)}: this version of tfsc ({__version__}) "
                    f"has no setting named {shown(name, 40)}; the recipe may be of a newer version"
                )
            try:
                values[name] = known[name].parse(value)
            except ValueError as error:
                raise RecipeError(
                    f"recipe line {number}: --{name}={shown(value)}: {error}"
                ) from None
        return cls(**values)

    def differences(self, other: "Recipe") -> list[str]:
        """Fields of identity in which two recipes differ, as `name: mine, theirs`."""
        mine, theirs = self.identity(), other.identity()
        return [
            f"{name}: {mine[name]}, {theirs[name]}" for name in mine if mine[name] != theirs[name]
        ]


_SETTINGS = {field.name: field.metadata["setting"] for field in dataclasses.fields(Recipe)}


def settings() -> dict[str, Setting]:
    """Every field's `Setting`, by name, in order of declaration."""
    return _SETTINGS


class _SettingParser(flags.ArgumentParser):
    """Lets absl read a flag by the rule of its `Setting`."""

    def __init__(self, setting: Setting):
        super().__init__()
        self._setting = setting
        self.syntactic_help = setting.rule

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._setting.parse(argument)
        return self._setting.check(argument)

    def flag_type(self) -> str:
        return self._setting.kind.__name__


class _SettingSerializer(flags.ArgumentSerializer):
    def __init__(self, setting: Setting):
        super().__init__()
        self._setting = setting

    def serialize(self, value: Any) -> str:
        return self._setting.text(value)


def define_flags(
    module: str,
    names: tuple[str, ...] | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
    unset: bool = False,
) -> None:
    """Define absl flags from the recipe's fields.

    Args:
        module: name under which `--help` lists them; a command passes `sys.argv[0]`.
        names: which fields; default all.
        flag_values: where to define them.
        unset: give them no default, so that a command can tell what was typed.
    """
    for field in dataclasses.fields(Recipe):
        if names is None or field.name in names:
            default = None if unset else field.default
            define_flag(field.name, settings()[field.name], default, module, flag_values)


def define_flag(
    name: str,
    setting: Setting,
    default: Any,
    module: str,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Define one absl flag that is read by the rule of its `Setting`.

    Args:
        name: of the flag.
        setting: its help and rule.
        default: None: it has no value unless it is typed.
        module, flag_values: as in `define_flags`.
    """
    if setting.kind is bool:
        flag = flags.BooleanFlag(name, default, setting.help)
        flag.parser = _SettingParser(setting)
    else:
        parser, serializer = _SettingParser(setting), _SettingSerializer(setting)
        flag = flags.Flag(parser, serializer, name, default, setting.help)
    flags.DEFINE_flag(flag, flag_values, module_name=module)
    flag_values.register_key_flag_for_module(module, flag)
