"""A state of the store in LMDB, as the contract of `BackendView` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from threading import get_ident
from zlib import crc32

from sessiondb.backend import BackendView, Found, TableKind
from sessiondb.query import Condition, Order

from . import lmdb_find
from .lmdb_format import CRC_BYTES, RESIDUE
from .lmdb_snapshot import Snapshot

__all__ = ["LmdbView"]

SLICE_RECORDS = (16, 64, 256)
"""Records read under one lock: few first, for those who want no more."""


class LmdbView(Snapshot, BackendView):
    """One read transaction, shared by all threads that look through the view."""

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return {name: table.record.kind for name, table in self.open_tables.items()}

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        point = self._points.get(table)
        if point is None:
            return None
        database, seed = point
        name = key.encode()
        try:
            value = (self._gets.get(get_ident()) or self.own_get())(name, None, database)
        except self._errors as error:
            raise self.failed(error, f"read key {key!r} of table {table!r}") from error
        if value is None:
            return None
        if crc32(value, crc32(name, seed)) != RESIDUE:
            self.damaged(table, name)
        return value[:-CRC_BYTES]

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""
        if table not in self.open_tables:
            return {}
        images: dict[bytes, bytes] = {}
        names = iter(sorted({key.encode() for key in keys}))
        while wanted := list(islice(names, SLICE_RECORDS[-1])):
            images.update(self.fetch(table, wanted))
        return {name.decode(): image for name, image in images.items()}

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        found = self.open_tables.get(table)
        if found is None or stop == "":
            return
        low = (start or "").encode()
        high = None if stop is None else stop.encode()
        sizes = iter(SLICE_RECORDS)
        size = 0
        while True:
            size = next(sizes, size)
            pairs = self.slice(found.records, low, high, reverse=reverse, size=size)
            for name, value in pairs:
                if crc32(value, crc32(name, found.id)) != RESIDUE:
                    self.damaged(table, name)
                yield name.decode(), value[:-CRC_BYTES]
            if not pairs:
                return
            if reverse:
                high = pairs[-1][0]
            else:
                low = pairs[-1][0] + b"\0"

    def count(self, table: str) -> int:
        """The number of records."""
        found = self.open_tables.get(table)
        return 0 if found is None else self.entries(found.records)

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Through the best index there is; every row satisfies all conditions."""
        if table not in self.open_tables:
            return Found(iter(()), exact=True, ordered=True)
        return lmdb_find.find(self, table, where, order, limit)

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """From an index alone, where one can tell."""
        return lmdb_find.count(self, table, where) if table in self.open_tables else 0

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index."""
        found = self.open_tables.get(table)
        return frozenset() if found is None else frozenset(found.indexes)
