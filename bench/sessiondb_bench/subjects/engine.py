"""sessiondb itself as a subject: a backend, a sync level, a folder of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import sessiondb
from sessiondb.errors import UsageError

from ..results import Guarantee, Kind
from .subject import Subject

__all__ = [
    "BACKENDS",
    "SYNC_LEVELS",
    "EngineSubject",
    "engine_subject",
    "guarantee_of",
    "location_in",
    "remove_from_server",
]

BACKENDS = ("memory", "json", "sqlite", "lmdb", "postgres")
SYNC_LEVELS = ("always", "interval", "never")
TABLE = "sessions"
SCHEMA = "sessiondb_benchmarks"
"""On a server, where nobody says another; it stays there, empty."""

_NAMES = {"json": "sessions.json", "sqlite": "sessions.db", "lmdb": "sessions.lmdb"}


def guarantee_of(backend: str, sync: str) -> Guarantee:
    """What a write that returned survives; the same on every backend that keeps anything, for it is the log's doing."""
    if backend == "memory":
        return "nothing"
    return "power" if sync == "always" else "kill"


def location_in(folder: str, backend: str, dsn: str | None = None) -> str:
    """A new store's location in a folder.

    On a server it is a namespace that nobody else has, in the schema that `dsn` says, else in `SCHEMA`.

    Raises:
        UsageError: there is no such backend, or no `dsn` for a server's.
    """
    if backend == "memory":
        return "memory:"
    if backend in _NAMES:
        return os.path.join(folder, _NAMES[backend])
    if backend != "postgres":
        raise UsageError(f"there is no backend {backend!r}; it must be one of {', '.join(BACKENDS)}")
    if not dsn:
        raise UsageError("postgres is measured on a server; next: give its URL, postgresql://...")
    scheme, _, rest = dsn.partition(":")
    base, _, query = rest.partition("?")
    kept = [item for item in query.split("&") if item and item.partition("=")[0] not in ("namespace", "log_dir")]
    if not any(item.startswith("schema=") for item in kept):
        kept.append(f"schema={SCHEMA}")
    logs = quote(os.path.abspath(folder), safe="/")
    kept += [f"namespace=bench_{os.urandom(6).hex()}", f"log_dir={logs}"]
    return f"{re.sub('^postgres$', 'postgresql', scheme)}:{base}?{'&'.join(kept)}"


class EngineSubject(Subject):
    """A table of a database.

    Attributes:
        db: the database.
        table: its one table, of dicts.
        location: where it is; for a server with a password, if there is one: not for people.
    """

    kind: ClassVar[Kind] = "sessiondb"

    def __init__(self, backend: str, sync: Any, location: str, indexes: Iterable[str], options: dict[str, Any]):
        self.name = backend
        self.sync = "" if backend == "memory" else sync
        self.guarantee = guarantee_of(backend, sync)
        self.location = location
        self.db = sessiondb.open(location, sync=sync, **options)
        try:
            self.table = table = self.db.table(TABLE, indexes=indexes)
        except BaseException:
            self.close()
            raise
        # The table's own methods instead of ours: a call in between would be a tenth of a `get`.
        vars(self).update(
            get=table.get, put=table.put, put_many=table.put_many, patch=table.patch, delete=table.__delitem__
        )

    def put(self, key: str, record: dict[str, Any]) -> None:
        """`Table.put`."""
        self.table.put(key, record)

    def get(self, key: str) -> dict[str, Any] | None:
        """`Table.get`."""
        found: dict[str, Any] | None = self.table.get(key)
        return found

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """`Table.scan`."""
        return self.table.scan(start=start, limit=count)

    def settle(self) -> None:
        """A checkpoint: all records are in the backend, and the memtable is empty."""
        self.db.checkpoint()

    def close(self) -> None:
        """Close the database; on a server its namespace is removed, for the benchmark made it."""
        try:
            self.db.close()
        finally:
            remove_from_server(self.location)


def engine_subject(
    backend: str,
    sync: str,
    folder: str,
    *,
    dsn: str | None = None,
    cache: int | None = None,
    indexes: Iterable[str] = (),
    **options: Any,
) -> EngineSubject:
    """A new store.

    Args:
        backend: one of `BACKENDS`.
        sync: one of `SYNC_LEVELS`.
        folder: a folder that is there and in which nothing else is; a server's log goes there too.
        dsn: of the server for ``postgres``: ``postgresql://...``.
        cache: budget of the record cache in bytes, 0 for none; ``None`` for the engine's default.
        indexes: fields with an index.
        options: more of `sessiondb.open`.

    Raises:
        UsageError: an unknown backend or option.
    """
    if cache is not None:
        options["cache_bytes"] = cache
    return EngineSubject(backend, sync, location_in(folder, backend, dsn), indexes, options)


def remove_from_server(location: str) -> None:
    """Remove a benchmark's store from its server, with its views; nothing for a location that is on no server."""
    scheme, _, path = location.partition(":")
    if scheme != "postgresql":
        return
    from sessiondb_backends.postgres_removal import remove_store

    remove_store(path)
