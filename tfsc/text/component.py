"""`Component`: a parameter that is a call of a family, such as `rest=sgd(0.85)`."""

from dataclasses import dataclass

from tfsc.text.family import Call, Catalog
from tfsc.text.parameters import Parameter, Place
from tfsc.text.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Component(Parameter):
    """A call of a catalog.

    Attributes:
        catalog: of what may stand here.
    """

    catalog: Catalog

    @property
    def rule(self) -> str:
        return f"{self.catalog.part}: {', '.join(self.catalog)}"

    def read(self, reader: Reader, place: Place) -> Call:
        return self.catalog.read(reader)
