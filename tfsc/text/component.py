"""`Component`: a parameter that is a call of a family, such as `rest=sgd(0.85)`."""

from dataclasses import dataclass

from tfsc.text.family import Call, Catalog
from tfsc.text.parameters import Parameter, Place
from tfsc.text.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Component(Parameter):
    """A call of a catalog.

    Attributes:
        catalog: that reads it.
        names: the families that may stand here; empty: all.
    """

    catalog: Catalog
    names: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        names = ", ".join(self.names or self.catalog)
        return f"{self.catalog.part}: {names}"

    def read(self, reader: Reader, place: Place) -> Call:
        reader.skip_blanks()
        start = reader.at
        call = self.catalog.read(reader)
        if self.names and call.family not in self.names:
            allowed = ", ".join(self.names)
            raise reader.fail(
                f"{place.what} must be one of {allowed}, received {call.family}", start
            )
        return call
