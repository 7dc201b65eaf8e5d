"""Changing the store in LMDB: one write transaction, in small pieces.

Databases of tables and indexes that are not needed any more are emptied and used again for others: deleting one would
close its handle, and with it break the views that still read it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from sessiondb.backend import Changes, Pace, TableChanges
from sessiondb.errors import CorruptionError
from sessiondb.query import ABSENT, FieldReader

from .lmdb_env import Environment
from .lmdb_format import (
    CRC_BYTES,
    DIRECTORY,
    TableRecord,
    decode_value,
    encode_table,
    index_database,
    index_key,
    table_database,
    table_key,
)
from .lmdb_snapshot import read_tables, take

if TYPE_CHECKING:
    import lmdb

__all__ = ["Writer", "field_reader"]

SLICE_RECORDS = 80
"""Records stored between two calls of `pace`: about 100 us."""
SLICE_BYTES = 128 << 10
INDEX_SLICE_RECORDS = 24
SORTED_AT_ONCE = 1_000

Pair = tuple[bytes, bytes]
Images = dict[str, bytes | None]


class Writer:
    """The changes of one `apply` inside a write transaction that the caller begins and ends.

    Args:
        environment: whose handles are used; the caller holds its `writing`.
        transaction: begun for writing.
        pace: called between small pieces of work.
    """

    def __init__(self, environment: Environment, transaction: lmdb.Transaction[bytes], pace: Pace):
        self._environment = environment
        self._transaction = transaction
        self._pace = pace
        self._directory = environment.handles[DIRECTORY]
        self._tables = read_tables(transaction, self._directory, environment.path)
        self.opened: dict[bytes, lmdb._Database] = {}
        """Handles that become the environment's own when the transaction is committed, and are void otherwise."""

    def make(self, changes: Changes) -> None:
        """Make all changes."""
        for name in sorted(changes):
            self._change(name, changes[name])
            self._pace()

    def _change(self, name: str, change: TableChanges) -> None:
        before = self._tables.get(name)
        if change.dropped and before is not None:
            self._drop(before)
            del self._tables[name]
            before = None
        kind = change.kind if before is None else before.kind
        if kind is None:
            self._transaction.delete(table_key(name), db=self._directory)
            return  # nothing but deletions in a table that is not there, or not any more
        table = TableRecord(self._free_table(), kind) if before is None else before
        self._tables[name] = table
        table = self._remove_indexes(table, change)
        if table.indexes:
            self._store_indexed(name, table, change.images)
        else:
            self._store(table, change.images)
        for field in sorted(field for field, wanted in change.indexes.items() if wanted):
            if field not in table.indexes:
                table = self._build_index(name, table, field)
        if table != before:
            key = table_key(name)
            self._transaction.put(key, encode_table(key, table), db=self._directory)
        self._tables[name] = table

    # ---- databases

    def _database(self, name: bytes, *, dupsort: bool) -> lmdb._Database:
        """The handle of a named database, which is made if it is not there."""
        found = self._environment.handles.get(name) or self.opened.get(name)
        if found is None:
            found = self._environment.env.open_db(name, txn=self._transaction, dupsort=dupsort, create=True)
            self.opened[name] = found
        return found

    def _records(self, table: TableRecord) -> lmdb._Database:
        return self._database(table_database(table.id), dupsort=False)

    def _index(self, number: int) -> lmdb._Database:
        return self._database(index_database(number), dupsort=True)

    def _free_table(self) -> int:
        return _first_free(table.id for table in self._tables.values())

    def _free_index(self) -> int:
        return _first_free(number for table in self._tables.values() for number in table.indexes.values())

    def _drop(self, table: TableRecord) -> None:
        self._transaction.drop(self._records(table), delete=False)
        for number in table.indexes.values():
            self._transaction.drop(self._index(number), delete=False)

    # ---- records

    def _store(self, table: TableRecord, images: Images) -> None:
        """Put and delete in key order, which touches every page once."""
        database = self._records(table)
        for keys in self._in_order(images, SLICE_RECORDS):
            self._store_slice(table.id, database, keys, images)

    def _store_indexed(self, name: str, table: TableRecord, images: Images) -> None:
        """The same, and keep the indexes in step: what the records held before is read for that."""
        read = field_reader(list(table.indexes))
        indexes = [self._index(number) for number in table.indexes.values()]
        database = self._records(table)
        for keys in self._in_order(images, INDEX_SLICE_RECORDS):
            changes = [_EntryChanges() for _ in indexes]
            for text in keys:
                key, image = text.encode(), images[text]
                value = self._transaction.get(key, None, database)
                old = None if value is None else read(self._image(name, table.id, key, value))
                new = None if image is None else read(image)
                for number, change in enumerate(changes):
                    change.note(key, None if old is None else (old[number],), None if new is None else (new[number],))
            for index, change in zip(indexes, changes, strict=True):
                self._change_index(index, change.gone, change.come)
            self._pace()
            self._store_slice(table.id, database, keys, images)

    def _in_order(self, images: Images, size: int) -> Iterator[list[str]]:
        """The keys in order, in slices; sorting all of them at once would stop every thread for long."""
        keys = iter(images)
        runs = []
        while run := sorted(islice(keys, SORTED_AT_ONCE)):
            runs.append(run)
            self._pace()
        ordered = merge(*runs)
        while piece := list(islice(ordered, size)):
            yield piece

    def _store_slice(self, table_id: int, database: lmdb._Database, keys: list[str], images: Images) -> None:
        stored = [(key.encode(), image) for key in keys if (image := images[key]) is not None]
        for piece in _pieces(stored):
            with self._transaction.cursor(database) as cursor:
                cursor.putmulti(
                    # As `encode_value`, which a call for each record would make a third slower.
                    [
                        (key, image + crc32(image, crc32(key, table_id)).to_bytes(CRC_BYTES, "little"))
                        for key, image in piece
                    ]
                )
            self._pace()
        if len(stored) < len(keys):
            for key in keys:
                if images[key] is None:
                    self._transaction.delete(key.encode(), db=database)

    def _image(self, name: str, table_id: int, key: bytes, value: bytes) -> bytes:
        image = decode_value(table_id, key, value)
        if image is None:
            raise CorruptionError(
                f"table {name!r}: the record {key.decode(errors='replace')!r} does not match its checksum",
                path=self._environment.path,
            )
        return image

    # ---- indexes

    def _change_index(self, index: lmdb._Database, gone: list[Pair], come: list[Pair]) -> None:
        for key, record in gone:
            if not self._transaction.delete(key, record, db=index):
                raise CorruptionError(
                    f"an index lacks the record {record.decode(errors='replace')!r}", path=self._environment.path
                )
        with self._transaction.cursor(index) as cursor:
            cursor.putmulti(sorted(come))

    def _remove_indexes(self, table: TableRecord, change: TableChanges) -> TableRecord:
        kept = {}
        for field, number in table.indexes.items():
            if change.indexes.get(field, True):
                kept[field] = number
            else:
                self._transaction.drop(self._index(number), delete=False)
        return table if len(kept) == len(table.indexes) else msgspec.structs.replace(table, indexes=kept)

    def _build_index(self, name: str, table: TableRecord, field: str) -> TableRecord:
        """Fill an index from the records, in slices."""
        number = self._free_index()
        index = self._index(number)
        database = self._records(table)
        read = field_reader([field])
        at = b""
        while True:
            self._pace()
            with self._transaction.cursor(database) as cursor:
                pairs = take(cursor, at, None, size=SLICE_RECORDS)
            if not pairs:
                break
            at = pairs[-1][0] + b"\0"
            entries = [(index_key(read(self._image(name, table.id, key, value))[0]), key) for key, value in pairs]
            self._change_index(index, [], entries)
        made = msgspec.structs.replace(table, indexes={**table.indexes, field: number})
        self._tables[name] = made
        return made


def _first_free(used: Iterable[int]) -> int:
    taken = set(used)
    number = 1
    while number in taken:
        number += 1
    return number


def field_reader(fields: list[str]) -> Callable[[bytes], tuple[Any, ...]]:
    """A function that gives the fields' values in an image, `ABSENT` for all where it is no JSON that can be read."""
    read = FieldReader(fields).read
    nothing = (ABSENT,) * len(fields)

    def values(image: bytes) -> tuple[Any, ...]:
        try:
            return read(image)
        except msgspec.DecodeError:
            return nothing

    return values


class _EntryChanges:
    """Entries that go from an index and entries that come."""

    def __init__(self) -> None:
        self.gone: list[Pair] = []
        self.come: list[Pair] = []

    def note(self, record: bytes, old: tuple[Any] | None, new: tuple[Any] | None) -> None:
        """What a record's field held, and what it holds now; ``None`` where there is no record."""
        if old is not None and new is not None and type(old[0]) is type(new[0]) in _SCALARS and old == new:
            return  # most records keep what they hold
        was = None if old is None else index_key(old[0])
        now = None if new is None else index_key(new[0])
        if was != now:
            if was is not None:
                self.gone.append((was, record))
            if now is not None:
                self.come.append((now, record))


_SCALARS = (str, int, float, bool, type(None), type(ABSENT))
"""Types whose equal values have equal index keys; a list may be equal to another one that has ``True`` for ``1``."""


def _pieces(pairs: list[Pair]) -> Iterator[list[Pair]]:
    """The pairs in lists of no more than `SLICE_BYTES`, or of one pair."""
    if sum(len(image) for _, image in pairs) <= SLICE_BYTES:
        yield pairs
        return
    for pair in pairs:
        yield [pair]
