"""Toy datasets, prepared by TFDS itself without network, and ways to damage their files."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def toy_image(index, shape, dtype=np.uint8):
    """An image that holds its index in its first value."""
    image = np.random.default_rng(index).integers(0, 256, shape).astype(dtype)
    image.flat[0] = index
    return image


def prepare(root, name="toy_images", shape=(28, 28, 1), classes=10, shards=1, **changes):
    """Prepare a dataset as TFDS does, 40 training and 20 test images; return its directory."""
    sizes = changes.get("sizes", {"train": 40, "test": 20})
    image = changes.get("image", tfds.features.Image(shape=shape))
    features = {"image": image, "label": tfds.features.ClassLabel(num_classes=classes)}
    features = changes.get("features", features)

    class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, download_manager):
            return {split: self._generate_examples(split) for split in sizes}

        def _generate_examples(self, split):
            for index in range(sizes[split]):
                row = {"image": toy_image(index, shape, image.np_dtype), "label": index % classes}
                yield index, {key: row[key] for key in features}

    Toy.name = name
    builder = Toy(data_dir=root)
    config = tfds.download.DownloadConfig(num_shards=shards)
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_dir)


def assert_equal(one, other):
    assert one.digest == other.digest
    assert (one.name, one.version, one.class_names) == (
        other.name,
        other.version,
        other.class_names,
    )
    for part in ("train", "test"):
        for array in ("images", "labels"):
            mine, theirs = (getattr(getattr(s, part), array) for s in (one, other))
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path, place=None):
    """Change the byte at `place`, or that in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 0x40
    path.write_bytes(data)


def garbage(path):
    path.write_text("garbage")


def json_list(path):
    path.write_text("[]")


def rewrite(path, change):
    """Write a TFRecord file anew, whole: its list of records after `change`."""
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in change(records):
            writer.write(record)


def record(image, label):
    """A record as TFDS writes it, of an encoded image."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def png(height, width):
    """A black image, encoded."""
    return tf.io.encode_png(tf.zeros([height, width, 1], tf.uint8)).numpy()
