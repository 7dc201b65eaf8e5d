"""A read transaction on a SQLite store: one state of it, for as long as the transaction lasts."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from zlib import crc32

from sessiondb.errors import BackendError, CorruptionError

from .sqlite_connection import (
    FAILURES,
    LIVE,
    STILL_WITH_LOG,
    Place,
    connect,
    disconnect,
    failure,
    keep_for_ever,
    translated,
)
from .sqlite_schema import READ_META, READ_TABLES, Meta, TableRow, decode_meta, decode_table

__all__ = ["ROW", "Reader", "Readers", "damaged", "read_meta", "read_tables"]

ROW = "key, CAST(record AS BLOB), crc"
"""The columns that `Reader.records` expects."""
IDLE_MAX = 4
"""Readers of a view that are kept for its next query."""
CHUNK_ROWS = 16
CHUNK_BYTES = 128 << 10
"""Records are fetched in chunks of about so many bytes, at first of so many rows."""


def read_meta(connection: sqlite3.Connection, path: str) -> Meta:
    """The row of ``sessiondb_meta``.

    Raises:
        CorruptionError: it is missing or damaged.
    """
    row = connection.execute(READ_META).fetchone()
    meta = None if row is None else decode_meta(row)
    if meta is None:
        raise CorruptionError("the store's row in sessiondb_meta is missing or damaged", path=path)
    return meta


def read_tables(connection: sqlite3.Connection, path: str, uuid: bytes) -> dict[str, TableRow]:
    """The rows of ``sessiondb_tables`` by the tables' names.

    Raises:
        CorruptionError: one is damaged.
    """
    rows = [decode_table(columns, uuid) for columns in connection.execute(READ_TABLES)]
    if None in rows:
        raise CorruptionError(f"row {rows.index(None) + 1} of sessiondb_tables is damaged", path=path)
    return {row.name: row for row in rows if row is not None}


class Reader:
    """A read transaction on a connection of its own, until it is garbage or `end` is called.

    The lock is held while a statement runs: two threads must not meet in one prepared statement.
    """

    def __init__(self, place: Place):
        self.place = place
        self.turn = 0
        """Of `Readers`: one of an earlier turn is not used again."""
        self.path = place.path
        self.lock = threading.RLock()  # not Lock: a destructor that runs inside a read may read itself
        self._ended = False
        self._must_stay_open = place.mode == STILL_WITH_LOG
        with translated("read the store", place.path):
            self.connection = connect(place)
            try:
                self.execute = self.connection.execute
                self.execute("BEGIN")
                self.meta = read_meta(self.connection, place.path)
            except BaseException:
                self.end()
                raise

    def tables(self) -> dict[str, TableRow]:
        """The catalog."""
        with translated("read the store", self.path), self.lock:
            return read_tables(self.connection, self.path, self.meta.identity.uuid)

    def fetch(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """All rows of a statement."""
        with translated("read the store", self.path), self.lock:
            return self.execute(sql, tuple(parameters)).fetchall()

    def stream(self, sql: str, parameters: Iterable[Any] = ()) -> Iterator[list[Any]]:
        """The rows of a statement, a chunk at a time; the statement ends with the iterator."""
        size = CHUNK_ROWS
        try:
            with self.lock:
                cursor = self.execute(sql, tuple(parameters))
            while True:
                with self.lock:
                    if self._ended:
                        self._refuse()
                    chunk = cursor.fetchmany(size)
                if not chunk:
                    return
                yield chunk
                length = 1 + sum(len(row[1] or b"") for row in chunk)
                size = max(1, min(size * 4, 1_000, len(chunk) * CHUNK_BYTES // length))
        except FAILURES as error:
            raise failure(error, "read the store", self.path) from error

    def records(self, table: TableRow, sql: str, parameters: Iterable[Any] = ()) -> Iterator[tuple[str, bytes]]:
        """Keys and images of the statement's rows (`ROW`), each compared with its checksum."""
        seed = table.seed
        for chunk in self.stream(sql, parameters):
            for key, image, crc in chunk:
                try:
                    whole = crc32(image, crc32(key.encode(), seed)) == crc
                except (AttributeError, TypeError):
                    whole = False  # not even of the right types
                if not whole:
                    raise damaged(self.path, table.name, key)
                yield key, image

    def end(self, *, close: bool = False) -> None:
        """Read no more; a second call does nothing. With `close` SQLite may tidy up the log: a writer comes."""
        with self.lock:
            self._ended = True
            self._must_stay_open = self._must_stay_open and not close
            self.execute = self._refuse
            self._close()

    def _close(self) -> None:
        connection = getattr(self, "connection", None)
        if connection is None:
            return
        if self._must_stay_open:
            # The close of the only connection would tidy up: remove a log in which nothing is whole.
            keep_for_ever(connection)
        else:
            disconnect(connection)

    def _refuse(self, *_: Any) -> Any:
        raise BackendError(f"{self.path} was closed, this view of it too; next: open it again")

    def __del__(self) -> None:
        self._close()


class Readers:
    """Read transactions on one state: the first for look-ups, others for what takes long.

    A statement holds its connection until it gives its first row, and sorting or counting many records takes a while:
    look-ups of other threads do not wait for that.
    """

    def __init__(self, first: Reader):
        self.current: Reader | None = first
        """The first; ``None`` when they were closed."""
        self._path = first.path
        self._turn = 0
        self._idle: list[Reader] = []

    @property
    def first(self) -> Reader:
        """The reader for look-ups.

        Raises:
            BackendError: they were closed.
        """
        first = self.current
        if first is None:
            raise BackendError(f"this view of {self._path} was closed; next: take a new one")
        return first

    def take(self) -> Reader:
        """A reader that nobody else uses until it is given back; the first where the state is not the newest now."""
        first = self.first
        if first.place.mode != LIVE:
            return first  # one for all: it reads without locks and must end with the store
        with suppress(IndexError):
            return self._idle.pop()
        turn = self._turn
        with suppress(BackendError):
            reader = Reader(first.place)
            reader.turn = turn
            return reader if reader.meta == first.meta else first
        return first

    def give_back(self, reader: Reader) -> None:
        """Keep it for the next one; without locks, as destructors come here too."""
        if reader is not self.current and reader.turn == self._turn and len(self._idle) < IDLE_MAX:
            self._idle.append(reader)

    def renew(self, reader: Reader) -> None:
        """Go on in a new read transaction if that shows the same state; what reads now goes on in the old one."""
        if self.current is not None and reader.meta == self.current.meta:
            self._turn += 1
            self._idle.clear()
            self.current = reader

    def close(self) -> None:
        """Let go of all; what reads now keeps its own until it ends."""
        self._turn += 1
        self._idle.clear()
        self.current = None


def damaged(path: str, table: str, key: object) -> CorruptionError:
    """A record does not match its checksum."""
    return CorruptionError(
        f"the record {key!r} of table {table!r} does not match its checksum", path=path,
        advice="copy the file and its -wal file aside, run `sessiondb check`, restore a backup",
    )  # fmt: skip
