"""Learning-rate schedules: `parser` reads their text, without TensorFlow; the classes are Keras'.

`schedules.build('warmup(5) → cosine(0.1)', steps_per_epoch, total_steps)` makes one of a text.
"""

from tfsc.lazy import attributes

_NAMES = {
    "ByEpoch": "compose",
    "Cosine": "cosine",
    "Cyclic": "cyclic",
    "Exponential": "exponential",
    "MultiStep": "multistep",
    "NormalizedDecay": "normalized_decay",
    "OneCycle": "one_cycle",
    "PerEpoch": "compose",
    "Polynomial": "polynomial",
    "RangeTest": "range_test",
    "Scaled": "compose",
    "Schedule": "base",
    "SegmentSchedule": "segments",
    "Sequence": "compose",
    "Warmup": "compose",
    "WarmRestarts": "warm_restarts",
    "build": "builder",
    "parse": "parser",
}

__all__ = [*_NAMES]

__getattr__, __dir__ = attributes(__name__, _NAMES)
