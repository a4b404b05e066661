"""The public names of tfsc: all there, and none imports what it does not need."""

import subprocess
import sys

import pytest

import tfsc
from tfsc import lazy
from tfsc.text.family import Catalog


@pytest.mark.parametrize("part", tfsc.PARTS)
def test_every_public_name_of_a_part_is_what_it_says(part):
    package = getattr(tfsc, part)
    assert package.__name__ == f"tfsc.{part}"
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        public = getattr(package, name)
        if isinstance(public, Catalog):
            assert public.package == package.__name__
            continue
        assert public.__name__.rpartition(".")[2] == name
        assert (public.__doc__ or "").strip()


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'tfsc.layers' has no attribute 'Layer'"):
        tfsc.layers.Layer  # noqa: B018
    get, _ = lazy.attributes("tfsc.text", modules=("reader",))
    assert get("reader").__name__ == "tfsc.text.reader"


def test_the_parts_and_what_reads_text_import_no_tensorflow():
    program = (
        "import sys\n"
        "from tfsc import schedules, optimizers, augment, models, layers\n"
        "names = [name for part in (schedules, optimizers, augment, models, layers)\n"
        "         for name in dir(part)]\n"
        "assert 'WarmRestarts' in names and 'Muon' in names\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()\n"
        "schedules.parse('cosine(0.1)')\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
