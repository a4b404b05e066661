"""List the augmentations with their parameters, or draw what one makes of images.

    python -m tfsc.augment
    python -m tfsc.augment --show='crop(4) flip' --dataset=cifar10 --out=augmented.png

A row an image, first as it is, then as several epochs see it.
"""

from pathlib import Path

from absl import flags

from tfsc.augment.catalog import AUGMENTATIONS
from tfsc.command_line import command, families
from tfsc.text.family import Calls

_DATASET = flags.DEFINE_string("dataset", "digits", "Whose training images, as in tfsc.train.")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "TFDS directory, as in tfsc.train.")
_OUT = flags.DEFINE_string("out", "augmented.png", "PNG file to write.")
_IMAGES, _EPOCHS = 6, 8


def draw(calls: Calls) -> None:
    """Write the picture."""
    command.import_tensorflow()  # only now: the list comes at once
    import numpy as np

    from tfsc.augment.builder import build
    from tfsc.data import example_and_epoch
    from tfsc.data.source import load
    from tfsc.reporting.plots import plot_image_grid

    images = load(_DATASET.value, _DATA_DIR.value).train.images
    layer, count = build(calls, seed=0), len(images)
    rows = []
    for index in range(_IMAGES):
        epochs = np.arange(_EPOCHS)
        numbers = epochs * count + index
        visits = example_and_epoch.join(np.full(_EPOCHS, index), epochs)
        repeated = np.repeat(images[index : index + 1], _EPOCHS, axis=0).astype(np.float32)
        seen = layer(repeated, numbers, *([visits] if layer.by_visit else []))
        rows.append(np.concatenate([images[index : index + 1], np.asarray(seen)]))
    titles = ["as it is", *(f"epoch {epoch + 1}" for epoch in range(_EPOCHS))]
    plot_image_grid(Path(_OUT.value), np.stack(rows), titles, f"{_DATASET.value}: {calls}")
    print(f"picture: {_OUT.value}")


if __name__ == "__main__":
    families.run(AUGMENTATIONS, several=True, draw=draw)
