"""A state of the store in LMDB: one read transaction, shared by all threads that look through the view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from zlib import crc32

from sessiondb.backend import BackendView, Found, TableKind
from sessiondb.errors import ClosedError, CorruptionError
from sessiondb.query import Condition, Order

from . import lmdb_find
from .lmdb_env import Environment, failure
from .lmdb_format import (
    CRC_BYTES,
    DIRECTORY,
    RESIDUE,
    STATE_KEY,
    TABLE_PREFIX,
    State,
    TableRecord,
    decode_state,
    decode_table,
    index_database,
    table_database,
    table_name,
)

if TYPE_CHECKING:
    import lmdb

__all__ = ["LmdbView", "OpenTable", "read_state", "read_tables"]

SLICE_RECORDS = (16, 64, 256)
"""Records read under one lock: few first, for those who want no more."""
SLICE_BYTES = 256 << 10


class OpenTable(NamedTuple):
    """A table with the handles of its databases."""

    id: int
    kind: TableKind
    records: lmdb._Database
    indexes: dict[str, lmdb._Database]


def read_state(get: Callable[..., Any], directory: lmdb._Database, path: str) -> State:
    """The store's state as a transaction shows it.

    Raises:
        CorruptionError: it is missing or damaged.
    """
    data = get(STATE_KEY, None, directory)
    state = None if data is None else decode_state(data)
    if state is None:
        raise CorruptionError(f"the store's state is {'missing' if data is None else 'damaged'}", path=path)
    return state


def read_tables(transaction: lmdb.Transaction[bytes], directory: lmdb._Database, path: str) -> dict[str, TableRecord]:
    """The directory as a transaction shows it.

    Raises:
        CorruptionError: an entry is damaged.
    """
    tables = {}
    with transaction.cursor(directory) as cursor:
        if cursor.set_range(TABLE_PREFIX):
            for key, value in cursor.iternext():
                if not key.startswith(TABLE_PREFIX):
                    break
                record = decode_table(value)
                if record is None:
                    raise CorruptionError(f"the directory's entry {key!r} is damaged", path=path)
                tables[table_name(key)] = record
    return tables


class LmdbView(BackendView):
    """One read transaction.

    LMDB lets several threads use a transaction one after the other, not at once: hence the lock, under which ranges
    are read in slices. The transaction ends with `close`, or when nobody refers to the view any more.
    """

    def __init__(self, environment: Environment):
        """Begin; the environment's handles may be opened for that."""
        self._environment = environment
        self._errors = environment.errors
        self._lock = threading.Lock()
        self._transaction: lmdb.Transaction[bytes] | None = None
        environment.must_be_usable()
        environment.retain()
        try:
            self._begin(environment)
        except BaseException:
            self.close()
            raise
        environment.readers.add(self)

    def _begin(self, environment: Environment) -> None:
        path, handles = environment.path, environment.handles
        while True:
            try:
                transaction = environment.env.begin()
            except self._errors as error:
                raise failure(error, "begin a read", path) from error
            try:
                directory = handles[DIRECTORY]
                self.position = read_state(transaction.get, directory, path).position
                records = read_tables(transaction, directory, path)
                missing = [name for name in _databases(records) if name not in handles]
                if not missing:
                    break
            except self._errors as error:
                raise failure(error, "read the directory", path) from error
            transaction.abort()
            with environment.writing:  # another process made them
                environment.open_handles([name for name in missing if name not in handles])
        self._tables = {
            name: OpenTable(
                record.id, record.kind, handles[table_database(record.id)],
                {field: handles[index_database(number)] for field, number in record.indexes.items()},
            )
            for name, record in records.items()
        }  # fmt: skip
        self._transaction = transaction
        self._get: Callable[..., bytes | None] = transaction.get

    # ---- the contract

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return {name: table.kind for name, table in self._tables.items()}

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        found = self._tables.get(table)
        if found is None:
            return None
        name = key.encode()
        try:
            with self._lock:
                value = self._get(name, None, found.records)
        except self._errors as error:
            raise failure(error, f"read key {key!r} of table {table!r}", self._environment.path) from error
        if value is None:
            return None
        if crc32(value, crc32(name, found.id)) != RESIDUE:
            self._damaged(table, name)
        return value[:-CRC_BYTES]

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""
        found = self._tables.get(table)
        if found is None:
            return {}
        images = {}
        names = iter(sorted({key.encode() for key in keys}))
        while wanted := list(islice(names, SLICE_RECORDS[-1])):
            images.update(self.fetch(table, wanted))
        return {name.decode(): image for name, image in images.items()}

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        found = self._tables.get(table)
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
                    self._damaged(table, name)
                yield name.decode(), value[:-CRC_BYTES]
            if not pairs:
                return
            if reverse:
                high = pairs[-1][0]
            else:
                low = pairs[-1][0] + b"\0"

    def count(self, table: str) -> int:
        """The number of records."""
        found = self._tables.get(table)
        return 0 if found is None else self.entries(found.records)

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Through the best index there is."""
        found = self._tables.get(table)
        if found is None:
            return Found(iter(()), exact=True, ordered=True)
        return lmdb_find.find(self, table, found.indexes, where, order, limit)

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """From an index alone, where one can tell."""
        found = self._tables.get(table)
        if found is None:
            return 0
        return lmdb_find.count(self, table, found.indexes, where)

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index."""
        found = self._tables.get(table)
        return frozenset() if found is None else frozenset(found.indexes)

    def close(self) -> None:
        """End the transaction; a second call does nothing."""
        with self._lock:
            transaction, self._transaction = self._transaction, None
            environment = self._environment
            if not environment.is_gone():
                self.forget(f"a view of {environment.path} was used after its end")
                if transaction is not None:
                    transaction.abort()
        self._let_go()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    _released = False

    def _let_go(self) -> None:
        if not self._released:
            self._released = True
            self._environment.release()

    def forget(self, reason: str) -> None:
        """From now on every read raises `ClosedError`; LMDB is not called."""

        def refuse(*_: object) -> NoReturn:
            raise ClosedError(reason)

        self._get = refuse
        self._transaction = None
        self._lock = threading.Lock()  # in a forked child, the old one may be held by a thread that is not there

    # ---- for finding: everything that calls LMDB

    def slice(
        self, database: lmdb._Database, low: bytes, high: bytes | None, *, reverse: bool = False, size: int
    ) -> list[tuple[bytes, bytes]]:
        """Some of the entries with ``low <= key < high``, from the beginning or from the end."""
        pairs = []
        room = SLICE_BYTES
        try:
            with self._lock, self._usable().cursor(database) as cursor:
                if not (_to_last_below(cursor, high) if reverse else _to_first(cursor, low)):
                    return []
                for pair in islice(cursor.iterprev() if reverse else cursor.iternext(), size):
                    if pair[0] < low if reverse else high is not None and pair[0] >= high:
                        break
                    pairs.append(pair)
                    room -= len(pair[1])
                    if room < 0:
                        break
        except self._errors as error:
            raise failure(error, "read a range", self._environment.path) from error
        return pairs

    def fetch(self, table: str, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """The images of those of the keys that are present."""
        found = self._tables[table]
        try:
            with self._lock, self._usable().cursor(found.records) as cursor:
                pairs = cursor.getmulti(names)
        except self._errors as error:
            raise failure(error, f"read records of table {table!r}", self._environment.path) from error
        images = {}
        for name, value in pairs:
            if crc32(value, crc32(name, found.id)) != RESIDUE:
                self._damaged(table, name)
            images[name] = value[:-CRC_BYTES]
        return images

    def entries(self, database: lmdb._Database) -> int:
        """The number of entries of a database."""
        try:
            with self._lock:
                return self._usable().stat(database)["entries"]
        except self._errors as error:
            raise failure(error, "count", self._environment.path) from error

    def _usable(self) -> lmdb.Transaction[bytes]:
        if self._transaction is None:
            self._get(b"")  # says why
            raise ClosedError("the view was closed")
        return self._transaction

    def _damaged(self, table: str, name: bytes) -> NoReturn:
        raise CorruptionError(
            f"table {table!r}: the record {name.decode(errors='replace')!r} does not match its checksum",
            path=self._environment.path,
        )


def _databases(records: dict[str, TableRecord]) -> Iterator[bytes]:
    for record in records.values():
        yield table_database(record.id)
        for number in record.indexes.values():
            yield index_database(number)


def _to_first(cursor: lmdb.Cursor[bytes], low: bytes) -> bool:
    return cursor.set_range(low) if low else cursor.first()


def _to_last_below(cursor: lmdb.Cursor[bytes], high: bytes | None) -> bool:
    if high is not None and cursor.set_range(high):
        return cursor.prev()
    return cursor.last()
