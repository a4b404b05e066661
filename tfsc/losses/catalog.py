"""The families of losses: what `--loss` takes; without TensorFlow."""

from tfsc.text.family import Catalog, Family
from tfsc.text.parameters import Number

LOSSES = Catalog(
    "a loss",
    (
        Family(
            "cross_entropy",
            {
                "smoothing": Number(
                    default=0.0,
                    high=0.99,
                    about="ε: train towards 1 − ε + ε/K for the label and ε/K for each other of K "
                    "classes; validation has the plain loss",
                )
            },
            "Cross-entropy of the softmax of the logits, mean over a batch.",
            builder="cross_entropy:CrossEntropy",
        ),
    ),
    "tfsc.losses",
)
