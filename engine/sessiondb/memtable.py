"""The memtable: committed changes that no checkpoint has moved into the backend yet.

A memtable is written by one thread at a time (under the append lock) and read by any, without a lock. What a
reader sees is decided by the LSN it reads at, so entries keep what they replaced for as long as a reader needs
it (`Entry.older`).

Dropping a table puts a new layer over the old one; readers at an earlier LSN go on in the old layer.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from .backend import Changes, Pace, TableChanges, TableKind
from .field_index import FieldIndex
from .query import Condition, FieldReader
from .wal.operations import Delete, Drop, Index, Operation, Put, PutBytes, Unindex

__all__ = ["Entry", "Memtable", "TableLayer", "entry_at"]

SLICE_RECORDS = 1_000
"""Entries handled between two calls of a pace."""


class Entry(msgspec.Struct, gc=False):
    """One image of one key. Not tracked by the garbage collector: a memtable holds very many, and no cycle."""

    lsn: int
    image: bytes | None
    """The record's bytes; ``None`` for a deletion."""
    older: Entry | None
    """What it replaced, for as long as a reader needs it."""


class TableLayer:
    """One table's entries since it was last dropped."""

    __slots__ = (
        "_fields", "_lock", "_sorted", "deleted", "dropped_lsn", "entries", "indexed_lsn", "indexes", "kind", "older",
        "touched",
    )  # fmt: skip

    def __init__(self, kind: TableKind | None, dropped_lsn: int, older: TableLayer | None):
        self.kind = kind
        """``None`` while the layer holds nothing but a drop."""
        self.dropped_lsn = dropped_lsn
        """LSN of the drop that began this layer: nothing below shines through; 0 when none did."""
        self.older = older
        """The layer under the drop, for readers at an earlier LSN."""
        self.entries: dict[str, Entry] = {}
        self.indexes: dict[str, bool] = {}
        """Fields whose index was declared (True) or removed (False) in this layer."""
        self.indexed_lsn = 0
        """LSN of the first index declared in this layer: from there on the table exists; 0 when none was."""
        self.deleted: dict[str, None] = {}
        """Keys that were deleted in this layer, in the order of their last deletion; they may have a record again."""
        self.touched: list[str] | None = None
        """Keys written since the last look into `_fields`; ``None`` until there is one."""
        self._sorted: list[str] = []
        self._fields: dict[str, tuple[FieldReader, FieldIndex]] = {}
        self._lock = threading.Lock()

    def sorted_keys(self) -> list[str]:
        """All keys in order; never mutated. Keys are only ever added, so new ones are the dict's last."""
        known = self._sorted
        if len(known) != len(self.entries):
            fresh = list(self.entries)[len(known) :]  # one call to list(): no other thread gets in
            self._sorted = known = sorted(known + fresh)
        return known

    def at(self, lsn: int) -> TableLayer | None:
        """The layer that a reader at this LSN sees."""
        layer: TableLayer | None = self
        while layer is not None and layer.dropped_lsn > lsn:
            layer = layer.older
        return layer

    def candidates(self, condition: Condition) -> Iterable[str] | None:
        """Keys of all entries that may satisfy the condition, at whatever LSN; ``None``: it may be any.

        Made at the first call for a field and kept up to date from then on: a memtable is searched as often as it
        is written to, and decoding all of it each time would make every search slow.
        """
        with self._lock:
            if self.touched is None:
                self.touched = []  # first: what is written from here on is in the list, the rest in the entries
            if condition.field not in self._fields:
                self._fields[condition.field] = made = (FieldReader([condition.field]), FieldIndex())
                for key, entry in list(self.entries.items()):
                    _add_to_index(made, key, entry)
            fresh, count = self.touched, len(self.touched)
            for key in dict.fromkeys(islice(fresh, count)):
                for made in self._fields.values():
                    _add_to_index(made, key, self.entries[key])
            del fresh[:count]
            return self._fields[condition.field][1].candidates(condition.test)

    def range(self, start: str | None, stop: str | None, *, reverse: bool) -> Iterator[tuple[str, Entry]]:
        """Entries with ``start <= key < stop``, in order."""
        keys = self.sorted_keys()
        low = 0 if start is None else bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        chosen: Sequence[str] = keys[low:high]
        for key in reversed(chosen) if reverse else chosen:
            yield key, self.entries[key]


def _add_to_index(made: tuple[FieldReader, FieldIndex], key: str, newest: Entry) -> None:
    """All versions that a reader may still see; what was in the index stays: it names candidates, no more."""
    reader, index = made
    entry: Entry | None = newest
    while entry is not None:
        if entry.image is not None:
            index.add(reader.read(entry.image)[0], key)
        entry = entry.older


def entry_at(entry: Entry | None, lsn: int) -> Entry | None:
    """The entry that a reader at this LSN sees, or ``None``: look further down."""
    while entry is not None and entry.lsn > lsn:
        entry = entry.older
    return entry


class Memtable:
    """Changes of a range of LSNs, by table and key."""

    __slots__ = ("bytes", "first_us", "last_lsn", "records", "tables")

    def __init__(self, lsn: int):
        self.tables: dict[str, TableLayer] = {}
        self.last_lsn = lsn
        """LSN of the last transaction that is in it (or that came before it)."""
        self.records = 0
        """Changes of records, counting each."""
        self.bytes = 0
        """Payload bytes of its transactions."""
        self.first_us = 0
        """When its first change was made, by the monotonic clock in microseconds; 0 while empty."""

    def apply(self, lsn: int, operations: Sequence[Operation], newest_reader: int) -> None:
        """Take in one transaction.

        Args:
            lsn: its LSN.
            operations: what it does.
            newest_reader: the highest LSN that a pinned view reads at, -1 when there is none: what such a view
                sees is kept.
        """
        tables = self.tables
        for operation in operations:
            if type(operation) is Drop:
                self._drop(operation.table, lsn, newest_reader)
                continue
            layer = tables.get(operation.table)
            if layer is None:
                layer = tables[operation.table] = TableLayer(None, 0, None)
            if type(operation) is Put or type(operation) is PutBytes:
                image: bytes | None = operation.image
                if layer.kind is None:
                    layer.kind = operation.kind  # type: ignore[assignment]
            elif type(operation) is Delete:
                image = None
                layer.deleted.pop(operation.key, None)
                layer.deleted[operation.key] = None
            else:
                _declare(layer, operation, lsn)  # type: ignore[arg-type]
                continue
            key = operation.key
            before = None
            if newest_reader >= 0:
                before = layer.entries.get(key)
                if before is not None and before.lsn > newest_reader:
                    before = before.older  # nobody reads it any more; what it replaced may still be read
            layer.entries[key] = Entry(lsn, image, before)
            if layer.touched is not None:
                layer.touched.append(key)
        self.records += len(operations)

    def _drop(self, table: str, lsn: int, newest_reader: int) -> None:
        below = self.tables.get(table)
        self.tables[table] = TableLayer(None, lsn, below if newest_reader >= 0 else None)

    def changes(self, pace: Pace) -> Changes:
        """The final images, as a checkpoint hands them to the backend. Frozen memtables only."""
        changes: Changes = {}
        for name, layer in self.tables.items():
            images: dict[str, bytes | None] = {}
            entries = iter(layer.entries.items())
            while piece := {key: entry.image for key, entry in islice(entries, SLICE_RECORDS)}:
                images |= piece
                pace()
            recreated = [key for key in layer.deleted if images[key] is not None]
            changes[name] = TableChanges(layer.kind, layer.dropped_lsn > 0, images, layer.indexes, recreated)
        return changes

    def parts(self) -> list[object]:
        """All keys and entries: whoever holds this list frees them piece by piece, by shortening it."""
        parts: list[object] = []
        for layer in self.tables.values():
            parts += layer.entries
            parts += layer.entries.values()
        return parts


def _declare(layer: TableLayer, operation: Index | Unindex, lsn: int) -> None:
    made = type(operation) is Index
    layer.indexes = {**layer.indexes, operation.field: made}  # readers may be looking at the old one
    if made:
        layer.kind = layer.kind or "json"
        layer.indexed_lsn = layer.indexed_lsn or lsn
