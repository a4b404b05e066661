"""The families of averages over the weights: what `--average` takes; without TensorFlow."""

from tfsc.text.family import Catalog, Family
from tfsc.text.parameters import Number, Whole

_DECAY = Number(above=True, high=0.999999, about="decay of the average in one movement")

AVERAGES = Catalog(
    "an average",
    (
        Family("none", {}, "No average.", builder="averaging:none"),
        Family(
            "ema",
            {
                "decay": _DECAY,
                "every": Whole(
                    default=1, low=1, high=1_000_000, about="steps between two movements"
                ),
                "power": Number(
                    default=0.0,
                    high=100.0,
                    about="the decay grows: at step t of T it is decay·(t/T)^power",
                ),
            },
            "Exponential moving average of all weights, BatchNorm statistics included, evaluated "
            "in columns of its own.",
            builder="averaging:ema",
        ),
        Family(
            "lookahead",
            {
                "decay": _DECAY,
                "every": Whole(
                    default=5, low=1, high=1_000_000, about="steps between two movements"
                ),
                "power": Number(default=3.0, high=100.0, about="as of ema"),
            },
            "The same, and each time it has moved, and at the end, all weights go to it "
            "(airbench's; Zhang's is an optimizer).",
            builder="averaging:lookahead",
        ),
    ),
    "tfsc.averages",
)
