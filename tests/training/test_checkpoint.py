"""Checkpoints: whole or absent, checked on load, the right ones kept."""

import hashlib
import io
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tfsc import files
from tfsc.errors import RunDirectoryError
from tfsc.training.checkpoint import CheckpointStore


def _state(value=0.0):
    return {
        "network/0000/w": keras.Variable(np.full((3, 2), value, np.float32)),
        "optimizer/0000/iteration": keras.Variable(int(value), dtype="int64"),
    }


def _values(state):
    return {name: variable.numpy().tolist() for name, variable in state.items()}


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", "digest", keep=2)


def _steps(store):
    return [checkpoint.step for checkpoint in store.all()]


def test_a_new_run_has_no_checkpoint(store):
    assert store.restore_newest(_state()) is None


def test_the_newest_is_restored_with_its_progress(store):
    store.save(_state(1), 10, {"history": [1]})
    store.save(_state(2), 20, {"history": [1, 2]})
    state = _state()
    checkpoint = store.restore_newest(state)
    assert (checkpoint.step, checkpoint.progress) == (20, {"history": [1, 2]})
    assert _values(state) == _values(_state(2))


def test_the_last_n_and_the_best_are_kept(store):
    for step in (1, 2, 3, 4, 5):
        store.save(_state(step), step, {}, best_step=2 if step >= 2 else 1)
    assert _steps(store) == [5, 4, 2]
    assert len(list(store.directory.iterdir())) == 6  # a record and its arrays each
    assert all(checkpoint.arrays_path.exists() for checkpoint in store.all())


def test_saving_a_step_again_replaces_it(store):
    store.save(_state(1), 7, {"n": 1})
    store.save(_state(2), 7, {"n": 2})
    state = _state()
    assert store.restore_newest(state).progress == {"n": 2}
    assert _values(state) == _values(_state(2))


def _flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def _empty(path):
    path.write_bytes(b"")


def _become_a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("tried", "damage"),
    [
        ("newest checkpoint with one bit flipped", _flip_a_byte),
        ("newest checkpoint truncated", _truncate),
        ("newest checkpoint empty", _empty),
        ("newest checkpoint missing", Path.unlink),
        ("a directory in the place of the newest checkpoint", _become_a_directory),
    ],
)
def test_a_damaged_newest_falls_back_to_the_one_before(store, tried, damage, caplog, fault):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    damage(store.all()[0].arrays_path)
    state = _state()
    assert store.restore_newest(state).step == 10
    assert _values(state) == _values(_state(1))
    (warning,) = caplog.messages
    assert "step-00000020-" in warning and "going on from" in warning
    assert warning.endswith(f"{store.all()[1].arrays_path.name} instead")
    fault("storage", tried, f"warns and goes on: {warning}")


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, _empty, lambda p: p.write_text("[]")])
def test_a_damaged_record_falls_back_too(store, damage, caplog):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    damage(store.directory / "step-00000020.json")
    assert store.restore_newest(_state()).step == 10
    (warning,) = caplog.messages
    assert "step-00000020.json is damaged" in warning and "step-00000010-" in warning


def test_a_changed_number_in_a_record_is_found(store, caplog):
    # Valid JSON, and metrics.csv would be written from it.
    store.save(_state(1), 10, {"history": [{"val_accuracy": 0.75}]})
    path = store.directory / "step-00000010.json"
    path.write_text(path.read_text().replace("0.75", "0.95"))
    with pytest.raises(RunDirectoryError, match=r"step-00000010\.json is damaged: its digest"):
        store.restore_newest(_state())


def test_a_damaged_older_one_is_not_mentioned(store, caplog):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    _truncate(store.all()[1].arrays_path)
    assert store.restore_newest(_state()).step == 20
    assert caplog.messages == []


def test_all_damaged_is_an_error_and_deletes_nothing(store, fault):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    for path in store.directory.glob("*.npz"):
        _flip_a_byte(path)
    before = {path: path.read_bytes() for path in store.directory.iterdir()}
    with pytest.raises(RunDirectoryError, match=r"no checkpoint .* Nothing was deleted") as caught:
        store.restore_newest(_state())
    assert {path: path.read_bytes() for path in store.directory.iterdir()} == before
    message = str(caught.value)
    assert "step-00000010-" in message and "step-00000020-" in message
    fault("storage", "every checkpoint damaged", f"refused: {message}")


def _replace_arrays(store, save):
    """A checkpoint from elsewhere: other content under a digest and a record that are right."""
    store.save(_state(1), 10, {})
    checkpoint = store.all()[0]
    buffer = io.BytesIO()
    save(buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path = store.directory / f"step-00000010-{digest[:8]}.npz"
    path.write_bytes(buffer.getvalue())
    meta = files.unsealed(checkpoint.meta_path.read_text())
    meta |= {"arrays": path.name, "sha256": digest}
    checkpoint.meta_path.write_text(files.sealed(meta))


class _Payload:
    """Unpickled, it would make a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_objects_are_refused_and_not_run(store, tmp_path, fault):
    trap = tmp_path / "trap"
    objects = np.array([_Payload(trap)], dtype=object)
    _replace_arrays(store, lambda file: np.savez(file, w=objects))
    with pytest.raises(RunDirectoryError, match=r"none of tfsc's: Object arrays cannot") as caught:
        store.restore_newest(_state())
    assert not trap.exists()
    fault("security", "checkpoint with a pickled object", f"refused: {caught.value}")


def test_an_archive_that_is_none_is_refused(store):
    _replace_arrays(store, lambda file: file.write(b"PK\x03\x04 and then nothing"))
    with pytest.raises(RunDirectoryError, match="none of tfsc's"):
        store.restore_newest(_state())


@pytest.mark.parametrize(
    "name", ["../outside.npz", "..", "/etc/passwd", "step-00000020-00000000.npz", "", None, 3]
)
def test_a_record_cannot_name_a_file_elsewhere(store, name, fault):
    store.save(_state(1), 10, {})
    record = store.directory / "step-00000010.json"
    meta = files.unsealed(record.read_text())
    record.write_text(files.sealed(meta | {"arrays": name}))
    with pytest.raises(RunDirectoryError, match=r"step-00000010\.json is damaged: ") as caught:
        store.restore_newest(_state())
    if name == "../outside.npz":
        fault("security", "checkpoint record that names ../outside.npz", f"refused: {caught.value}")


def test_the_newest_sound_one_is_found(store):
    assert store.newest_sound() is None
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    assert store.newest_sound().step == 20
    _truncate(store.all()[0].arrays_path)
    assert store.newest_sound().step == 10


def test_arrays_without_a_record_are_no_checkpoint(store):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    arrays_path = store.all()[0].arrays_path
    (store.directory / "step-00000020.json").unlink()  # killed between the two writes
    assert store.restore_newest(_state()).step == 10
    store.save(_state(3), 30, {})
    assert not arrays_path.exists()


def test_several_arrays_without_any_record_are_not_trained_over(store):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    for path in store.directory.glob("*.json"):
        path.unlink()
    before = sorted(store.directory.iterdir())
    with pytest.raises(RunDirectoryError, match="not one record"):
        store.restore_newest(_state())
    assert sorted(store.directory.iterdir()) == before


def test_a_kill_while_a_step_is_saved_again_keeps_its_first_save(store, monkeypatch):
    store.save(_state(1), 7, {"n": 1})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tfsc.files.write_text", killed)  # after the arrays, before the record
        with pytest.raises(KeyboardInterrupt):
            store.save(_state(2), 7, {"n": 2})
    state = _state()
    assert store.restore_newest(state).progress == {"n": 1}
    assert _values(state) == _values(_state(1))


def test_what_was_just_saved_stays_even_below_a_damaged_newer_one(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints", "digest", keep=1)
    store.save(_state(2), 20, {})
    _flip_a_byte(store.all()[0].arrays_path)
    store.save(_state(1), 10, {})
    state = _state()
    assert store.restore_newest(state).step == 10


def test_another_recipes_checkpoint_is_refused(store):
    store.save(_state(1), 10, {})
    other = CheckpointStore(store.directory, "other digest")
    with pytest.raises(RunDirectoryError, match="another recipe"):
        other.restore(other.all()[0], _state())


def test_a_checkpoint_of_the_same_recipe_in_an_earlier_version_is_read(store):
    store.save(_state(1), 10, {})
    now = CheckpointStore(store.directory, "other digest", earlier={"digest"})
    state = _state()
    assert now.restore_newest(state).step == 10
    assert _values(state) == _values(_state(1))
    now.save(_state(2), 20, {})
    assert [found.recipe_digest for found in now.all()] == ["other digest", "digest"]


def test_a_checkpoint_of_another_network_is_refused_and_assigns_nothing(store):
    store.save(_state(1), 10, {})
    state = _state() | {"network/0001/more": keras.Variable(np.zeros(2))}
    with pytest.raises(RunDirectoryError, match=r"1 variables differ, network/0001/more"):
        store.restore(store.all()[0], state)
    assert state["network/0000/w"].numpy().max() == 0


def test_variables_of_other_numbers_are_told_apart_by_their_paths(store):
    """Keras lists a network's layers in another order where C++ computes two as one."""
    one, other = keras.Variable(np.full(3, 1.0)), keras.Variable(np.full(3, 2.0))
    store.save({"network/0000/a/w": one, "network/0001/b/w": other}, 10, {})
    state = {name: keras.Variable(np.zeros(3)) for name in ("network/0000/b/w", "network/0001/a/w")}
    store.restore(store.all()[0], state)
    assert _values(state) == {"network/0000/b/w": [2.0] * 3, "network/0001/a/w": [1.0] * 3}
    # Two of one path are not: the numbers count.
    state = {name: keras.Variable(np.zeros(3)) for name in ("network/0000/a/w", "network/0002/a/w")}
    with pytest.raises(RunDirectoryError, match="2 variables differ, network/0001/b/w first"):
        store.restore(store.all()[0], state)


def test_nothing_is_pickled(store):
    store.save(_state(1), 10, {"history": []})
    with np.load(store.all()[0].arrays_path, allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(_state())
    assert json.loads(store.all()[0].meta_path.read_text())["recipe_digest"] == "digest"


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1"):
        CheckpointStore(tmp_path, "digest", keep=0)
