"""Tables held in memory: the state of the memory backend, and of the JSON file between its rewrites.

A state is never mutated: folding changes in makes a new one that shares every table that did not change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice

from sessiondb.backend import BackendView, Changes, Pace, Position, TableKind

__all__ = ["ResidentTable", "ResidentView", "fold"]

SLICE_RECORDS = 1_000
"""Records copied or changed between two calls of `pace`: about 100 us."""


class ResidentTable:
    """One table: its kind and its records, never mutated once it is part of a view."""

    __slots__ = ("_sorted", "kind", "records")

    def __init__(self, kind: TableKind, records: dict[str, bytes], keys: list[str] | None = None):
        """Make a table; `keys` are its keys in order, when they are known already."""
        self.kind = kind
        self.records = records
        self._sorted = keys

    def sorted_keys(self) -> list[str]:
        """All keys in order (of code points, which is the order of their UTF-8 bytes); sorted at first use."""
        if self._sorted is None:
            self._sorted = sorted(self.records)
        return self._sorted


class ResidentView(BackendView):
    """A state at a position."""

    def __init__(self, position: Position, state: dict[str, ResidentTable]):
        self.position = position
        self.state = state

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return {name: table.kind for name, table in self.state.items()}

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        found = self.state.get(table)
        return None if found is None else found.records.get(key)

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""
        found = self.state.get(table)
        if found is None:
            return {}
        records = found.records
        return {key: records[key] for key in keys if key in records}

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        found = self.state.get(table)
        if found is None:
            return
        keys = found.sorted_keys()
        low = 0 if start is None else bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        chosen = range(high - 1, low - 1, -1) if reverse else range(low, high)
        records = found.records
        for index in chosen:
            key = keys[index]
            yield key, records[key]

    def count(self, table: str) -> int:
        """The number of records."""
        found = self.state.get(table)
        return 0 if found is None else len(found.records)


def fold(state: dict[str, ResidentTable], changes: Changes, pace: Pace) -> dict[str, ResidentTable]:
    """The state with the changes made; `state` stays as it is."""
    folded = dict(state)
    for name, change in changes.items():
        if change.dropped:
            folded.pop(name, None)
        before = folded.get(name)
        kind = change.kind if before is None else before.kind
        if kind is None:
            continue  # nothing but deletions in a table that is not there
        records = {} if before is None else _copy(before.records, pace)
        _change(records, change.images, pace)
        folded[name] = ResidentTable(kind, records, None if before is None else _keys(before, records, change.images))
    return folded


def _copy(records: dict[str, bytes], pace: Pace) -> dict[str, bytes]:
    copied: dict[str, bytes] = {}
    items = iter(records.items())
    while piece := dict(islice(items, SLICE_RECORDS)):
        copied |= piece
        pace()
    return copied


def _change(records: dict[str, bytes], images: dict[str, bytes | None], pace: Pace) -> None:
    for count, (key, image) in enumerate(images.items(), 1):
        if image is None:
            records.pop(key, None)
        else:
            records[key] = image
        if count % SLICE_RECORDS == 0:
            pace()


def _keys(before: ResidentTable, records: dict[str, bytes], images: dict[str, bytes | None]) -> list[str]:
    """The new table's keys in order, from the old one's: sorting all of them anew stops every thread for long."""
    keys = before.sorted_keys()
    if any(image is None and key in before.records for key, image in images.items()):
        keys = [key for key in keys if key in records]
    added = [key for key in images if key in records and key not in before.records]
    return sorted(keys + sorted(added)) if added else keys
