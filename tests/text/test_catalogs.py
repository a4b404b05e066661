"""Every family of every catalog: declared once, and texts that read back."""

import inspect
import random
import re

import pytest

from tfsc.augment import AUGMENTATIONS
from tfsc.averages import AVERAGES
from tfsc.inputs import INPUTS
from tfsc.losses import LOSSES
from tfsc.models import NETWORKS
from tfsc.models.parts import Parts
from tfsc.optimizers import OPTIMIZERS
from tfsc.optimizers.catalog import CLIPS, Momentum
from tfsc.schedules.catalog import FAMILIES
from tfsc.schedules.parameters import Length, Lengths, Rate
from tfsc.text.component import Component
from tfsc.text.parameters import Number, Switch, Whole, Wholes, Word
from tfsc.text.reader import TextSyntaxError

CATALOGS = {
    "models": NETWORKS,
    "inputs": INPUTS,
    "augment": AUGMENTATIONS,
    "optimizers": OPTIMIZERS,
    "averages": AVERAGES,
    "losses": LOSSES,
    "schedules": FAMILIES,
    "clips": CLIPS,
}
EACH = [(part, name) for part, catalog in CATALOGS.items() for name in catalog]
BUILT = [(part, name) for part, name in EACH if part not in ("schedules", "clips")]
# What a builder is given beside its family's parameters.
BESIDE = {"maps", "parts", "inputs", "images", "seed", "kwargs", "total_steps"}


def _defaults(made):
    """What a builder takes, with its defaults; of a class also what its bases take."""
    classes = [each for each in getattr(made, "__mro__", ()) if "__init__" in vars(each)]
    found = {}
    for function in [vars(each)["__init__"] for each in classes if each is not object] or [made]:
        for parameter in inspect.signature(function).parameters.values():
            found.setdefault(parameter.name, parameter.default)
    return found


@pytest.mark.parametrize(("part", "name"), BUILT)
def test_a_builder_has_the_parameters_of_its_family_and_their_defaults(part, name):
    made, own = CATALOGS[part].builder(name), dict(CATALOGS[part][name].parameters)
    if part == "models":  # what all networks have is of `Parts`
        own = {key: p for key, p in own.items() if key not in Parts.__dataclass_fields__}
    taken = _defaults(made)
    for key, parameter in own.items():
        default = parameter.default
        if isinstance(parameter, Momentum):
            default = default.constant()
        assert key in taken, key
        assert default in (None, taken[key]), key
    if part != "optimizers":  # Keras' have arguments of their own
        assert [key for key in inspect.signature(made).parameters if key not in BESIDE] == [*own]


def test_what_networks_share_is_what_parts_take():
    own = {"l2", "dropout_seed", "whitening", "native", "winograd"}  # a run's, not a text's
    shared = set(Parts.__dataclass_fields__) - own
    for name, family in NETWORKS.items():
        without = set() if family.is_normalized else {"bn_momentum", "bn_epsilon"}
        without |= {"identity_init"} if name == "fixup" else set()
        assert shared - set(family.parameters) == without, name


@pytest.mark.parametrize(("part", "name"), EACH)
def test_each_family_and_parameter_has_its_sentence(part, name):
    family = CATALOGS[part][name]
    assert family.about
    for key, parameter in family.parameters.items():
        assert parameter.rule, key
        assert key.isidentifier() and key == key.lower()


def _argument(parameter, draw):
    """A value that a parameter allows."""
    if isinstance(parameter, Rate):
        return draw.choice([0.0, 1e-5, 8e-4, 0.1, draw.uniform(0, 3)])
    if isinstance(parameter, Lengths):
        unit = draw.choice("es%")
        return [f"{number}{unit}" for number in sorted(draw.sample(range(1, 99), 3))]
    if isinstance(parameter, Length):
        return f"{draw.randint(1, 90)}{draw.choice(['', 'e', 's', '%'])}"
    if isinstance(parameter, Momentum):
        return draw.choice(["0", "0.95", "[0.9,0]lin[0.5,3]", "inverse(0.95,0.85)", "cosine(0.9)"])
    if isinstance(parameter, Component):
        family = draw.choice([*parameter.catalog])
        return _text(parameter.catalog, family, draw)
    if isinstance(parameter, Number):
        high = min(parameter.high, 50.0)
        return draw.uniform(parameter.low, high) or high
    if isinstance(parameter, Whole):
        return draw.choice(parameter.choices or [draw.randint(parameter.low, parameter.high)])
    if isinstance(parameter, Wholes):
        allowed = range(parameter.low, min(parameter.high, 40) + 1, 2 if parameter.odd else 1)
        return draw.choices(allowed, k=draw.randint(1, 4))
    if isinstance(parameter, Word):
        return draw.choice(parameter.choices)
    assert isinstance(parameter, Switch), type(parameter)
    return draw.choice(["true", "false"])


def _text(catalog, name, draw):
    """A text of this family with arguments drawn at random, all that it needs and some others."""
    shown = []
    for key, parameter in catalog[name].parameters.items():
        if parameter.required or draw.random() < 0.5:
            shown.append(f"{key}={_argument(parameter, draw)}".replace("'", ""))
    if draw.random() < 0.5:
        draw.shuffle(shown)
    return f"{name}({', '.join(shown)})"


@pytest.mark.parametrize(("part", "name"), EACH)
def test_what_is_drawn_at_random_reads_back_from_its_canonical_text(part, name):
    catalog, draw, read = CATALOGS[part], random.Random(f"{part} {name}"), 0
    for _ in range(150):
        text = _text(catalog, name, draw)
        try:
            call = catalog.parse(text)
        except TextSyntaxError as error:
            # Only a rule about several arguments together may forbid what each rule allows.
            at = [match.start() for match in re.finditer(r"\w+(?=\()", text)]  # of calls
            assert error.position in at, str(error)
            continue
        read += 1
        assert catalog.parse(str(call)) == call, text
        assert str(catalog.parse(str(call))) == str(call)
        by_name = {key: value for key, value in call.arguments if value is not None}
        assert catalog.call(name, **by_name) == call, text
    assert read >= 10


@pytest.mark.parametrize(("part", "name"), EACH)
def test_a_parameter_of_another_family_is_refused_by_name(part, name):
    catalog = CATALOGS[part]
    foreign = {key for other in catalog.values() for key in other.parameters}
    for key in sorted(foreign - set(catalog[name].parameters)):
        with pytest.raises(TextSyntaxError, match=f"{name} has no parameter '{key}'"):
            catalog.parse(f"{name}({key}=1)")


@pytest.mark.parametrize(("part", "name"), EACH)
def test_a_caret_stands_under_what_is_no_value(part, name):
    for key in CATALOGS[part][name].parameters:
        text = f" {name}( {key} = ?)"
        with pytest.raises(TextSyntaxError) as caught:
            CATALOGS[part].parse(text)
        assert caught.value.position == text.index("?"), key
        *_, shown, caret = str(caught.value).split("\n")
        assert shown[caret.index("^")] == "?", key
