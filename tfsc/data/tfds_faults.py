"""Which file of a prepared TFDS directory is at fault: read again, file by file.

Only once decoding has failed: what is read there does not tell which file it was in.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfsc.errors import DataError, one_line


def files(builder, split: str) -> list[tuple[Path, int]]:
    """The split's files in order, each with the number of its records.

    Raises:
        DataError: if TFDS makes no file names of the description.
    """
    info = builder.info.splits[split]
    try:
        return list(zip(map(Path, info.filepaths), info.shard_lengths, strict=True))
    except Exception as error:  # of its parsers of templates
        raise DataError(
            f"{builder.data_dir} is no readable TFDS directory: {one_line(error)}"
        ) from error


def undecodable(builder, split: str, reason: str) -> DataError:
    """The error for a split that was not decoded as described: it names the file at fault.

    Args:
        builder: TFDS's, of the prepared directory.
        split: the split's name.
        reason: said if each file by itself is as described.
    """
    if builder.info.file_format.value == "tfrecord":
        for path, length in files(builder, split):
            if fault := _fault(path, length, builder.info.features):
                return DataError(f"{path} {fault}; bring the file again")
    return DataError(f"split '{split}' of {builder.data_dir} is damaged or incomplete: {reason}")


def label_out_of_range(builder, split: str, labels: np.ndarray) -> DataError:
    """The error for labels that are no class: it names the first, and where it is."""
    classes = builder.info.features["label"].num_classes
    index = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
    parts = files(builder, split)
    ends = np.cumsum([length for _, length in parts])
    place = int(np.searchsorted(ends, index, side="right"))
    path, length = parts[place]
    record = index - int(ends[place]) + length + 1
    return DataError(
        f"{path}: record {record} of {length} has label {labels[index]}, must be 0 to "
        f"{classes - 1} ({classes} classes)"
    )


def _fault(path: Path, length: int, features) -> str:
    """What is wrong with a file of `length` records; "" if nothing is."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return f"is missing{_beside(path)}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    records = tf.data.TFRecordDataset(str(path))
    whole = 0
    try:
        for row in records.map(features.deserialize_example).as_numpy_iterator():
            if row["image"].shape != features["image"].shape:
                raise ValueError(f"shape {row['image'].shape}")
            whole += 1
    except tf.errors.DataLossError as error:
        if "truncated" in str(error):
            return f"is truncated after record {whole} of {length}"
        return f"has changed bytes after record {whole} of {length} (its checksum fails)"
    except Exception as error:  # decoders raise errors of many kinds
        what = _undecoded(records.skip(whole), features, error)
        return f"has a wrong record, {whole + 1} of {length}: {what}"
    if whole != length:
        return f"has {whole} records, must have {length} (dataset_info.json)"
    return ""


def _beside(path: Path) -> str:
    """The names of a missing file's leftovers, as a broken-off copy leaves them."""
    if not path.parent.is_dir():
        return ""
    names = sorted(other.name for other in path.parent.iterdir() if path.name in other.name)
    return f" (but there is {', '.join(names)}: a copy broken off?)" if names else ""


def _undecoded(records: tf.data.Dataset, features, error: Exception) -> str:
    """Why the first record is not decoded: its image's shape, or what the decoder says."""
    import tensorflow_datasets as tfds

    declared = features["image"].shape
    try:
        decoders = {"image": tfds.decode.SkipDecoding()}
        record = next(iter(records))
        encoded = features.deserialize_example(record, decoders=decoders)["image"]
        shape = tuple(tf.io.decode_image(encoded, channels=declared[-1]).shape)
    except Exception as alone:
        # Of this record alone: without what the failed pipeline adds.
        return one_line(alone)
    if shape != declared:
        return f"an image of shape {shape}, must be {declared} (features.json)"
    return one_line(error)
