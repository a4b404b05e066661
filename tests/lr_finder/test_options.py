"""The settings of tfsc.lr_find: their defaults by measure, and one message for each mistake."""

import pytest

from tfsc.errors import RecipeError
from tfsc.lr_finder.options import NOT_USED, SETTINGS, Options, recipe_names
from tfsc.recipe import Recipe, settings


def test_the_defaults_depend_on_the_measure():
    loss = Options.of(Recipe())
    assert (loss.start, loss.end, loss.num_steps, loss.growth) == (1e-6, 10, 100, "exponential")
    assert (loss.smoothing, loss.stop_at, loss.seeds, loss.evaluations) == (0.98, 4, 1, 0)
    accuracy = Options.of(Recipe(), measure="accuracy", num_steps=500)
    assert (accuracy.start, accuracy.end, accuracy.growth) == (0, 3, "linear")
    assert (accuracy.stop_at, accuracy.val_examples) == (0, 2000)
    assert (accuracy.evaluate_every, accuracy.evaluations) == (10, 50)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": 1.0, "end": 1.0}, "--start=1: must be below --end=1"),
        ({"start": 0.0}, "--start=0: must be at least 1e-30 with --growth=exponential"),
        ({"start": -1.0}, "--start=-1.0: must be a number from 0.0 to 10000.0"),
        ({"start": float("nan")}, "--start=nan: must be a number"),
        ({"num_steps": 23}, "--num_steps=23: must be at least 24; the rules skip the first tenth"),
        ({"stop_at": 1.0}, "--stop_at=1: must be 0 or above 1"),
        ({"smoothing": 1.0}, "--smoothing=1.0: must be a number from 0.0 to 0.9999"),
        ({"seeds": 0}, "--seeds=0: must be a whole number from 1 to 1000"),
        ({"growth": "cubic"}, "--growth=cubic: must be one of exponential, linear"),
        ({"evaluate_every": 5}, "--evaluate_every=5: needs --measure=accuracy"),
        ({"val_examples": 5}, "--val_examples=5: needs --measure=accuracy"),
        (
            {"measure": "accuracy", "num_steps": 80, "evaluate_every": 10},
            "--num_steps=80: must be at least 9 times --evaluate_every=10",
        ),
        (
            {"measure": "accuracy", "growth": "exponential"},
            "--start=0: must be at least 1e-30 with --growth=exponential",
        ),
    ],
)
def test_what_is_not_allowed_states_the_rule(given, message):
    with pytest.raises(RecipeError) as error:
        Options.of(Recipe(), **given)
    assert str(error.value).startswith(message)


def test_the_last_seed_is_a_seed():
    recipe = Recipe(seed=settings()["seed"].high - 1)
    assert Options.of(recipe, seeds=2).seeds == 2
    with pytest.raises(RecipeError, match=r"--seeds=3: the last one, 2147483648, must be at most"):
        Options.of(recipe, seeds=3)


def test_every_setting_of_a_recipe_is_either_used_or_not():
    assert set(NOT_USED) < set(settings())
    assert set(recipe_names()) | set(NOT_USED) == set(settings())
    assert not set(SETTINGS) & set(settings())
