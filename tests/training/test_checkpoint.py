"""Checkpoints: whole or absent, checked on load, the right ones kept."""

import json

import keras
import numpy as np
import pytest

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


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, lambda path: path.unlink()])
def test_a_damaged_newest_falls_back_to_the_one_before(store, damage, caplog):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    damage(store.all()[0].arrays_path)
    state = _state()
    assert store.restore_newest(state).step == 10
    assert _values(state) == _values(_state(1))
    assert "step-00000020-" in caplog.text


def test_a_damaged_record_falls_back_too(store):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    (store.directory / "step-00000020.json").write_text('{"step": 20')
    assert store.restore_newest(_state()).step == 10


def test_all_damaged_is_an_error_and_deletes_nothing(store):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    for path in store.directory.glob("*.npz"):
        _flip_a_byte(path)
    before = sorted(store.directory.iterdir())
    with pytest.raises(RunDirectoryError, match=r"every checkpoint .* nothing was deleted"):
        store.restore_newest(_state())
    assert sorted(store.directory.iterdir()) == before


def test_arrays_without_a_record_are_no_checkpoint(store):
    store.save(_state(1), 10, {})
    store.save(_state(2), 20, {})
    arrays_path = store.all()[0].arrays_path
    (store.directory / "step-00000020.json").unlink()  # killed between the two writes
    assert store.restore_newest(_state()).step == 10
    store.save(_state(3), 30, {})
    assert not arrays_path.exists()


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


def test_a_checkpoint_of_another_network_is_refused_and_assigns_nothing(store):
    store.save(_state(1), 10, {})
    state = _state() | {"network/0001/more": keras.Variable(np.zeros(2))}
    with pytest.raises(RunDirectoryError, match=r"1 variables differ, network/0001/more"):
        store.restore(store.all()[0], state)
    assert state["network/0000/w"].numpy().max() == 0


def test_nothing_is_pickled(store):
    store.save(_state(1), 10, {"history": []})
    with np.load(store.all()[0].arrays_path, allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(_state())
    assert json.loads(store.all()[0].meta_path.read_text())["recipe_digest"] == "digest"


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1"):
        CheckpointStore(tmp_path, "digest", keep=0)
