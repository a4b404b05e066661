"""`ResidentExamples`: a training set that lies in the memory of the device that trains."""

import numpy as np
import tensorflow as tf

from tfsc.data.examples import Examples
from tfsc.errors import DataError, one_line

_WORD = np.dtype(np.int64)


class ResidentExamples:
    """Completes batches of indices, in the training graph, from tensors on the device.

    The tensors are captured by reference: the graph holds none of the data.

    Images lie there as rows of 64-bit words, labels as 64-bit integers. TensorFlow has a GPU
    kernel that gathers those; it may not have one for uint8, and keeps int32 tensors in the host's
    memory: either would be copied across at every step.

    Example:
        >>> resident = ResidentExamples(examples)
        >>> batch = resident({"index": indices, "number": numbers})

    Args:
        examples: the training set, copied once.
        device: where to; default: the first GPU, or the CPU where there is none.

    Raises:
        DataError: if the device's memory does not hold it.
    """

    def __init__(self, examples: Examples, device: str = ""):
        count, *self._shape = examples.images.shape
        size = examples.images[0].size
        padding = -size % _WORD.itemsize  # none for most image sizes
        rows = examples.images.reshape(count, size)
        words = np.pad(rows, ((0, 0), (0, padding))).view(_WORD)
        self._size, self._padding = size, padding
        try:
            with tf.device(device or training_device()):
                self._words = tf.constant(words)
                self._labels = tf.constant(examples.labels.astype(_WORD))
        except tf.errors.ResourceExhaustedError as error:
            raise DataError(
                f"--data_on=device: the {examples.images.nbytes / 2**20:.0f} MiB of training "
                f"images do not fit: {one_line(error)}; use --data_on=host"
            ) from error

    def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """{"index", …} → {"image" uint8, "label" int32, …}, by `index` int32 [n]."""
        chosen = batch["index"]
        octets = tf.bitcast(tf.gather(self._words, chosen), tf.uint8)
        if self._padding:
            octets = tf.reshape(octets, [-1, self._size + self._padding])[:, : self._size]
        return {
            "image": tf.reshape(octets, [-1, *self._shape]),
            "label": tf.cast(tf.gather(self._labels, chosen), tf.int32),
            **{name: values for name, values in batch.items() if name != "index"},
        }


def training_device() -> str:
    """Where one replica trains: the first GPU, or the CPU where there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name if gpus else "/device:CPU:0"
