"""Peers on SQLite: the sqlite3 module alone, diskcache, sqlitedict."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar

import msgspec

from ..results import Guarantee, Kind
from .subject import Subject

__all__ = ["DiskcachePeer", "Sqlite3Peer", "SqlitedictPeer"]

_PUT = "INSERT INTO records VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record"
_SCAN = "SELECT key, record FROM records WHERE key >= ? ORDER BY key LIMIT ?"


class Sqlite3Peer(Subject):
    """A table of key and JSON in a SQLite file with a write-ahead log, a connection for each thread.

    ``synchronous=FULL`` syncs the log at each commit: it survives a power cut. With ``NORMAL`` only SQLite's
    checkpoints sync: the kernel has a commit, which survives the end of the process, and a power cut takes the last
    ones away (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """

    kind: ClassVar[Kind] = "peer"

    def __init__(self, folder: str, synchronous: str):
        self.name = f"sqlite3 WAL {synchronous}"
        self.sync = f"synchronous={synchronous}"
        self.guarantee: Guarantee = "power" if synchronous == "FULL" else "kill"
        self._path = f"{folder}/records.db"
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._encode = msgspec.json.Encoder().encode
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(Any).decode
        self._connection().execute(
            "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID"
        )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
            self._all.append(connection)
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            connection.execute(f"PRAGMA {self.sync}")
            level = connection.execute("PRAGMA synchronous").fetchone()[0]
            # The name says what it survives, so it must be so: SQLite keeps quiet about a mode that it cannot have.
            if (mode, level) != ("wal", 2 if self.guarantee == "power" else 1):
                raise sqlite3.OperationalError(f"SQLite has journal_mode {mode} and synchronous {level} here")
            self._local.connection = connection
        return connection

    def put(self, key: str, record: dict[str, Any]) -> None:
        """One statement, one transaction."""
        self._connection().execute(_PUT, (key, self._encode(record)))

    def get(self, key: str) -> dict[str, Any] | None:
        """One look-up by key."""
        row = self._connection().execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._decode(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One transaction."""
        with self._transaction() as connection:
            connection.executemany(_PUT, ((key, self._encode(record)) for key, record in records))

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """Read and write in one transaction, so that no other thread's change is lost."""
        with self._transaction():
            super().patch(key, changes)

    def delete(self, key: str) -> None:
        """One statement, one transaction."""
        self._connection().execute("DELETE FROM records WHERE key = ?", (key,))

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """One statement."""
        rows = self._connection().execute(_SCAN, (start, count))
        return ((key, self._decode(image)) for key, image in rows)

    def settle(self) -> None:
        """SQLite's own checkpoint."""
        self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Close every thread's connection."""
        while self._all:
            self._all.pop().close()


class DiskcachePeer(Subject):
    """diskcache.Cache as it comes, but that it evicts nothing; records are pickled.

    It sets ``synchronous=NORMAL`` in its SQLite file with a write-ahead log (`diskcache.DEFAULT_SETTINGS`): a write
    survives the end of the process, and not a power cut.
    """

    kind: ClassVar[Kind] = "peer"
    guarantee: Guarantee = "kill"
    name = "diskcache"
    sync = "synchronous=NORMAL, pickled"

    def __init__(self, folder: str):
        self._cache: Any = import_module("diskcache").Cache(folder, eviction_policy="none", size_limit=1 << 40)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Set."""
        self._cache[key] = record

    def get(self, key: str) -> dict[str, Any] | None:
        """Get."""
        found: dict[str, Any] | None = self._cache.get(key)
        return found

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One transaction."""
        with self._cache.transact():
            for key, record in records:
                self._cache[key] = record

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """Read and write in one transaction."""
        with self._cache.transact():
            super().patch(key, changes)

    def delete(self, key: str) -> None:
        """Delete."""
        del self._cache[key]

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Over its keys in order, from the first one of all: it cannot begin elsewhere."""
        keys = islice((key for key in self._cache.iterkeys() if key >= start), count)
        return ((key, self._cache[key]) for key in keys)

    def close(self) -> None:
        """Close it."""
        self._cache.close()


class SqlitedictPeer(Subject):
    """sqlitedict with a commit after each write, which waits until it is done; records are pickled.

    It sets ``synchronous=OFF``: nothing is ever synced. With its rollback journal a write survives the end of the
    process; a power cut may destroy the file.
    """

    kind: ClassVar[Kind] = "peer"
    guarantee: Guarantee = "kill"
    name = "sqlitedict"
    sync = "synchronous=OFF, pickled"

    def __init__(self, folder: str):
        # outer_stack: it would keep a text of the caller's stack for each write.
        self._dict: Any = import_module("sqlitedict").SqliteDict(f"{folder}/records.db", outer_stack=False)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Set and commit."""
        self._dict[key] = record
        self._dict.commit()

    def get(self, key: str) -> dict[str, Any] | None:
        """Get."""
        found: dict[str, Any] | None = self._dict.get(key)
        return found

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Set all and commit."""
        self._dict.update(records)
        self._dict.commit()

    def delete(self, key: str) -> None:
        """Delete and commit."""
        del self._dict[key]
        self._dict.commit()

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """All keys, sorted: it knows no order."""
        keys = sorted(key for key in self._dict if key >= start)
        return ((key, self._dict[key]) for key in keys[:count])

    def close(self) -> None:
        """Close it; its thread ends."""
        self._dict.close()
