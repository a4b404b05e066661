"""Optimizers: fused updates, groups of variables, decoupled decay, freezing; one a file."""

from tfsc.lazy import attributes

_NAMES = {
    "OPTIMIZERS": "catalog",
    "build": "builder",
    "FusedAdadelta": "adadelta",
    "FusedAdagrad": "adagrad",
    "FusedAdam": "adam",
    "FusedAdamW": "adam",
    "FusedRMSprop": "rmsprop",
    "FusedSGD": "sgd",
    "Lion": "lion",
    "Lookahead": "lookahead",
    "Muon": "muon",
}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
