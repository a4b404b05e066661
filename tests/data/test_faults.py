"""Damaged datasets and caches: each is named in one line, and decoded again or refused."""

import ctypes
import json
import os
import pickle
import resource
import shutil
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy_tfds import (
    assert_equal,
    empty,
    flip,
    garbage,
    json_list,
    png,
    prepare,
    record,
    rewrite,
    truncate,
)

from tfsc import files
from tfsc.data import cache as decode_cache
from tfsc.data import tfds_directory
from tfsc.data.examples import Examples, make_source
from tfsc.data.source import load
from tfsc.errors import DataError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS directory with a dataset of two files a split; `toy` is a copy to damage."""
    root = tmp_path_factory.mktemp("tfds")
    label = tfds.features.ClassLabel(names=list("abcdefghij"))
    image = tfds.features.Image(shape=(8, 8, 1))
    prepare(root, shape=(8, 8, 1), shards=2, features={"image": image, "label": label})
    return root


@pytest.fixture(scope="module")
def decoded(prepared):
    return tfds_directory.decode(prepared / "toy_images" / "1.0.0")


@pytest.fixture(scope="module")
def digest(decoded):
    return decoded.digest


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TFSC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def toy(prepared, tmp_path, cache):
    """The prepared directory of toy_images, in a root of its own."""
    version = tmp_path / "tfds" / "toy_images" / "1.0.0"
    shutil.copytree(prepared / "toy_images" / "1.0.0", version)
    return version


@pytest.fixture
def records(toy):
    """The first of the two files of 20 training records."""
    return toy / "toy_images-train.tfrecord-00000-of-00002"


@pytest.fixture
def unprivileged():
    """Even root may not read what a file's mode forbids, in this thread and those it starts."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    saved, fewer = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    libc.capget(header, saved)
    libc.capget(header, fewer)
    fewer[0] &= ~(1 << 1 | 1 << 2)  # of the effective ones, DAC_OVERRIDE and DAC_READ_SEARCH
    assert libc.capset(header, fewer) == 0
    yield
    assert libc.capset(header, saved) == 0


def _root(version):
    return str(version.parents[1])


def _refusal(version, name="toy_images"):
    """What load() says of a damaged directory; nothing of it may get into the cache."""
    with pytest.raises(DataError) as caught:
        load(name, _root(version))
    message = str(caught.value)
    assert "\n" not in message
    assert not files.cache_root().exists()
    return message


# --- files of records --------------------------------------------------------------------------


def test_a_missing_file_is_named(toy, records, fault):
    records.unlink()
    message = _refusal(toy)
    assert message == f"{records} is missing; bring the file again"
    fault("data", "TFRecord file missing", f"refused: {message}")


def test_a_missing_file_is_named_with_what_a_copy_left_beside(toy, records):
    records.rename(records.with_name(f".{records.name}.part"))
    assert f"{records} is missing (but there is .{records.name}.part: a copy" in _refusal(toy)


def test_a_truncated_file_is_named(toy, records, fault):
    os.truncate(records, records.stat().st_size - 1)
    message = _refusal(toy)
    assert message == f"{records} is truncated after record 19 of 20; bring the file again"
    fault("data", "TFRecord file truncated", f"refused: {message}")


@pytest.mark.parametrize("place", [None, 0, 4, 9, -1])
def test_a_flipped_bit_is_named_with_its_file(toy, records, place, fault):
    flip(records, place)
    message = _refusal(toy)
    assert message.startswith(f"{records} has changed bytes after record ")
    assert " of 20 (its checksum fails)" in message
    if place is None:
        fault("data", "TFRecord file with one bit flipped", f"refused: {message}")


def test_the_second_file_and_the_other_split_are_told_apart(toy):
    path = toy / "toy_images-test.tfrecord-00001-of-00002"
    flip(path, -1)
    assert f"{path} has changed bytes after record 9 of 10" in _refusal(toy)


@pytest.mark.parametrize("count", [0, 1, 19, 21])
def test_a_file_with_another_number_of_whole_records_is_named(toy, records, count, fault):
    rewrite(records, lambda all: (all + all)[:count])
    message = _refusal(toy)
    assert f"{records} has {count} records, must have 20 (dataset_info.json)" in message
    if count == 19:
        fault("data", "TFRecord file cut between two records", f"refused: {message}")


def test_an_empty_file_is_named(toy, records):
    empty(records)
    assert f"{records} has 0 records, must have 20" in _refusal(toy)


def test_the_file_of_another_split_is_named(toy, records):
    shutil.copy(toy / "toy_images-test.tfrecord-00000-of-00002", records)
    assert f"{records} has 10 records, must have 20" in _refusal(toy)


def test_a_directory_in_the_place_of_a_file_is_named(toy, records):
    records.unlink()
    records.mkdir()
    assert f"{records} cannot be read: Is a directory" in _refusal(toy)


def test_a_file_that_may_not_be_read_is_named(toy, records, unprivileged, fault):
    records.chmod(0)
    message = _refusal(toy)
    assert f"{records} cannot be read: Permission denied" in message
    fault("data", "TFRecord file without read permission", f"refused: {message}")


# --- what the records hold ---------------------------------------------------------------------


def _with_third(new):
    return lambda all: [*all[:2], new, *all[3:]]


def test_one_image_of_another_size_is_named(toy, records, fault):
    rewrite(records, _with_third(record(png(9, 8), 3)))
    message = _refusal(toy)
    assert f"{records} has a wrong record, 3 of 20: an image of shape (9, 8, 1)" in message
    assert "must be (8, 8, 1) (features.json)" in message
    fault("data", "one image of another size than declared", f"refused: {message}")


def test_images_all_of_another_size_than_declared_are_named(toy, records):
    description = (toy / "features.json").read_text()
    (toy / "features.json").write_text(description.replace('"8"', '"16"', 1))
    message = _refusal(toy)
    assert f"{records} has a wrong record, 1 of 20: an image of shape (8, 8, 1)" in message
    assert "must be (16, 8, 1)" in message


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (record(b"garbage", 3), "Unknown image file format"),
        (record(png(8, 8)[:20], 3), "PNG"),
        (record(b"\xff\xd8\xff\xe0 no more of a JPEG", 3), "JPEG"),
        (b"no example", "Could not parse example input"),
        (b"", "is required but could not be found"),
    ],
    ids=["garbage", "png", "jpeg", "no record of TFDS", "empty"],
)
def test_a_record_that_is_not_decoded_is_named(toy, records, new, message, fault):
    rewrite(records, _with_third(new))
    refusal = _refusal(toy)
    assert f"{records} has a wrong record, 3 of 20: " in refusal
    assert message in refusal
    if b"garbage" in new:
        fault("data", "record whose image does not decode", f"refused: {refusal}")


@pytest.mark.parametrize("label", [-1, 10, 255, 2**32 + 3])
def test_a_label_out_of_range_is_named(toy, label, fault):
    path = toy / "toy_images-train.tfrecord-00001-of-00002"
    rewrite(path, _with_third(record(png(8, 8), label)))
    message = _refusal(toy)
    assert message.startswith(f"{path}: record 3 of 20 has label {label}, must be 0 to 9")
    if label == 10:
        fault("data", "label out of range", f"refused: {message}")


@pytest.mark.parametrize("lengths", [[], ["0"]])
def test_an_empty_split_is_named(toy, lengths, fault):
    info = json.loads((toy / "dataset_info.json").read_text())
    info["splits"][1]["shardLengths"] = lengths
    (toy / "dataset_info.json").write_text(json.dumps(info))
    message = _refusal(toy)
    assert f"split 'test' of {toy} is empty" in message
    if not lengths:
        fault("data", "empty split", f"refused: {message}")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_images_of_another_type_are_refused(tmp_path, cache, dtype):
    image = tfds.features.Image(shape=(8, 8, 1), dtype=dtype)
    version = prepare(tmp_path, shape=(8, 8, 1), image=image)
    assert f"images must be uint8, received {np.dtype(dtype)}" in _refusal(version)


# --- descriptions and half-copied directories --------------------------------------------------


@pytest.mark.parametrize("damage", [truncate, empty, garbage, json_list])
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_refused(toy, name, damage):
    damage(toy / name)
    assert f"{toy} is no readable TFDS directory" in _refusal(toy)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_directory_without_its_description_is_incomplete(toy, name, monkeypatch, fault):
    monkeypatch.setattr(tfds_directory, "download", None)
    (toy / name).unlink()
    message = _refusal(toy)
    assert f"{toy} is incomplete: it has no {name}; bring the directory again" in message
    if name == "dataset_info.json":
        fault("data", "dataset directory copied by half", f"refused: {message}")


def test_a_whole_version_is_read_though_a_newer_one_is_incomplete(toy, decoded):
    newer = toy.with_name("1.0.1")
    newer.mkdir()
    (newer / "features.json").write_text("{}")
    assert_equal(load("toy_images", _root(toy)), decoded)
    assert f"{newer} is incomplete" in _refused("toy_images:1.0.1", toy)


def _refused(name, version):
    with pytest.raises(DataError) as caught:
        load(name, _root(version))
    return str(caught.value)


def test_an_unfinished_preparation_is_named_where_nothing_can_be_downloaded(tmp_path, monkeypatch):
    def getaddrinfo(host, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    (tmp_path / "cifar100" / "incomplete.A1B2C3_3.0.2").mkdir(parents=True)
    with pytest.raises(DataError, match=r"\(only unfinished: incomplete.A1B2C3_3.0.2\) and could"):
        load("cifar100", str(tmp_path))


def test_a_damaged_default_configuration_is_named(tmp_path):
    class TfscTestDamaged(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="small")]  # noqa: RUF012, as TFDS has it

        def _info(self):
            image = tfds.features.Image(shape=(8, 8, 1))
            label = tfds.features.ClassLabel(num_classes=10)
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"image": image, "label": label})
            )

        def _split_generators(self, download_manager):
            raise AssertionError("must not be called")

        _generate_examples = _split_generators

    version = tmp_path / "tfsc_test_damaged" / "small" / "1.0.0"
    version.mkdir(parents=True)
    for damage in (None, garbage):
        if damage:
            damage(version / "dataset_info.json")
        with pytest.raises(DataError, match=str(tmp_path / "tfsc_test_damaged")) as caught:
            load("tfsc_test_damaged", str(tmp_path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "received"),
    [(b"a\nb\n", "2 names, 2 different"), (b"a\n" * 10, "10 names, 1 different"), (b"", "0 names")],
)
def test_names_that_are_not_one_a_class_are_refused(toy, names, received):
    (toy / "label.labels.txt").write_bytes(names)
    message = _refusal(toy)
    assert message.startswith(f"{toy / 'label.labels.txt'} must name each of the 10 classes")
    assert received in message


def test_names_that_are_no_text_are_refused(toy):
    data = (toy / "label.labels.txt").read_bytes()
    (toy / "label.labels.txt").write_bytes(b"\xe2" + data[1:])
    assert f"{toy / 'label.labels.txt'} cannot be read: 'utf-8' codec" in _refusal(toy)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "label.labels.txt", "."])
def test_a_description_that_may_not_be_read_is_named(toy, name, unprivileged):
    (toy / name).chmod(0)
    message = _refusal(toy)
    (toy / name).chmod(0o700)
    assert message.startswith(str(toy / name)) and message.endswith("Permission denied")


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "label.labels.txt"])
def test_a_directory_in_the_place_of_a_description_is_named(toy, name):
    (toy / name).unlink()
    (toy / name).mkdir()
    assert _refusal(toy) == f"{toy / name} cannot be read: Is a directory"


DESCRIPTIONS = ["dataset_info.json", "features.json", "label.labels.txt"]
RECORDS = [
    f"toy_images-{split}.tfrecord-0000{shard}-of-00002"
    for split in ("train", "test")
    for shard in range(2)
]


DAMAGES = {
    "name": st.sampled_from(DESCRIPTIONS + RECORDS),
    "cut": st.booleans(),
    "share": st.floats(0, 1, exclude_max=True),
    "bit": st.integers(0, 7),
}


@settings(max_examples=14, deadline=None)
@given(**DAMAGES)
@example(name=RECORDS[0], cut=True, share=0.0, bit=0)
@example(name=RECORDS[3], cut=False, share=0.999, bit=7)
@example(name=DESCRIPTIONS[0], cut=False, share=0.5, bit=0)
@example(name=DESCRIPTIONS[1], cut=False, share=0.5, bit=3)
@example(name=DESCRIPTIONS[2], cut=False, share=0.5, bit=1)  # a name, or no longer one a line
@example(name=DESCRIPTIONS[2], cut=True, share=0.5, bit=0)
def test_any_bit_flipped_or_any_end_cut_off_is_refused_or_harmless(prepared, digest, **damage):
    _assert_refused_or_harmless(prepared, digest, **damage)


@pytest.mark.slow  # above, fewer of them
@settings(max_examples=200, deadline=None)
@given(**DAMAGES)
def test_many_bits_flipped_and_ends_cut_off_are_refused_or_harmless(prepared, digest, **damage):
    _assert_refused_or_harmless(prepared, digest, **damage)


def _assert_refused_or_harmless(prepared, digest, name, cut, share, bit):
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSC_CACHE_DIR", f"{directory}/cache")
        version = Path(directory, "toy_images", "1.0.0")
        shutil.copytree(prepared / "toy_images" / "1.0.0", version)
        path = version / name
        place = int(share * path.stat().st_size)
        if cut:
            os.truncate(path, place)
        else:
            data = bytearray(path.read_bytes())
            data[place] ^= 1 << bit
            path.write_bytes(data)
        try:
            result = load("toy_images", directory)
        except DataError as error:
            assert str(version if name in DESCRIPTIONS else path) in str(error)
            assert "\n" not in str(error)
            return
        # Checksums cover all of a record, so what was decoded is a description's: a comment, a
        # size, or names of classes. Those make it another entry of the cache; arrays stay.
        assert name in DESCRIPTIONS
        assert result.digest == digest
        assert len(set(result.class_names)) == 10


# --- the cache ---------------------------------------------------------------------------------


def _entry(cache):
    (entry,) = cache.iterdir()
    return entry


ARRAYS = ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"]


@pytest.fixture
def decodings(decoded, prepared, monkeypatch):
    """The toy is in the cache; the list grows with each time that it is decoded."""
    calls = []

    def decode(directory):
        calls.append(directory)
        return decoded

    monkeypatch.setattr(tfds_directory, "decode", decode)
    load("toy_images", str(prepared))
    calls.clear()
    return calls


def _assert_found_and_mended(entry, damaged_file, caplog, prepared, decoded, decodings):
    assert_equal(load("toy_images", str(prepared)), decoded)
    assert len(decodings) == 1
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert f"decode cache {entry}" in warning.getMessage()
    assert damaged_file in warning.getMessage()
    assert_equal(load("toy_images", str(prepared)), decoded)
    assert len(decodings) == len(caplog.records) == 1


def _write_at(place, data):
    def write(path):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(data)

    return write


def _break_the_brace_of_the_header(path):
    _write_at(path.read_bytes().index(b"}"), b"=")(path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncate, id="truncated"),
        pytest.param(empty, id="empty"),
        pytest.param(Path.unlink, id="deleted"),
        pytest.param(flip, id="a byte"),
        pytest.param(lambda path: flip(path, -1), id="the last byte"),
        pytest.param(_write_at(0, b"?"), id="the file's kind"),
        pytest.param(_write_at(9, b"\x01"), id="the header's length"),
        # NumPy reads its header as Python, and lets the errors of Python's parser through.
        pytest.param(_write_at(21, b","), id="the header's dtype"),
        pytest.param(_break_the_brace_of_the_header, id="the header's brace"),
    ],
)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_in_the_cache_is_named_and_decoded_again(
    cache, caplog, prepared, decoded, decodings, name, damage
):
    entry = _entry(cache)
    damage(entry / name)
    _assert_found_and_mended(entry, name, caplog, prepared, decoded, decodings)


def _flip_after(text):
    def change(path):
        flip(path, path.read_bytes().index(text.encode()) + len(text))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncate, id="truncated"),
        pytest.param(empty, id="empty"),
        pytest.param(Path.unlink, id="deleted"),
        pytest.param(garbage, id="text"),
        pytest.param(json_list, id="a list"),
        pytest.param(lambda path: path.write_bytes(b"\xff\x00\xfe"), id="binary"),
        pytest.param(lambda path: path.write_text('{"arrays": []}'), id="arrays of no kind"),
        pytest.param(lambda path: path.write_text('{"arrays": {}}'), id="no arrays"),
        pytest.param(_flip_after('\n "digest": "'), id="the digest"),
        pytest.param(_flip_after('"class_names": [\n  "'), id="a class name"),
        pytest.param(_flip_after('"version": "'), id="the version"),
        pytest.param(_flip_after('"name": "'), id="the name"),
    ],
)
def test_a_damaged_description_in_the_cache_is_named_and_decoded_again(
    cache, caplog, prepared, decoded, decodings, damage
):
    entry = _entry(cache)
    damage(entry / "meta.json")
    _assert_found_and_mended(entry, "meta.json", caplog, prepared, decoded, decodings)


def test_a_damaged_digest_of_an_array_is_found(cache, caplog, prepared, decoded, decodings):
    entry = _entry(cache)
    _flip_after('"train_images": "')(entry / "meta.json")
    # Which of the two is damaged cannot be told.
    _assert_found_and_mended(entry, "", caplog, prepared, decoded, decodings)


def test_nothing_but_whole_entries_is_left_in_the_cache(toy, cache, monkeypatch):
    def fail_at_the_last(path, array, **_):
        Path(path).write_bytes(b"half")
        if "test_labels" in str(path):
            raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", fail_at_the_last)
        first = load("toy_images", _root(toy))
    assert list(cache.iterdir()) == []
    assert_equal(load("toy_images", _root(toy)), first)
    assert sorted(p.name for p in _entry(cache).iterdir()) == sorted([*ARRAYS, "meta.json"])


@pytest.fixture
def entry(cache, decodings):
    """The toy's entry in the cache, to be damaged."""
    return _entry(cache)


def test_a_bit_flipped_in_the_cache_is_found(entry, caplog, prepared, decoded, decodings, fault):
    flip(entry / "train_images.npy")
    _assert_found_and_mended(entry, "train_images.npy", caplog, prepared, decoded, decodings)
    (warning,) = caplog.messages
    fault("data", "decode cache with one bit flipped", f"rebuilt: {_without_key(warning, entry)}")


def _without_key(message, entry):
    """The key depends on the description that this version of TFDS writes."""
    return message.replace(entry.name, "toy_images-1.0.0-…")


def test_pickled_objects_in_the_cache_are_not_loaded(
    entry, caplog, prepared, decoded, decodings, tmp_path, fault
):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harmed",)

    np.save(entry / "test_images.npy", np.array([Harm()], object), allow_pickle=True)
    assert np.load(entry / "test_images.npy", allow_pickle=True) is not None
    (tmp_path / "harmed").unlink()
    _assert_found_and_mended(entry, "test_images.npy", caplog, prepared, decoded, decodings)
    (entry / "test_images.npy").write_bytes(pickle.dumps(Harm()))
    load("toy_images", str(prepared))
    assert not (tmp_path / "harmed").exists()
    fault(
        "data",
        "decode cache holding pickled objects",
        f"rebuilt: {_without_key(caplog.messages[0], entry)}",
    )


def _replace_by_a_file(entry):
    shutil.rmtree(entry)
    entry.write_text("a file")


def _replace_by_an_empty_directory(entry):
    shutil.rmtree(entry)
    entry.mkdir()


def _replace_by_a_broken_link(entry):
    shutil.rmtree(entry)
    entry.symlink_to(entry.with_name("nowhere"))


@pytest.mark.parametrize(
    "damage", [_replace_by_a_file, _replace_by_an_empty_directory, _replace_by_a_broken_link]
)
def test_what_is_no_entry_gives_way_to_one(entry, caplog, prepared, decoded, decodings, damage):
    damage(entry)
    _assert_found_and_mended(entry, "", caplog, prepared, decoded, decodings)


def test_a_link_out_of_the_cache_is_removed_and_what_it_leads_to_is_not(
    entry, caplog, prepared, decoded, decodings, tmp_path, fault
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "meta.json").write_text("somebody's own")
    shutil.rmtree(entry)
    entry.symlink_to(outside)
    _assert_found_and_mended(entry, "meta.json", caplog, prepared, decoded, decodings)
    assert entry.is_dir() and not entry.is_symlink()
    # Nor is a link within an entry.
    (entry / "meta.json").unlink()
    (entry / "link").symlink_to(outside)
    load("toy_images", str(prepared))
    assert (outside / "meta.json").read_text() == "somebody's own"
    message = _without_key(caplog.messages[0], entry)
    fault("data", "decode cache entry replaced by a link to elsewhere", f"rebuilt: {message}")


def test_a_link_to_a_whole_entry_is_one(entry, caplog, prepared, decoded, decodings, tmp_path):
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert_equal(load("toy_images", str(prepared)), decoded)
    assert not decodings and not caplog.records


def test_an_entry_of_another_format_is_left_alone(
    entry, caplog, prepared, decoded, decodings, monkeypatch
):
    monkeypatch.setattr(decode_cache, "FORMAT", decode_cache.FORMAT + 1)
    assert_equal(load("toy_images", str(prepared)), decoded)
    assert len(decodings) == 1 and entry.exists() and not caplog.records


def test_a_cache_that_cannot_be_written_costs_only_a_warning(toy, cache, caplog):
    cache.write_text("a file, no directory")
    assert len(load("toy_images", _root(toy)).train) == 40
    assert caplog.messages == [f"no decode cache: cannot write {cache} (File exists)"]


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_cache_without_permission_costs_one_warning(
    toy, cache, decoded, caplog, unprivileged, mode, fault
):
    cache.mkdir(mode=mode)
    assert_equal(load("toy_images", _root(toy)), decoded)
    cache.chmod(0o700)
    assert caplog.messages == [f"no decode cache: cannot write {cache} (Permission denied)"]
    assert list(cache.iterdir()) == []
    if mode:
        fault("data", "decode cache directory read-only", f"goes on: {caplog.messages[0]}")


@pytest.mark.parametrize("damaged", [False, True])
def test_an_entry_that_can_neither_be_read_nor_removed_costs_one_warning(
    entry, prepared, decoded, decodings, caplog, unprivileged, damaged
):
    if damaged:
        flip(entry / "train_labels.npy")
    entry.chmod(0o500 if damaged else 0)
    entry.parent.chmod(0o500)
    assert_equal(load("toy_images", str(prepared)), decoded)
    entry.parent.chmod(0o700)
    entry.chmod(0o700)
    (message,) = caplog.messages
    name = "train_labels.npy" if damaged else "meta.json"
    assert message.startswith(f"decode cache {entry / name} is damaged (")
    assert message.endswith("at each start, for it cannot be removed (Permission denied)")


@pytest.fixture
def large():
    """A dataset of a megabyte."""
    rng = np.random.default_rng(0)
    examples = Examples(rng.integers(0, 256, (1000, 32, 32, 1), np.uint8), np.zeros(1000, np.int32))
    return make_source("large", "1.0.0", examples, examples, ("a",))


def test_a_full_disk_costs_one_warning_and_leaves_no_half_entry(cache, large, caplog, fault):
    entry = decode_cache.entry_path("large", "1.0.0-0123456789abcdef")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        decode_cache.write(entry, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(cache.iterdir()) == []
    (message,) = caplog.messages
    assert message.startswith(f"no decode cache: cannot write {entry} (")
    decode_cache.write(entry, large)
    assert_equal(decode_cache.read(entry), large)
    fault("data", "file size limit reached in the decode cache", f"goes on: {message}")


def test_an_interrupted_write_leaves_no_half_entry(cache, large, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_cache.write(decode_cache.entry_path("large", "1"), large)
    assert list(cache.iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(cache, large, tmp_path):
    now, hour = time.time(), 3600
    ages = {
        ".large-1.0.0-0123456789abcdef-a1b2_3d4": 25 * hour,
        ".other-3.0.10-0123456789abcdef-a1b2c3d4": 48 * hour,
        # Another process may be writing the first, and the cache may be anyone's directory.
        ".large-1.0.0-0123456789abcdef-young_12": 23 * hour,
        ".config": 48 * hour,
        "other-3.0.10-0123456789abcdef": 48 * hour,
    }
    outside = tmp_path / "outside"
    link = cache / ".large-1.0.0-0123456789abcdef-link_123"
    outside.mkdir()
    (outside / "kept").touch()
    for name, age in ages.items():
        (cache / name).mkdir(parents=True)
        (cache / name / "train_images.npy").write_bytes(b"half")
        os.utime(cache / name, (now - age, now - age))
    link.symlink_to(outside)
    os.utime(link, (0, 0), follow_symlinks=False)
    entry = decode_cache.entry_path("large", "1.0.0-0123456789abcdef")
    decode_cache.write(entry, large)
    assert {path.name for path in cache.iterdir()} == {entry.name, link.name, *list(ages)[2:]}
    assert (outside / "kept").exists()


def test_names_that_are_removed_are_those_that_are_made(cache, large, monkeypatch):
    made = []
    monkeypatch.setattr(
        tempfile,
        "mkdtemp",
        lambda prefix, dir, make=tempfile.mkdtemp: (
            made.append(make(prefix=prefix, dir=dir)) or made[-1]
        ),
    )
    decode_cache.write(decode_cache.entry_path("a/b:1.0.0", "1.0.0-0123456789abcdef"), large)
    assert decode_cache._TEMPORARY.fullmatch(Path(made[0]).name)
