"""The families of augmentation: what `--augment` takes; without TensorFlow."""

from tfsc.text.family import Catalog, Family
from tfsc.text.parameters import Number, Whole, Word

AUGMENTATIONS = Catalog(
    "an augmentation",
    (
        Family(
            "shift",
            {
                "factor": Number(
                    above=True,
                    high=1.0,
                    about="largest shift in each direction as a fraction of the image's size",
                )
            },
            "Shift each image by a random distance, sub-pixel; what is missing is the border.",
            builder="shift:RandomShift",
        ),
        Family(
            "crop",
            {
                "size": Whole(
                    low=1, high=1000, about="largest shift in each direction in whole pixels"
                )
            },
            "Shift each image by whole pixels, mirrored at the border (airbench: crop(2)).",
            builder="crop:ReflectCrop",
        ),
        Family(
            "flip",
            {
                "which": Word(
                    default="random",
                    choices=("random", "alternating"),
                    leading=True,
                    about="each image with probability 1/2 in each epoch, or in every other epoch",
                )
            },
            "Mirror images left-right.",
        ),
    ),
    "tfsc.augment",
)
