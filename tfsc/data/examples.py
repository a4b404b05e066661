"""What a dataset is once it is decoded: uint8 images with labels, in the official split."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Images uint8 [n, height, width, channels] with labels int32 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        return Examples(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Source:
    """A dataset in its official split.

    Attributes:
        name, version: as TFDS has them.
        train, test: the official split.
        class_names: one for each label.
        digest: 16 hex digits over all arrays: which data a result comes from.
    """

    name: str
    version: str
    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    digest: str


def array_digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def arrays(train: Examples, test: Examples) -> dict[str, np.ndarray]:
    return {
        "train_images": train.images,
        "train_labels": train.labels,
        "test_images": test.images,
        "test_labels": test.labels,
    }


def make_source(
    name: str, version: str, train: Examples, test: Examples, class_names: tuple[str, ...]
) -> Source:
    digests = [array_digest(array) for array in arrays(train, test).values()]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return Source(name, version, train, test, class_names, digest)
