"""Tables held in memory: the state of the memory backend, and of the JSON file between its rewrites.

A state is never mutated: folding changes in makes a new one that shares every table that did not change. What a
table remembers at its first use (its keys in order, its indexes) is part of what it always was.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from sessiondb.backend import BackendView, Changes, Found, Pace, Position, TableChanges, TableKind
from sessiondb.field_index import sorted_in_pieces
from sessiondb.query import Condition, Order, Predicate, Test, sort_key

from .resident_index import ResidentIndex

__all__ = ["ResidentTable", "ResidentView", "fold"]

SLICE_RECORDS = 1_000
"""Records copied or changed between two calls of `pace`: about 100 us."""
FEW = 8
"""An index is worth its while when it leaves one record in so many."""
SLICE_S = 0.001
PAUSE_S = 0.00005

Row = tuple[str, bytes]
_T = TypeVar("_T")


class _Lookup(NamedTuple):
    """A condition that an index answers."""

    by: ResidentIndex
    test: Test
    others: tuple[Condition, ...]
    """What is left to look at."""
    estimate: int


class ResidentTable:
    """One table: its kind, its records and its indexes, never mutated once it is part of a view."""

    __slots__ = ("_building", "_indexes", "_sorted", "kind", "records")

    def __init__(
        self,
        kind: TableKind,
        records: dict[str, bytes],
        keys: list[str] | None = None,
        indexes: Mapping[str, ResidentIndex | None] = MappingProxyType({}),
    ):
        """Make a table.

        Args:
            kind: of its records.
            records: key to bytes.
            keys: the keys in order, when they are known already.
            indexes: the fields that have an index, and the index if it is made already.
        """
        self.kind = kind
        self.records = records
        self._sorted = keys
        self._indexes = dict(indexes)
        self._building = threading.Lock()

    def sorted_keys(self) -> list[str]:
        """All keys in order (of code points, which is the order of their UTF-8 bytes); sorted at first use."""
        if self._sorted is None:
            self._sorted = sorted(self.records)
        return self._sorted

    @property
    def indexes(self) -> dict[str, ResidentIndex | None]:
        """A copy: the fields that have an index, and the index if it is made already."""
        return dict(self._indexes)

    def index(self, field: str) -> ResidentIndex | None:
        """The index of a field, made at its first use; ``None``: the field has none."""
        if field not in self._indexes:
            return None
        made = self._indexes[field]
        if made is None:
            with self._building:  # one of those who wait for it is enough
                made = self._indexes[field]
                if made is None:
                    made = self._indexes[field] = ResidentIndex.build(field, self.records, _breather())
        return made

    def lookup(self, where: Sequence[Condition]) -> _Lookup | None:
        """The condition whose index leaves the fewest records."""
        best: _Lookup | None = None
        for number, (field, test) in enumerate(where):
            index = self.index(field)
            estimate = None if index is None else index.estimate(test)
            if index is not None and estimate is not None and (best is None or estimate < best.estimate):
                best = _Lookup(index, test, (*where[:number], *where[number + 1 :]), estimate)
        return best

    def is_few(self, estimate: int) -> bool:
        """Whether it is better to look so many records up than to go through all of them."""
        return estimate * FEW <= len(self.records)


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

    def indexes(self, table: str) -> frozenset[str]:
        """The fields of the table that have an index."""
        found = self.state.get(table)
        return frozenset() if found is None else frozenset(found.indexes)

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Exactly the records that satisfy the conditions; in the order asked for where an index knows it."""
        found = self.state.get(table)
        if found is None:
            return Found(iter(()), exact=True, ordered=True)
        lookup = found.lookup(where)
        if order and limit is not None and not (lookup and found.is_few(lookup.estimate)):
            ordered = _by_index(found, where, order)
            if ordered is not None:
                return Found(islice(ordered, limit), exact=True, ordered=True)
        keys, left = _keys_and_rest(found, where, lookup, in_order=not order)
        rows = _rows(found, keys, left)
        return Found(rows if order else islice(rows, limit), exact=True, ordered=not order)

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """How many records satisfy all conditions; only counted when an index knows."""
        found = self.state.get(table)
        if found is None or not where:
            return self.count(table)
        lookup = found.lookup(where)
        if lookup is None:
            return None
        keys = lookup.by.candidates(lookup.test) or ()
        return sum(1 for _ in _rows(found, keys, lookup.others)) if lookup.others else len(keys)

    def index_problems(self) -> list[str]:
        """Indexes that say anything else than the records do, a sentence each; only those that are made."""
        return [
            f"the index on field {field!r} of table {name!r} does not agree with the records; open the store again"
            for name, table in self.state.items()
            for field, index in table.indexes.items()
            if index is not None and index.differs(table.records, _breather())
        ]


def _rows(table: ResidentTable, keys: Iterable[str], where: Sequence[Condition]) -> Iterator[Row]:
    """Those of the records that satisfy the conditions."""
    records = table.records
    rows = ((key, records[key]) for key in keys)
    if not where:
        return rows
    matches = Predicate(where).matches
    return (row for row in rows if matches(row[1]))


def _keys_and_rest(
    table: ResidentTable, where: Sequence[Condition], lookup: _Lookup | None, *, in_order: bool
) -> tuple[Iterable[str], Sequence[Condition]]:
    """Keys among which all matches are, and the conditions that they may not satisfy."""
    found = None if lookup is None else lookup.by.candidates(lookup.test)
    if lookup is None or found is None:
        return table.sorted_keys() if in_order else table.records, where
    if not in_order:
        return found, lookup.others
    if table.is_few(len(found)):
        return sorted_in_pieces(list(found)), lookup.others
    chosen = found if isinstance(found, set) else set(found)
    return (key for key in table.sorted_keys() if key in chosen), lookup.others


def _by_index(table: ResidentTable, where: Sequence[Condition], order: Sequence[Order]) -> Iterator[Row] | None:
    """The matches in order, found one after the other; ``None``: no index knows the order."""
    index = table.index(order[0].field)
    groups = None if index is None else index.groups(descending=order[0].descending)
    if groups is None:
        return None
    key_of = sort_key(order[1:])
    records = table.records
    matches = Predicate(where).matches

    def rows(keys: Iterable[str]) -> list[Row]:
        return sorted(((key, records[key]) for key in keys if matches(records[key])), key=key_of)

    return (row for keys in groups for row in rows(keys))


def fold(state: dict[str, ResidentTable], changes: Changes, pace: Pace) -> dict[str, ResidentTable]:
    """The state with the changes made; `state` stays as it is."""
    folded = dict(state)
    for name, change in changes.items():
        if change.dropped:
            folded.pop(name, None)
        before = folded.get(name)
        kind = _kind(change) if before is None else before.kind
        if kind is None:
            continue  # nothing but deletions in a table that is not there
        records = {} if before is None else _copy(before.records, pace)
        _change(records, change.images, pace)
        keys = None if before is None else _keys(before, records, change.images, pace)
        indexes = {} if before is None else before.indexes
        folded[name] = ResidentTable(kind, records, keys, _indexes(kind, indexes, records, change, pace))
    return folded


def _kind(change: TableChanges) -> TableKind | None:
    return "json" if change.kind is None and any(change.indexes.values()) else change.kind


def _indexes(
    kind: TableKind,
    before: dict[str, ResidentIndex | None],
    records: dict[str, bytes],
    change: TableChanges,
    pace: Pace,
) -> dict[str, ResidentIndex | None]:
    """The new table's indexes; those that nobody used yet are still to be made."""
    if kind == "bytes":
        return {}
    wanted = {**dict.fromkeys(before, True), **change.indexes}
    made = {field: before.get(field) for field, keep in wanted.items() if keep}
    return {
        field: None if index is None else index.after(change.images, records, pace) for field, index in made.items()
    }


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


def _keys(before: ResidentTable, records: dict[str, bytes], images: dict[str, bytes | None], pace: Pace) -> list[str]:
    """The new table's keys in order, from the old one's: sorting all of them anew stops every thread for long."""
    keys, known = before.sorted_keys(), before.records
    added: list[str] = []
    removed = False
    for piece in _pieces(images.items(), pace):
        added += [key for key, image in piece if image is not None and key not in known]
        removed = removed or any(image is None and key in known for key, image in piece)
    if removed:
        kept: list[str] = []
        for names in _pieces(keys, pace):
            kept += [key for key in names if key in records]
        keys = kept
    return sorted(keys + sorted_in_pieces(added, pace)) if added else keys


def _pieces(items: Iterable[_T], pace: Pace) -> Iterator[list[_T]]:
    """The items, a slice of work at a time."""
    rest = iter(items)
    while piece := list(islice(rest, SLICE_RECORDS)):
        yield piece
        pace()


def _breather() -> Pace:
    """Lets other threads run each millisecond while a reader makes an index."""
    began = time.perf_counter()

    def breathe() -> None:
        nonlocal began
        if time.perf_counter() - began > SLICE_S:
            time.sleep(PAUSE_S)
            began = time.perf_counter()

    return breathe
