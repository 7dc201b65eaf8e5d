"""Writing changes into a SQLite store, inside a transaction that somebody else begins and commits."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from zlib import crc32

import msgspec

from sessiondb.backend import Changes, Pace, TableChanges, TableKind

from .sqlite_schema import (
    SET_TABLE,
    TableRow,
    encode_table,
    free_view_name,
    index_ddl,
    index_name,
    path_of,
    physical_name,
    quoted,
    record_seed,
    table_ddl,
    view_ddl,
)

__all__ = ["ChangeWriter"]

SORT_RECORDS = 500
SLICE_RECORDS = 96
SLICE_BYTES = 64 << 10
"""Work between two calls of `pace`: about 200 us of Python. SQLite lets other threads run during each statement."""
LEARNT_TOGETHER = 96
"""Records whose fields are looked at in one step."""
FIELDS_MAX = 200
"""Columns of a view at most."""
FIELD_CHARACTERS_MAX = 200
"""A longer name of a field is no column."""


class ChangeWriter:
    """Makes changes on the write connection; `tables` is the catalog before them, `uuid` the store's."""

    def __init__(self, connection: sqlite3.Connection, tables: dict[str, TableRow], uuid: bytes, pace: Pace):
        self._connection = connection
        self._uuid = uuid
        self._tables = dict(tables)
        self._pace = pace

    def write(self, changes: Changes) -> None:
        """Make all changes."""
        for name, change in changes.items():
            row = self._tables.get(name)
            if change.dropped and row is not None:
                self._drop(row)
                row = None
            kind = change.kind if row is None else row.kind
            if kind is not None:
                self._change(name, row, kind, change)

    def _drop(self, row: TableRow) -> None:
        self._connection.execute(f"DROP VIEW IF EXISTS {quoted(row.view)}")
        self._connection.execute(f"DROP TABLE IF EXISTS {physical_name(row)}")
        self._connection.execute("DELETE FROM sessiondb_tables WHERE id = ?", (row.id,))
        del self._tables[row.name]

    def _change(self, name: str, before: TableRow | None, kind: TableKind, change: TableChanges) -> None:
        row = before or self._create(name, kind)
        row = self._drop_indexes(row, change)
        row = _Images(self._connection, row, self._pace).write(change.images)
        row = self._make_indexes(row, change)
        if before is None or before.fields != row.fields:
            self._connection.execute(f"DROP VIEW IF EXISTS {quoted(row.view)}")
            self._connection.execute(view_ddl(row))
        if row != before:
            self._connection.execute(SET_TABLE, encode_table(row, self._uuid))
        self._tables[name] = row

    def _create(self, name: str, kind: TableKind) -> TableRow:
        number = max((row.id for row in self._tables.values()), default=0) + 1
        taken = [other for (other,) in self._connection.execute("SELECT name FROM sqlite_master")]
        view = free_view_name(name, number, taken)
        row = TableRow(number, name, kind, 0, view, seed=record_seed(self._uuid, number))
        self._connection.execute(table_ddl(row))
        return row

    def _drop_indexes(self, row: TableRow, change: TableChanges) -> TableRow:
        indexes = dict(row.indexes)
        for field, wanted in change.indexes.items():
            if not wanted and indexes.pop(field, 0):
                self._connection.execute(f"DROP INDEX IF EXISTS {index_name(row, row.indexes[field])}")
        return msgspec.structs.replace(row, indexes=indexes)

    def _make_indexes(self, row: TableRow, change: TableChanges) -> TableRow:
        if row.kind != "json":
            return row  # raw bytes have no fields
        indexes = dict(row.indexes)
        for field, wanted in change.indexes.items():
            if wanted and field not in indexes:
                path = path_of(field)
                indexes[field] = 0 if path is None else max(indexes.values(), default=0) + 1
                if path is not None:
                    self._connection.execute(index_ddl(row, indexes[field], path))
                self._pace()
        return msgspec.structs.replace(row, indexes=indexes)


class _Images:
    """Puts and deletes the records of one table, in key order: then each page is touched once."""

    def __init__(self, connection: sqlite3.Connection, row: TableRow, pace: Pace):
        self._connection = connection
        self._row = row
        self._pace = pace
        self._fields = _Fields(row) if row.kind == "json" else None
        table = physical_name(row)
        value = "CAST(? AS TEXT)" if row.kind == "json" else "?"
        self._insert = f"INSERT OR IGNORE INTO {table}(record, crc, key) VALUES ({value}, ?, ?)"
        self._update = f"UPDATE {table} SET record = {value}, crc = ?, expires_at = NULL WHERE key = ?"
        self._delete = f"DELETE FROM {table} WHERE key = ?"
        self._mostly_new = row.records == 0

    def write(self, images: dict[str, bytes | None]) -> TableRow:
        """Make the changes; returns the catalog's row after them."""
        records, seed = self._row.records, self._row.seed
        for keys in self._slices(images):
            gone = [(key,) for key in keys if images[key] is None]
            if gone:
                records -= self._connection.executemany(self._delete, gone).rowcount
            rows = [
                (image, crc32(image, crc32(key.encode(), seed)), key)
                for key in keys
                if (image := images[key]) is not None
            ]
            if rows:
                records += self._put(rows)
                if self._fields is not None:
                    self._fields.learn(image for image, _, _ in rows)
            self._pace()
        row = msgspec.structs.replace(self._row, records=records)
        return row if self._fields is None else self._fields.noted(row)

    def _put(self, rows: list[tuple[bytes, int, str]]) -> int:
        """Insert or update; returns how many keys were new, so that counting a table takes no time."""
        if self._mostly_new:
            added = self._connection.executemany(self._insert, rows).rowcount
            if added < len(rows):
                self._connection.executemany(self._update, rows)
                self._mostly_new = added > 0
            return added
        updated = self._connection.executemany(self._update, rows).rowcount
        if updated < len(rows):
            self._connection.executemany(self._insert, rows)
            self._mostly_new = updated == 0
        return len(rows) - updated

    def _slices(self, images: dict[str, bytes | None]) -> Iterator[list[str]]:
        """All keys in order, so many at a time as are written in one go."""
        keys = self._in_order(list(images))
        size = 1
        while piece := list(islice(keys, size)):
            yield piece
            length = 1 + sum(len(images[key] or b"") for key in piece)
            size = max(1, min(SLICE_RECORDS, len(piece) * SLICE_BYTES // length))

    def _in_order(self, keys: list[str]) -> Iterator[str]:
        """Sorted in pieces and merged on the way: sorting all at once stops every thread for long."""
        pieces = []
        for start in range(0, len(keys), SORT_RECORDS):
            pieces.append(sorted(keys[start : start + SORT_RECORDS]))
            self._pace()
        return iter(heapq.merge(*pieces))


class _Fields:
    """Learns which fields the records of a table have, and whether SQL sees them as sessiondb does."""

    _decode = staticmethod(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode)
    _decode_array = staticmethod(msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode)
    _encode = staticmethod(msgspec.json.Encoder().encode)

    def __init__(self, row: TableRow):
        self._known = dict.fromkeys(row.fields)
        self._unusual = set(row.unusual)

    def learn(self, images: Iterable[bytes]) -> None:
        """Look at records."""
        images = iter(images)
        while some := list(islice(images, LEARNT_TOGETHER)):
            if not self._is_nothing_new(some):
                self._learn_each(some)

    def _is_nothing_new(self, images: list[bytes]) -> bool:
        """Whether all are objects with known fields and nothing unusual: in two thirds of the time of one by one."""
        whole = b"[%b]" % b",".join(images)
        try:
            documents = self._decode_array(whole)
        except msgspec.DecodeError:
            return False
        known = self._known.keys()
        usual = self._encode(documents) == whole and b"\\u0000" not in whole
        return usual and all(document.keys() <= known for document in documents)

    def _learn_each(self, images: list[bytes]) -> None:
        known, decode, encode = self._known.keys(), self._decode, self._encode
        for image in images:
            try:
                document = decode(image)
            except msgspec.DecodeError:
                continue  # no object: it has no fields
            if encode(document) != image:
                # A name that is escaped without need, or there twice: SQLite takes another one than sessiondb does.
                self._unusual.add("*")
            if not document.keys() <= known:
                self._add(document)
            if b"\\u0000" in image:
                # SQLite's JSON functions may end a text at its first NUL.
                self._unusual |= {field for field, raw in document.items() if b"\\u0000" in bytes(raw)}

    def _add(self, document: dict[str, msgspec.Raw]) -> None:
        for field in document:
            if len(self._known) < FIELDS_MAX and len(field) <= FIELD_CHARACTERS_MAX:
                self._known[field] = None

    def noted(self, row: TableRow) -> TableRow:
        """The catalog's row with what was learnt."""
        unusual = {"*"} if len(self._unusual) > FIELDS_MAX else self._unusual
        return msgspec.structs.replace(row, fields=tuple(self._known), unusual=tuple(sorted(unusual)))
