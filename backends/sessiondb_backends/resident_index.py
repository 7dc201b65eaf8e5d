"""The index of one field over a resident table: made at its first use, then carried from state to state.

An index is never mutated, like the states it belongs to. The next state's index shares the old one's *base*, which
was built over all records, and adds a *layer* with the keys that changed since. A layer is merged with the one below
while that is less than twice as long, and everything is built anew when half of the records changed: so there are
few layers, and a change is read a few times in all, however long the table is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import merge
from itertools import groupby, islice
from typing import NamedTuple

from sessiondb.backend import Pace
from sessiondb.field_index import FieldIndex
from sessiondb.query import ABSENT, Equal, FieldReader, Test, absent

__all__ = ["ResidentIndex"]

SLICE_RECORDS = 200
"""Records read between two calls of `pace`: about 150 us."""


class _Layer(NamedTuple):
    """What changed after the layers below."""

    keys: set[str]
    """These keys count here only, whatever is below says of them."""
    entries: FieldIndex
    """Those of them that have a record."""


class ResidentIndex:
    """The keys of a table's records by the value of one field; exact."""

    __slots__ = ("_base", "_layers", "_reader")

    def __init__(self, reader: FieldReader, base: FieldIndex, layers: tuple[_Layer, ...] = ()):
        self._reader = reader
        self._base = base
        self._layers = layers

    @classmethod
    def build(cls, field: str, records: Mapping[str, bytes], pace: Pace) -> ResidentIndex:
        """An index over all records."""
        reader = FieldReader([field])
        return cls(reader, _index(reader, records, records, pace))

    def after(self, changed: Collection[str], records: Mapping[str, bytes], pace: Pace) -> ResidentIndex:
        """The index of the next state, in which these keys have other records, or none."""
        if not changed:
            return self
        reader = self._reader
        if 2 * (len(changed) + sum(len(layer.keys) for layer in self._layers)) >= len(records):
            base = _index(reader, records, records, pace)
            base.sort(self._base, pace)
            return ResidentIndex(reader, base)
        keys: set[str] = set()
        _add_all(keys, changed, pace)
        layers = list(self._layers)
        while layers and len(layers[-1].keys) < 2 * len(keys):
            _add_all(keys, layers.pop().keys, pace)
        layers.append(_Layer(keys, _index(reader, keys, records, pace)))
        return ResidentIndex(reader, self._base, tuple(layers))

    def candidates(self, test: Test) -> Collection[str] | None:
        """The keys of all records that pass, and no others, each once; ``None``: the index cannot tell."""
        found = self._base.candidates(test)
        for layer in self._layers:
            more = layer.entries.candidates(test)
            if found is None or more is None:
                return None
            found = (set(found) - layer.keys).union(more)
        return found

    def estimate(self, test: Test) -> int | None:
        """About how many `candidates` there are, known quickly; ``None`` as there."""
        total = 0
        for index in self._parts():
            part = index.estimate(test)
            if part is None:
                return None
            total += part
        return total

    def groups(self, *, descending: bool) -> Iterator[Collection[str]] | None:
        """The keys of all records, in the order of their values: those of equal value together, in no order.

        Returns:
            ``None``: it cannot be told, some hold lists or objects.
        """
        if any(index.partial for index in self._parts()):
            return None
        return self._groups(descending)

    def _groups(self, descending: bool) -> Iterator[Collection[str]]:
        kinds = list(zip(*(index.in_order() for index in self._parts()), strict=True))
        for lists in reversed(kinds) if descending else kinds:
            values = merge(*(values[::-1] if descending else values for values in lists), reverse=descending)
            for value, _ in groupby(values):
                yield self.candidates(Equal(value)) or ()
        yield {*(self.candidates(Equal(None)) or ()), *(self.candidates(absent) or ())}

    def _parts(self) -> list[FieldIndex]:
        return [self._base, *(layer.entries for layer in self._layers)]

    def differs(self, records: Mapping[str, bytes], pace: Pace) -> bool:
        """Whether it says anything else than the records do."""
        fresh = _index(self._reader, records, records, pace)
        for index in (fresh, *self._parts()):
            for value in index.values():
                test: Test = absent if value is ABSENT else Equal(value)
                if set(fresh.candidates(test) or ()) != set(self.candidates(test) or ()):
                    return True
        return False


def _index(reader: FieldReader, keys: Iterable[str], records: Mapping[str, bytes], pace: Pace) -> FieldIndex:
    index = FieldIndex()
    for count, key in enumerate(keys, 1):
        image = records.get(key)
        if image is not None:
            index.add(reader.read(image)[0], key)
        if count % SLICE_RECORDS == 0:
            pace()
    return index


def _add_all(keys: set[str], more: Iterable[str], pace: Pace) -> None:
    left = iter(more)
    while piece := list(islice(left, SLICE_RECORDS)):
        keys.update(piece)
        pace()
