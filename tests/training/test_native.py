"""What a run computes in C++: what it says of it, and runs that were begun otherwise."""

import json
import re

import keras
import numpy as np
import pytest
from commands import last_arrays, metrics
from native_operations import needs_operations

from tfsc.errors import Interrupted, RecipeError, RunDirectoryError
from tfsc.native import compiler, library
from tfsc.recipe import Recipe
from tfsc.runs.run_directory import run_path
from tfsc.training import run as run_module
from tfsc.training.callbacks import StopOnSignal
from tfsc.training.export_checkpoint import export_checkpoint

# The flags that --native is in the place of.
_NOTHING = {"norm": False, "pointwise": False, "winograd": False, "augment": False}
_BEFORE = ("winograd", "fused_norm", "fused_augment")
_ROUNDING = "the same within rounding, not to the last bit"


def _recipe(run_dir, **changes):
    """Every operation in C++ has a place in it."""
    settings = {
        "dataset": "digits",
        "model": "resnet_v2([1])",
        "train_examples": 100,
        "batch_size": 25,
        "epochs": 2,
        "schedule": "[1e-3,0]lin[1e-4,2]",
        "export": False,
        "run_dir": str(run_dir),
    }
    return Recipe(**{**settings, **changes})


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    monkeypatch.setattr(run_module, "plot_curves", lambda path, *_: path.write_bytes(b"a picture"))


def _begin(recipe, monkeypatch):
    """Train an epoch of two, to a checkpoint."""

    def stop(self, batch, logs=None):
        raise Interrupted(15)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(StopOnSignal, "on_test_batch_end", stop)
        run_module.run(recipe)


def _without_compiler(monkeypatch):
    def load(products="float32"):
        raise compiler.NativeError("there is no C++ compiler g++ (CXX names another)")

    monkeypatch.setattr(library, "load", load)


def _log(run_dir):
    return [line[20:] for line in (run_dir / "train.log").read_text().splitlines()]


def _starts(run_dir):
    return json.loads((run_dir / "provenance.json").read_text())["starts"]


def _assert_equal_bits(one, other):
    mine, theirs = last_arrays(one), last_arrays(other)
    assert mine.keys() == theirs.keys()
    assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)
    assert metrics(one) == metrics(other)


@pytest.fixture(scope="module", params=["off", "auto"])
def whole(request, tmp_path_factory):
    """A value of --native, and a run by it that nothing interrupted."""
    if request.param == "auto" and not library.is_available():
        pytest.skip("no native operations")
    path = tmp_path_factory.mktemp("native") / "whole"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_module, "plot_curves", lambda path, *_: path.write_bytes(b""))
        run_module.run(_recipe(path, native=request.param))
    return request.param, path


@needs_operations
def test_cpp_is_the_default_and_changes_rounding_alone(tmp_path):
    runs = {"off": {"native": "off"}, "by default": {}}
    for name, changes in runs.items():
        run_module.run(_recipe(tmp_path / name, **changes, epochs=1))
    for one, other in zip(*(metrics(tmp_path / name) for name in runs), strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-3)
        assert one["train_loss"] != other["train_loss"]  # or nothing was compared
    used = {name: _starts(tmp_path / name)[0]["native"] for name in runs}
    assert used["off"] == {"level": "", "library": "", **_NOTHING}
    compiled = {"level": compiler.level(), "library": compiler.key()}
    assert used["by default"] == {**compiled, **dict.fromkeys(_NOTHING, True)}


@needs_operations
def test_a_run_names_no_more_than_has_a_place_in_it(tmp_path):
    run_module.run(_recipe(tmp_path / "run", model="caffe_cifar10", augment="none", epochs=1))
    (start,) = _starts(tmp_path / "run")
    assert start["native"] == {"level": "", "library": "", **_NOTHING}


def test_without_a_compiler_it_is_as_off_and_one_line_says_why(whole, tmp_path, monkeypatch):
    native, path = whole
    _without_compiler(monkeypatch)
    run_module.run(_recipe(tmp_path / "run"))
    (line,) = [line for line in _log(tmp_path / "run") if "C++" in line]
    assert line == (
        "--native=auto: nothing in C++ here, as with off (there is no C++ compiler g++ (CXX names "
        "another))"
    )
    if native == "off":
        _assert_equal_bits(path, tmp_path / "run")
    assert not any("C++" in line for line in _log(path))


def test_what_was_asked_for_and_cannot_be_had_makes_no_run_directory(tmp_path, monkeypatch):
    _without_compiler(monkeypatch)
    with pytest.raises(RecipeError, match=r"^--native=on: cannot be done here: there is no C"):
        run_module.run(_recipe(tmp_path / "run", native="on"))
    assert not (tmp_path / "run").exists()


@needs_operations
@pytest.mark.slow  # in short: tests/training/test_checkpoint.py, arrays by other numbers
def test_a_run_that_asked_for_cpp_can_be_exported_without_it(tmp_path, monkeypatch):
    run_module.run(_recipe(tmp_path / "run", native="on", epochs=1))
    _without_compiler(monkeypatch)
    out = export_checkpoint(tmp_path / "run", "last", "network", tmp_path / "export")
    assert "--native=on\n" in (out / "recipe.flags").read_text()
    exported = keras.saving.load_model(out / "network.keras", safe_mode=True)
    trained = last_arrays(tmp_path / "run")
    gamma = next(name for name in trained if re.match(r"network/\d+/stem_bn/gamma", name))
    np.testing.assert_array_equal(exported.get_layer("stem_bn").gamma, trained[gamma])


@needs_operations
def test_a_run_that_goes_on_elsewhere_says_that_it_rounds_otherwise(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path / "run")
    _begin(recipe, monkeypatch)
    with monkeypatch.context() as patch:
        _without_compiler(patch)
        _begin(recipe, patch)
    run_module.run(recipe)  # as it was begun: nothing to say
    warnings = [line for line in _log(tmp_path / "run") if _ROUNDING in line]
    assert warnings == [
        f"warning: begun with norm, pointwise, winograd, augment ({compiler.level()}, "
        f"{compiler.key()}) in C++, goes on with nothing: {_ROUNDING}"
    ]


def _as_before(run_dir, **flags):
    """Make a run directory what a version before --native had left."""
    path = run_dir / "recipe.flags"
    kept = [
        line for line in path.read_text().splitlines() if not re.match("--(native|bf16_)", line)
    ]
    lines = [f"--{name}={flags.get(name, 'off')}" for name in _BEFORE]
    path.write_text("\n".join([*kept, *lines]) + "\n")
    starts = _starts(run_dir)
    for start in starts:
        native = start.pop("native")
        start |= {"winograd": native["winograd"], "fused_norm": native["norm"]}
        start |= {"fused_augment": native["augment"], "native_level": native["level"]}
    (run_dir / "provenance.json").write_text(json.dumps({"starts": starts}))


def _begin_before(recipe, monkeypatch, **flags):
    """Begin a run as a version before --native did: under another digest."""
    with monkeypatch.context() as patch:
        patch.setattr(Recipe, "digest", "0123456789abcdef")
        _begin(recipe, patch)
    _as_before(run_path(recipe), **flags)


def test_a_run_begun_before_native_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    native, path = whole
    recipe = _recipe(tmp_path / "run", native=native)
    _begin_before(recipe, monkeypatch, **dict.fromkeys(_BEFORE, native))
    run_module.run(recipe)
    assert "resuming after step 4 of 8" in _log(tmp_path / "run")
    # The code in C++ of a version before is not known to be today's.
    warned = any(_ROUNDING in line for line in _log(tmp_path / "run") if "warning" in line)
    assert warned == (native == "auto")
    _assert_equal_bits(path, tmp_path / "run")


def test_a_run_begun_before_native_is_not_todays_default(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path / "run", native="off")
    _begin_before(recipe, monkeypatch)
    with pytest.raises(RunDirectoryError, match=r"Its value and yours: native: off, auto$"):
        run_module.run(recipe.replace(native="auto"))


@needs_operations
@pytest.mark.slow  # in short: test_provenance.py's records of before --native
def test_one_operation_alone_cannot_be_said_now_and_going_on_with_all_says_so(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("tfsc.training.build.use_winograd", lambda *_: False)
        _begin_before(_recipe(tmp_path / "run"), patch, fused_norm="auto", fused_augment="auto")
    run_module.run(_recipe(tmp_path / "run"))
    level = compiler.level()
    assert (
        f"warning: begun with norm, augment ({level}, of another version) in C++, goes on with "
        f"norm, pointwise, winograd, augment ({level}, {compiler.key()}): {_ROUNDING}"
    ) in _log(tmp_path / "run")
