"""Settings as earlier versions spelled them, a flag each, in today's.

`--stack_units=1,1,1 --pooling=avg` is `--model='resnet_v2([1,1,1],pooling=avg)'` now, and
`--winograd=auto --fused_norm=auto --fused_augment=auto` is `--native=auto`. A typed flag of old is
answered with the new spelling; a recipe.flags or repeat.json of old is read by it.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.averages.catalog import AVERAGES
from tfsc.inputs.catalog import INPUTS
from tfsc.losses.catalog import LOSSES
from tfsc.models.catalog import NETWORKS
from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS
from tfsc.recipe.fields import PRECISION_ALIASES
from tfsc.text.family import Catalog

# Each setting that is gone with its default of old, under the one that says it now.
_GONE = {
    "model": {
        "stack_units": "6,6,6",
        "width": "1",
        "shortcut_kernels": "3",
        "pooling": "none",
        "shortcut_preactivation": "none",
        "shortcut_bn": "true",
        "conv_bias": "all",
        "downsampling": "caffe",
        "bn_momentum": "0",
        "bn_epsilon": "0",
        "widths": "64,256,256",
        "group_depth": "2",
        "identity_init": "auto",
        "logit_scale": "0",
        "activation": "relu",
        "dropout": "0",
    },
    "input": {"whiten_images": "-1", "center": "pixel", "input_scale": "1", "scale_by": "none"},
    "augment": {"shift": "0.07", "crop": "0", "flip": "true", "flip_mode": "random"},
    "optimizer": {
        "momentum": "0.9",
        "nesterov": "false",
        "beta_1": "0.9",
        "beta_2": "0",
        "epsilon": "1e-7",
        "muon_rest": "sgd",
        "muon_rest_momentum": "",
        "muon_steps": "3",
        "lookahead": "0",
        "lookahead_alpha": "0.5",
    },
    "clip": {"clipnorm": "0", "global_clipnorm": "0", "clipvalue": "0"},
    "loss": {"label_smoothing": "0"},
    "average": {"ema": "0", "ema_every": "1", "ema_power": "0", "ema_lookahead": "false"},
}
# Flags of development versions, each off, auto or on, off by default; before them was no C++.
_IN_CPP = ("winograd", "fused_norm", "fused_augment")
_OF_PARTS = {name: setting for setting, gone in _GONE.items() for name in gone}
NAMES = _OF_PARTS | dict.fromkeys(_IN_CPP, "native")


def is_old(names: Iterable[str]) -> bool:
    """Whether these are all settings of a recipe of old: one is, or --native is not among them."""
    names = {*names}
    return "native" not in names or not names.isdisjoint(NAMES)


def translated(values: Mapping[str, str]) -> dict[str, str]:
    """Settings in today's spelling.

    Args:
        values: flag texts by name, of old and of today; what is missing has its default of old.

    Returns:
        The same without those of old, and with what says them now. Settings of which nothing was
        given are not there, but --native is: off where there was nothing in C++. It says no less
        than was computed in C++, and more where only some of it was.

    Raises:
        ValueError: if a value of old breaks a rule of today.
    """
    new = {name: text for name, text in values.items() if name not in NAMES}
    if "native" not in values:
        new |= _native(values)
    elif not values.keys().isdisjoint(_IN_CPP):
        raise ValueError(f"{', '.join(_IN_CPP)} are --native now, which is there, too")
    said = {_OF_PARTS[name] for name in values if name in _OF_PARTS}
    if not said:
        return new  # a network's name is today's
    if values.get("model") == "airbench":
        said |= {"model", "input"}  # its whitening was a default
    old = {name: text for gone in _GONE.values() for name, text in gone.items()} | dict(values)
    for setting, write in _WRITERS.items():
        typed = values.get(setting, "")
        if setting in said or (setting in ("model", "optimizer") and typed and "(" not in typed):
            new[setting] = write(old)
    return new


def answer(name: str, words: Sequence[str]) -> str:
    """What to say to someone who has typed a flag of old: the same in today's spelling.

    Args:
        name: of the flag, or that with "no" before it.
        words: all flags of the command line, as `--name=value`.

    Returns:
        A rule; empty if there never was such a flag.
    """
    if (name := _without_no(name)) not in NAMES:
        return ""
    setting, values = NAMES[name], dict(map(_value, words))
    if setting == "native":
        return _answer_of_native(values)
    rule = f"is part of --{setting} now (`python -m tfsc.{_PARTS[setting]}` lists what it can say)"
    # What stands there in today's spelling, from a flagfile say, is not what 0.1 had by default.
    todays = {n for n, text in values.items() if n in _GONE and not _may_be_old(n, text)}
    if setting in todays:
        return f"{rule}; change it in --{setting}={shlex.quote(values[setting])}"
    old = {n: v for n, v in values.items() if n in _OF_PARTS and _OF_PARTS[n] not in todays}
    families = {n: values[n] for n in ("model", "optimizer") if n in values and n not in todays}
    try:
        new = translated(families | old)
        without = translated(families | old | {name: _GONE[setting][name]})
    except ValueError:  # a value that was wrong in any spelling
        return rule
    if new[setting] == without[setting]:  # it has no effect
        return rule
    said = {_OF_PARTS[n] for n in old}
    if families.get("model") == "airbench" and "input" not in values:
        said.add("input")
    shown = [f"--{n}={shlex.quote(new[n])}" for n in new if n in said]
    return f"is part of --{setting} now; what was typed is {' '.join(shown)}"


def _answer_of_native(values: Mapping[str, str]) -> str:
    """What to say to someone who has typed one of `_IN_CPP` among these flags."""
    rule = "is part of --native now (one of auto, on, off; in bf16 beside --bf16_winograd)"
    if "native" in values:
        return f"{rule}; change it in --native={shlex.quote(values['native'])}"
    try:
        shown = [f"--{name}={text}" for name, text in _native(values).items()]
    except ValueError:
        return rule
    return f"is part of --native now; what was typed is {' '.join(shown)}"


# The package that lists what a setting can say.
_PARTS = {
    "model": "models",
    "input": "inputs",
    "augment": "augment",
    "optimizer": "optimizers",
    "clip": "optimizers",
    "loss": "losses",
    "average": "averages",
}


def _may_be_old(setting: str, text: str) -> bool:
    """Whether 0.1 could have had this text: the name of a network or optimizer."""
    return setting in ("model", "optimizer") and "(" not in text


def _without_no(name: str) -> str:
    return name.removeprefix("no") if name not in NAMES else name


def _value(word: str) -> tuple[str, str]:
    """Name and value of a flag as it was typed."""
    name, equals, value = word.lstrip("-").partition("=")
    if equals:
        return _without_no(name) if _without_no(name) in NAMES else name, value
    return (name, "true") if name in NAMES else (_without_no(name), "false")


def _native(old: Mapping[str, str]) -> dict[str, str]:
    """--native and --bf16_winograd that compute in C++ what these flags did, or more.

    "on" of one is "on" of all: where it could be had the others could, too.
    """
    said = {name: old.get(name, "off") for name in _IN_CPP}
    for name, text in said.items():
        if text not in ("off", "auto", "on"):
            raise ValueError(f"{name} must be one of off, auto, on")
    if {*said.values()} == {"off"}:
        return {"native": "off"}
    precision = PRECISION_ALIASES.get(old.get("precision", ""), old.get("precision", "fp32"))
    # Not everything could be had there, and "on" asks for everything.
    partly = precision == "fp16" or old.get("replicas", "1") != "1"
    new = {"native": "on" if "on" in said.values() and not partly else "auto"}
    if said["winograd"] != "off" and precision in ("bf16", "auto"):
        new["bf16_winograd"] = "true"
    return new


def _differing(catalog: Catalog, family: str, arguments: Mapping[str, str]) -> str:
    """The canonical text of a family with arguments as flags had them."""
    shown = [f"{name}={text}" for name, text in arguments.items()]
    return str(catalog.parse(f"{family}({', '.join(shown)})"))


def _list(text: str) -> str:
    return f"[{text}]"


def _model(old: Mapping[str, str]) -> str:
    family = old.get("model", "resnet_v2")
    if family not in NETWORKS:
        return family
    arguments = {}
    if family in ("resnet_v2", "resnet_smith", "wide_resnet"):
        arguments["units"] = _list(old["stack_units"])
    if family == "resnet_v2":
        kernels = old["shortcut_kernels"].split(",")
        arguments["shortcut"] = kernels[0] if len({*kernels}) == 1 else _list(",".join(kernels))
        arguments["pooling"] = old["pooling"]
        arguments["preactivation"] = old["shortcut_preactivation"]
        if old["shortcut_preactivation"] != "none":
            arguments["preactivation_bn"] = _bool(old["shortcut_bn"])
    elif family == "resnet_smith":
        arguments |= {"bias": old["conv_bias"], "downsampling": old["downsampling"]}
    elif family == "wide_resnet":
        arguments["width"] = old["width"]
    elif family == "airbench":
        arguments |= {"widths": _list(old["widths"]), "depth": old["group_depth"]}
    arguments |= {"activation": old["activation"], "dropout": old["dropout"]}
    if family != "caffe_cifar10":
        named = ("bn_momentum", "bn_epsilon")
        arguments |= {name: old[name] for name in named if float(old[name])}
    if not _of_airbench_by_chance(old, family):
        if old["identity_init"] != "auto":
            arguments["identity_init"] = _bool(old["identity_init"])
        if float(old["logit_scale"]):
            arguments["logit_scale"] = old["logit_scale"]
    return _differing(NETWORKS, family, arguments)


def _of_airbench_by_chance(old: Mapping[str, str], family: str) -> bool:
    """Whether another network has airbench's three values.

    They were everybody's defaults in a version that wrote them for networks without use for them.
    """
    return family != "airbench" and (
        old["whiten_images"] == "5000"
        and _bool(old["identity_init"]) == "true"
        and float(old["logit_scale"]) == 1 / 9
    )


def _input(old: Mapping[str, str]) -> str:
    family, center = old.get("model", "resnet_v2"), old["center"]
    if old["scale_by"] == "channel_std":
        steps = ["standardize" if center == "channel" else f"standardize({center})"]
    else:
        steps = [] if center == "none" else [f"center({center})"]
    if float(old["input_scale"]) != 1:
        steps.append(f"scale({old['input_scale']})")
    count = old["whiten_images"]
    if int(count) < 0:
        count = "5000" if family.startswith("airbench") else "0"
    if _of_airbench_by_chance(old, family):
        count = "0"
    if int(count):
        steps.append("whiten" if count == "5000" else f"whiten({count})")
    return str(INPUTS.parse_several(" ".join(steps) or "none"))


def _augment(old: Mapping[str, str]) -> str:
    steps = []
    if int(old["crop"]):
        steps.append(f"crop({old['crop']})")
    if float(old["shift"]):
        steps.append(f"shift({old['shift']})")
    if _bool(old["flip"]) == "true":
        steps.append(f"flip({old['flip_mode']})")
    return str(AUGMENTATIONS.parse_several(" ".join(steps) or "none"))


def _optimizer(old: Mapping[str, str]) -> str:
    family = old.get("optimizer", "adamw")
    if family not in OPTIMIZERS:
        return family
    text = _one_optimizer(family, old)
    if int(old["lookahead"]):
        named = f"every={old['lookahead']}, alpha={old['lookahead_alpha']}"
        text = f"lookahead({text}, {named})"
    return str(OPTIMIZERS.parse(text))


def _one_optimizer(family: str, old: Mapping[str, str]) -> str:
    parameters, arguments = OPTIMIZERS[family].parameters, {}
    if "beta_1" in parameters:
        arguments["beta_1"] = old["beta_1"]
    if float(old["beta_2"]):
        name = "rho" if "rho" in parameters else "beta_2"
        arguments |= {name: old["beta_2"]} if name in parameters else {}
    if "epsilon" in parameters:
        arguments["epsilon"] = old["epsilon"]
    if "momentum" in parameters:
        arguments |= {"momentum": old["momentum"], "nesterov": _bool(old["nesterov"])}
        if family != "muon" and old["momentum"].strip() in ("0", "0.0"):
            arguments["nesterov"] = "false"  # it had no effect then, and is refused now
    if family == "muon":
        rest_momentum = old["muon_rest_momentum"] or old["momentum"]
        rest = _one_optimizer(old["muon_rest"], {**old, "momentum": rest_momentum})
        arguments |= {"steps": old["muon_steps"], "rest": rest}
    return _differing(OPTIMIZERS, family, arguments)


def _clip(old: Mapping[str, str]) -> str:
    names = {"clipnorm": "norm", "global_clipnorm": "global_norm", "clipvalue": "value"}
    given = [f"{new}({old[name]})" for name, new in names.items() if float(old[name])]
    return str(CLIPS.parse(given[0])) if given else "none"


def _loss(old: Mapping[str, str]) -> str:
    return _differing(LOSSES, "cross_entropy", {"smoothing": old["label_smoothing"]})


def _average(old: Mapping[str, str]) -> str:
    if not float(old["ema"]):
        return "none"
    family = "lookahead" if _bool(old["ema_lookahead"]) == "true" else "ema"
    arguments = {"decay": old["ema"], "every": old["ema_every"], "power": old["ema_power"]}
    return _differing(AVERAGES, family, arguments)


def _bool(text: str) -> str:
    if text.lower() not in ("true", "t", "1", "false", "f", "0"):
        raise ValueError(f"must be true or false, received {text!r}")
    return "true" if text.lower() in ("true", "t", "1") else "false"


_WRITERS = {
    "model": _model,
    "input": _input,
    "augment": _augment,
    "optimizer": _optimizer,
    "clip": _clip,
    "loss": _loss,
    "average": _average,
}
