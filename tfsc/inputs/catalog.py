"""What can be done to images before a network: what `--input` takes; without TensorFlow."""

from tfsc.text.family import Catalog, Family
from tfsc.text.parameters import Number, Whole, Word

_MOST_IMAGES = 10_000_000  # a bound that only a typing error exceeds

INPUTS = Catalog(
    "an input step",
    (
        Family(
            "center",
            {
                "mean": Word(
                    default="pixel",
                    choices=("pixel", "channel"),
                    leading=True,
                    about="of each pixel over the training images (Atienza), or of each channel",
                )
            },
            "Subtract the training images' mean, after scaling to 0–1.",
            builder="builder:center",
        ),
        Family(
            "standardize",
            {
                "mean": Word(
                    default="channel",
                    choices=("channel", "pixel", "none"),
                    leading=True,
                    about="what is subtracted first",
                )
            },
            "Subtract the mean and divide by the standard deviation of each channel.",
            builder="builder:standardize",
        ),
        Family(
            "scale",
            {
                "factor": Number(
                    above=True, high=255.0, about="255 gives raw pixels less their mean (Caffe)"
                )
            },
            "Multiply what is left.",
            builder="builder:scale",
        ),
        Family(
            "whiten",
            {
                "count": Whole(
                    default=5000,
                    low=1,
                    high=_MOST_IMAGES,
                    leading=True,
                    about="from how many training images it is computed",
                )
            },
            "A first 2×2 convolution whose outputs are uncorrelated, of which only the bias "
            "trains; airbench's stem.",
            builder="builder:whiten",
        ),
    ),
    "tfsc.inputs",
    ordered=True,
    fault=lambda calls: (
        "center and standardize both subtract a mean: one of them"
        if {"center", "standardize"} <= {call.family for call in calls}
        else None
    ),
)
