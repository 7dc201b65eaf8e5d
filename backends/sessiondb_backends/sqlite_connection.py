"""Connections to a SQLite store: how they are opened, what every one of them must have taken, what errors mean.

Two rules of SQLite's shape this file:

* Its locks are POSIX locks: *any* close of a descriptor of the database file drops all locks that this process
  has on it. So this process never opens the file by itself while SQLite has it open here; `peeking` sees to it.
* A connection must not cross a fork. The child keeps the parent's connections untouched, for ever: `keep_for_ever`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import NamedTuple
from urllib.parse import quote

from sessiondb.errors import BackendError, CorruptionError, SessionDBError

from .system_errors import refusal

__all__ = [
    "FAILURES",
    "LIVE",
    "STILL",
    "STILL_WITH_LOG",
    "WRITER",
    "Place",
    "abandon",
    "checkpoint",
    "connect",
    "disconnect",
    "failure",
    "is_open",
    "keep_for_ever",
    "must_be_able",
    "peeking",
    "translated",
]

BUSY_S = 5.0
"""How long to wait for other programs; processes of sessiondb keep each other out by locks of their own."""

WRITER = "mode=rw"
LIVE = "mode=ro"
"""A reader beside a writer."""
STILL = "mode=ro&immutable=1"
"""A reader of a file that nobody writes and that has no write-ahead log: touches nothing, not even locks."""
STILL_WITH_LOG = "mode=ro&vfs=unix-none"
"""The same for a file with a write-ahead log, together with ``locking_mode=EXCLUSIVE``: the index of the log is then
kept in this connection's memory, and no ``-shm`` file is made."""


class Place(NamedTuple):
    """A database file and how readers open it."""

    path: str
    identity: tuple[int, int]
    """(device, inode)."""
    mode: str


_connections: dict[int, tuple[Place, sqlite3.Connection]] = {}
"""Every open connection of this process, by its `id`. Only atomic operations: destructors come here too."""
_opening = threading.RLock()
_kept: list[sqlite3.Connection] = []


@cache
def must_be_able() -> None:
    """Look once whether this Python's SQLite can do what is asked of it.

    Raises:
        BackendError: it cannot.
    """
    lacking = "" if sqlite3.threadsafety == 3 else "connections that threads may share"
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("SELECT json_type('[]', '$.\"a\"') ORDER BY 1 NULLS LAST")
    except sqlite3.OperationalError as error:
        lacking = f"JSON functions and NULLS LAST ({error})"
    if lacking:
        raise BackendError(
            f"the SQLite {sqlite3.sqlite_version} of this Python has no {lacking}; "
            "next: use a Python whose SQLite is 3.38 or newer"
        )


def connect(place: Place) -> sqlite3.Connection:
    """Open a connection with the pragmas that all of them need.

    Raises:
        sqlite3.Error: SQLite refused.
        BackendError: a pragma did not take.
    """
    uri = f"file://{quote(os.fsencode(place.path))}?{place.mode}"
    with _opening:
        connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        _connections[id(connection)] = (place, connection)
    try:
        _prepare(connection, place)
    except BaseException:
        disconnect(connection)
        raise
    return connection


def _prepare(connection: sqlite3.Connection, place: Place) -> None:
    if place.mode == STILL_WITH_LOG:
        _set(connection, place, "locking_mode", "EXCLUSIVE", "exclusive")  # before anything is read
    _set(connection, place, "synchronous", "FULL", 2)
    _set(connection, place, "wal_autocheckpoint", "0", 0)  # a checkpoint by a second connection can lose data
    _set(connection, place, "fullfsync", "1", 1)  # macOS: a plain fsync does not flush the device
    _set(connection, place, "checkpoint_fullfsync", "1", 1)
    if place.mode == WRITER:
        _set(connection, place, "journal_mode", "WAL", "wal")
        connection.execute("PRAGMA secure_delete = FAST")
    else:
        _set(connection, place, "query_only", "1", 1)


def _set(connection: sqlite3.Connection, place: Place, pragma: str, value: str, expected: int | str) -> None:
    """Set a pragma and read it back: SQLite says nothing when one does not take."""
    connection.execute(f"PRAGMA {pragma} = {value}").fetchall()
    found = connection.execute(f"PRAGMA {pragma}").fetchone()
    if found != (expected,):
        raise BackendError(
            f"SQLite {sqlite3.sqlite_version} did not take {pragma} = {value} for {place.path} (it says {found}); "
            "without it a power cut loses data; next: use another build of SQLite, or another file system"
        )


def checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    """Move SQLite's log into the database file, without waiting for readers; returns whether all of it is there."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy, pages, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    return not busy and bool(pages == moved)


def disconnect(connection: sqlite3.Connection) -> None:
    """Close a connection; nothing when it is closed, or belongs to the process this one was forked from."""
    place, _ = _connections.get(id(connection), (None, None))
    if place is None:
        return
    if place.mode in (STILL, STILL_WITH_LOG) and is_open(place.identity, besides=connection):
        keep_for_ever(connection)  # it goes without locks, so its close would drop those of the others
        return
    connection.close()
    _connections.pop(id(connection), None)


def keep_for_ever(connection: sqlite3.Connection) -> None:
    """Take a connection out of use without closing it, not even when the interpreter ends."""
    if _connections.pop(id(connection), None) is None:
        return
    _kept.append(connection)
    with suppress(ImportError):  # an interpreter without it closes the connection when it ends
        import ctypes  # 5 ms that few processes need

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def is_open(identity: tuple[int, int], *, besides: sqlite3.Connection | None = None) -> bool:
    """Whether SQLite has the file with this (device, inode) open in this process."""
    return any(place.identity == identity and other is not besides for place, other in list(_connections.values()))


@contextmanager
def peeking(identity: tuple[int, int]) -> Iterator[bool]:
    """While this runs SQLite does not open files here. Gives whether the file may be opened without it."""
    with _opening:
        yield not is_open(identity)


def abandon(identity: tuple[int, int] | None = None) -> None:
    """In a forked child: never touch the parent's connections (of one file, or all) again, nor close them."""
    for place, connection in list(_connections.values()):
        if identity in (None, place.identity):
            keep_for_ever(connection)


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.RLock()
    abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# ---- errors

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH}
_STEPS = {
    sqlite3.SQLITE_FULL: "free space on the disk and try again",
    sqlite3.SQLITE_IOERR: "look at the disk and the system's log, then try again",
    sqlite3.SQLITE_CANTOPEN: "check the file, its folder and their permissions",
    sqlite3.SQLITE_READONLY: "check the permissions of the file, of its -wal file and of the folder",
    sqlite3.SQLITE_PERM: "check the permissions of the file, of its -wal file and of the folder",
    sqlite3.SQLITE_BUSY: "end the other program that has the file open, and try again",
    sqlite3.SQLITE_LOCKED: "end the other program that has the file open, and try again",
    sqlite3.SQLITE_NOMEM: "free memory and try again",
}


FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What a call of SQLite raises; the second where a message of its own quotes damaged text."""


def failure(error: Exception, what: str, path: str) -> SessionDBError:
    """What one of `FAILURES` means."""
    code = getattr(error, "sqlite_errorcode", None)
    code = None if code is None else code & 0xFF
    text = str(error)
    # A table that is missing, JSON that does not parse and text that is not UTF-8 were not written by sessiondb.
    damaged = code in _DAMAGE or isinstance(error, UnicodeDecodeError)
    if damaged or text.startswith(("no such", "malformed", "Could not decode")):
        return CorruptionError(
            f"SQLite cannot {what}: {text}", path=path,
            advice="copy the file and its -wal file aside, run `sessiondb check`, restore a backup",
        )  # fmt: skip
    step = _STEPS.get(code or 0, "mend the cause and try again")
    return BackendError(f"SQLite cannot {what} ({path}): {text}; what was there is kept; next: {step}")


@contextmanager
def translated(what: str, path: str) -> Iterator[None]:
    """Turn errors of SQLite and of the operating system into those of sessiondb."""
    try:
        yield
    except FAILURES as error:
        raise failure(error, what, path) from error
    except OSError as error:
        raise refusal(f"{what} ({path})", error) from error
