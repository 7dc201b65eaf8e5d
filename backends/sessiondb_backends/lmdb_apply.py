"""Changing the store in LMDB: one write transaction, in small pieces.

Databases of tables and indexes that are not needed any more are emptied and used again for others: deleting one would
close its handle, and with it break the views that still read it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING
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

__all__ = ["Writer", "index_keys_of"]

SLICE_RECORDS = 100
"""Records stored between two calls of `pace`: about 100 us."""
SLICE_BYTES = 128 << 10
INDEX_SLICE_RECORDS = 32

Pair = tuple[bytes, bytes]


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
            self._forget(name)  # nothing but deletions in a table that is not there
            return
        table = TableRecord(self._free_table(), kind) if before is None else before
        self._tables[name] = table
        table = self._remove_indexes(table, change)
        if table.indexes:
            self._store_indexed(name, table, change.images)
        else:
            self._store(table.id, self._records(table), change.images)
        for field in sorted(field for field, wanted in change.indexes.items() if wanted):
            if field not in table.indexes:
                table = self._build_index(name, table, field)
        if table != before:
            self._transaction.put(table_key(name), encode_table(table), db=self._directory)
        self._tables[name] = table

    def _forget(self, name: str) -> None:
        self._transaction.delete(table_key(name), db=self._directory)

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

    def _store(self, table_id: int, database: lmdb._Database, images: dict[str, bytes | None]) -> None:
        """Put and delete in key order, which touches every page once."""
        transaction, pace = self._transaction, self._pace
        stored = iter(sorted(key for key, image in images.items() if image is not None))
        while keys := list(islice(stored, SLICE_RECORDS)):
            for piece in _pieces((key.encode(), images[key]) for key in keys):
                pace()
                with transaction.cursor(database) as cursor:
                    cursor.putmulti(
                        [
                            (key, image + crc32(image, crc32(key, table_id)).to_bytes(CRC_BYTES, "little"))
                            for key, image in piece
                        ]
                    )
        deleted = iter(sorted(key for key, image in images.items() if image is None))
        while keys := list(islice(deleted, SLICE_RECORDS)):
            pace()
            for key in keys:
                transaction.delete(key.encode(), db=database)

    def _store_indexed(self, name: str, table: TableRecord, images: dict[str, bytes | None]) -> None:
        """The same, and keep the indexes in step: what the records held before is read for that."""
        fields = list(table.indexes)
        keys_of = index_keys_of(fields)
        indexes = [self._index(table.indexes[field]) for field in fields]
        database = self._records(table)
        keys = iter(sorted(images))
        while wanted := list(islice(keys, INDEX_SLICE_RECORDS)):
            self._pace()
            names = [key.encode() for key in wanted]
            was = {
                key: keys_of(self._image(name, table.id, key, value))
                for key in names
                if (value := self._transaction.get(key, None, database)) is not None
            }
            now = {
                key: keys_of(image)
                for key, text in zip(names, wanted, strict=True)
                if (image := images[text]) is not None
            }
            for number, index in enumerate(indexes):
                gone, come = _difference(names, was, now, number)
                self._change_index(index, gone, come)
            self._store(table.id, database, {key: images[key] for key in wanted})

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
        keys_of = index_keys_of([field])
        at = b""
        while True:
            self._pace()
            with self._transaction.cursor(database) as cursor:
                pairs = take(cursor, at, None, size=SLICE_RECORDS)
            if not pairs:
                break
            at = pairs[-1][0] + b"\0"
            entries = [(keys_of(self._image(name, table.id, key, value))[0], key) for key, value in pairs]
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


def index_keys_of(fields: list[str]) -> Callable[[bytes], list[bytes]]:
    """A function that gives the index keys of a document's fields."""
    reader = FieldReader(fields)
    nothing = (ABSENT,) * len(fields)

    def keys_of(image: bytes) -> list[bytes]:
        try:
            values = reader.read(image)
        except msgspec.DecodeError:
            values = nothing  # no JSON: it has no fields
        return [index_key(value).key for value in values]

    return keys_of


def _difference(
    keys: list[bytes], was: dict[bytes, list[bytes]], now: dict[bytes, list[bytes]], number: int
) -> tuple[list[Pair], list[Pair]]:
    """The entries that go and those that come in one of the indexes."""
    gone, come = [], []
    for key in keys:
        old = was[key][number] if key in was else None
        new = now[key][number] if key in now else None
        if old != new:
            if old is not None:
                gone.append((old, key))
            if new is not None:
                come.append((new, key))
    return gone, come


def _pieces(pairs: Iterator[tuple[bytes, bytes | None]]) -> Iterator[list[Pair]]:
    """The pairs in lists of no more than `SLICE_BYTES`, or of one pair."""
    piece: list[Pair] = []
    size = 0
    for key, image in pairs:
        assert image is not None
        if piece and size + len(image) > SLICE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append((key, image))
        size += len(image)
    if piece:
        yield piece
