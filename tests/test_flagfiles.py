"""Every flagfile in flags/ is a valid recipe, with a header that says how to run it."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from tfsc import recipe
from tfsc.data.batch_plan import BatchPlan
from tfsc.data.examples import Examples
from tfsc.data.split import Split
from tfsc.recipe.flags import define_flags
from tfsc.training.build import build_learner, build_schedule

ROOT = Path(__file__).parent.parent
FLAGFILES = sorted((ROOT / "flags").rglob("*.flags"))


def _read(path: Path) -> recipe.Recipe:
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    define_flags("test", flag_values=values)
    values(["test", f"--flagfile={path}"])
    return recipe.Recipe.from_flags(values)


def test_there_is_one_for_each_system_of_the_seeds():
    rules = ("nesterov", "adam", "rmsprop", "adagrad", "adadelta")
    table_3 = {f"004-clr-table3-{r}-{policy}" for r in rules for policy in ("fixed", "triangular")}
    others = {"000-type1", "000-type1-change3", "000-type2", "000-type2-change3"}
    others |= {"001-adam-l2", "001-adam-l2-b64", "001-adam-l2-b128", "002-clr", "002-multistep"}
    others |= {"004-sgdr", "004-adamwr", "004-1cycle", "004-grow-batch"}
    assert table_3 | others <= {path.stem for path in FLAGFILES if path.parent.name == "seeds"}


def _small(full: recipe.Recipe) -> recipe.Recipe:
    """The same system in small: two stacks of one unit, four images a step."""
    small = {"batch_size": 4, "micro_batch": 2 if full.micro_batch else 0}
    network = full.parsed("model")
    sizes = {"units": (1, 1), "width": 1, "widths": (2,) * len(network.get("widths", ()))}
    small["model"] = str(network.replace(**{n: s for n, s in sizes.items() if n in network}))
    small["input"] = full.input.replace("5000", "50")
    if full.batch_schedule:  # a 32nd of each size, which [batch, 0] begins
        grown = re.sub(r"\[(\d+)", lambda size: f"[{int(size[1]) // 32}", full.batch_schedule)
        small["batch_schedule"] = grown
    return full.replace(**small)


def _examples(size: int) -> tuple[np.ndarray, Examples]:
    images = np.random.default_rng(0).integers(0, 256, (400, size, size, 3)).astype(np.uint8)
    return images, Examples(images, np.arange(400, dtype=np.int32) % 10)


# What changes numbers, or when they change, but not what a step computes.
_NUMBERS = ("schedule", "batch_schedule", "epochs", "steps", "val_split", "threshold", "augment")
_STEPPED: set[str] = set()  # recipes without these whose first step has been taken


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.name)
def test_its_first_step_trains(path):
    """Files of one network, optimizer and loss take it once between them."""
    small = _small(_read(path))
    schedule = build_schedule(small, BatchPlan(400, small.batch_sizes()))
    assert np.isfinite(schedule.value(0))
    own = {name: getattr(small, name) for name in recipe.settings() if name not in _NUMBERS}
    own["wd"] = small.wd > 0
    if repr(own) in _STEPPED:
        return
    _STEPPED.add(repr(own))
    images, examples = _examples(8 if small.dataset == "digits" else 32)
    learner = build_learner(small, Split(examples, examples, None, None), classes=10)
    kernels = [v for v in learner.network.trainable_variables if v.path.endswith("kernel")]
    before = [kernel.numpy() for kernel in kernels]
    numbers = np.arange(4)
    batch = {"image": images[:4], "label": examples.labels[:4], "number": numbers, "visit": numbers}
    logs = learner.train_step({name: tf.constant(values) for name, values in batch.items()})
    assert np.isfinite(float(logs["batch_loss"]))
    assert float(logs["learning_rate"]) == pytest.approx(schedule.value(0))
    assert all((kernel.numpy() != old).any() for kernel, old in zip(kernels, before, strict=True))


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.name)
def test_it_is_a_recipe_and_its_header_has_the_command(path):
    _read(path)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"--flagfile={path.relative_to(ROOT)}" in line for line in header)


def test_type_1_differs_from_the_default_only_in_the_validation_set():
    type_1 = _read(ROOT / "flags/seeds/000-type1.flags")
    assert recipe.Recipe().differences(type_1) == ["val_split: test, stratified"]


def test_the_fast_lane_is_in_bf16_only_where_that_is_fast():
    for name in ("speedrun94", "muon94"):
        assert _read(ROOT / f"flags/records/{name}.flags").precision == "auto"


def test_muon94_has_airbenchs_numbers_after_the_conversion():
    """It adds up a batch's losses, and divides logits by 256, not 9."""
    small = _small(_read(ROOT / "flags/records/muon94.flags"))
    _, examples = _examples(32)
    optimizer = build_learner(small, Split(examples, examples, None, None), classes=10).optimizer
    rate = float(optimizer.learning_rate)
    assert (rate, optimizer.momentum, optimizer.nesterov, optimizer.steps) == (
        pytest.approx(0.24), 0.6, True, 3
    )  # fmt: skip
    rest = optimizer.rest
    assert (rest.momentum, rest.nesterov) == (0.85, True)
    factors, decays = rest.lr_factors, {"head": 1.0} | rest.wd_factors
    assert rate * factors["bias"] == pytest.approx(0.053 * 2000, rel=1e-4)
    assert rate * factors["head"] == pytest.approx(0.67 * 2000 * (9 / 256) ** 2, rel=1e-4)
    coupled = 2e-6 * 2000 / (1 - 0.85)
    for group, decay in decays.items():
        assert rate * factors[group] * rest.weight_decay * decay == pytest.approx(coupled, rel=1e-3)
