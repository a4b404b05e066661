"""Datasets by name: `load("cifar10", data_dir)`, decoded once and cached on disk."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfsc.data import cache, tfds_directory
from tfsc.data.examples import Examples, Source, make_source

DIGITS = "digits"


def load(name: str, data_dir: str = "") -> Source:
    """Load a dataset.

    Args:
        name: "digits" or a TFDS name, optionally with `/config` and `:version`.
        data_dir: TFDS directory; empty: TFDS_DATA_DIR, then TFDS's own, with download.

    Raises:
        DataError: if the dataset is missing, damaged, or no image classification of one size.
    """
    if name == DIGITS:
        return _digits()
    prepared = tfds_directory.find(name, data_dir)
    if prepared is None:
        prepared = tfds_directory.download(name, data_dir)
    entry = cache.entry_path(name, tfds_directory.key(prepared))
    source = cache.read(entry)
    if source is None:
        print(f"decoding {name} from {prepared} into {entry}", flush=True)
        source = tfds_directory.decode(prepared)
        cache.write(entry, source)
    return source


def names_classes(name: str, data_dir: str = "") -> bool:
    """Whether a dataset that can be loaded has names for its classes, or numbers in their place.

    Args:
        name, data_dir: as in `load`.
    """
    if name == DIGITS:
        return True
    prepared = tfds_directory.find(name, data_dir)
    return prepared is not None and tfds_directory.names_file(prepared).exists()


def _digits() -> Source:
    """scikit-learn's 1,797 real 8×8 digits, as 32×32×3 images.

    The set has no official split: 360 examples, drawn stratified with a fixed seed, are the test
    set. Grey levels 0–16 become 0–255; each pixel becomes a 4×4 block.
    """
    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    labels = bunch.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    every = Examples(images, labels)
    names = tuple(str(name) for name in bunch.target_names)
    return make_source(
        DIGITS, "sklearn", every.take(np.sort(train)), every.take(np.sort(test)), names
    )
