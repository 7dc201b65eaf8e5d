"""The records of some tables at one moment, as often as a format has to look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sessiondb.backend import TableKind
from sessiondb.views import View

__all__ = ["Records"]


class Records:
    """Table, kind, key and stored bytes of each record, in the order of tables and keys, in bounded memory.

    Attributes:
        tables: what is exported, by name.
        count: how many records were given, since the last beginning.
    """

    def __init__(self, view: View, kinds: Mapping[str, TableKind], wanted: Sequence[str]):
        self.tables = {name: kinds[name] for name in wanted}
        self.count = 0
        self._view = view

    def __iter__(self) -> Iterator[tuple[str, TableKind, str, bytes]]:
        self.count = 0
        for name, kind in self.tables.items():
            for key, image in self.of(name):
                yield name, kind, key, image

    def of(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Key and stored bytes of the records of one table."""
        for pair in self._view.scan(name):
            self.count += 1
            yield pair
