"""The SQLite backend: one database file, with SQLite's own write-ahead log beside it while it is open.

What makes a checkpoint safe:

* ``journal_mode=WAL``, ``synchronous=FULL``, ``wal_autocheckpoint=0`` on every connection, read back. (With Python's
  defaults a power cut loses the last commit, with ``synchronous=NORMAL`` everything since the last checkpoint.)
* One write connection, of the process that holds the store's locks. It alone runs ``wal_checkpoint``; readers are
  ``mode=ro`` and ``query_only``. (Two connections that checkpoint can lose data in SQLite 3.7.0 to 3.51.2.)
* Changes and position are one transaction, which begins by looking at the stored position.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from contextlib import suppress

from sessiondb.backend import Backend, Changes, Identity, Pace, Position
from sessiondb.errors import BackendError, CorruptionError, FencedError, SessionDBError
from sessiondb.files import Files
from sessiondb.lazy_logging import LazyLogger
from sessiondb.replacement import Replacement

from . import sqlite_replacement
from .sqlite_apply import ChangeWriter
from .sqlite_check import problems
from .sqlite_connection import (
    LIVE,
    WRITER,
    Place,
    abandon,
    checkpoint,
    connect,
    disconnect,
    must_be_able,
    translated,
)
from .sqlite_file import create as create_file
from .sqlite_file import is_store, make_durable, must_be_known, still_place
from .sqlite_reader import Reader, read_meta, read_tables
from .sqlite_schema import SET_POSITION, Meta, encode_meta
from .sqlite_view import SqliteView

__all__ = ["SqliteBackend"]

logger = LazyLogger("sessiondb.sqlite")


class SqliteBackend(Backend):
    """One SQLite file."""

    scheme = "sqlite"
    cached = True
    slice_s = 0.0001

    def __init__(self, files: Files, place: Place, identity: Identity, writer: sqlite3.Connection | None):
        self._files = files
        self._place = place
        self._identity = identity
        self._writer = writer
        self._writing = threading.RLock()
        self._noting = threading.Lock()
        self._views: weakref.WeakSet[SqliteView] = weakref.WeakSet()
        self._fenced = False
        """True: somebody else wrote the file, who may be running checkpoints; a second one would be dangerous."""
        self._still: Reader | None = None
        """The only reader of a store that was opened read-only."""

    @classmethod
    def log_folder(cls, path: str) -> str:
        """``<path>.wal``; SQLite's own log is the file ``<path>-wal``."""
        return f"{path}.wal"

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether a sessiondb SQLite database is at the path, judged by its header."""
        return is_store(files, path)

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> SqliteBackend:
        """Open the database file, or make a new one.

        Raises:
            WrongBackendError: something else is there; it is left untouched.
            CorruptionError: the store is damaged.
            UnsupportedFormatError: a later version wrote it.
            BackendError: SQLite or the operating system refused.
        """
        must_be_able()
        if not is_store(files, path):
            if not create:
                raise BackendError(f"the database file {path} is missing")
            with translated("create the store", path):
                create_file(files, path)
        with translated("open the store", path):
            if not read_only:
                make_durable(files, path)
            still = Reader(still_place(files, path))
            try:
                return cls._open(files, still, read_only=read_only)
            except BaseException:
                still.end()
                raise

    @classmethod
    def _open(cls, files: Files, still: Reader, *, read_only: bool) -> SqliteBackend:
        """Look at the store before SQLite may write to it."""
        identity = still.meta.identity
        must_be_known(identity.format_version, still.path)
        still.tables()
        if read_only:
            backend = cls(files, still.place, identity, None)
            backend._still = still
            return backend
        still.end(close=True)
        place = still.place._replace(mode=LIVE)
        writer = connect(place._replace(mode=WRITER))
        try:
            checkpoint(writer, "TRUNCATE")
        except BaseException:
            disconnect(writer)
            raise
        return cls(files, place, identity, writer)

    def identity(self) -> Identity:
        """As stored when the backend was opened."""
        return self._identity

    def position(self) -> Position:
        """The stored position, through a new read transaction of a new connection.

        Raises:
            CorruptionError: another file was put in the place of this store's.
        """
        self._must_be_in_place()
        meta = self._reader().meta
        self._must_be_ours(meta)
        return meta.position

    def _reader(self) -> Reader:
        """A new read transaction; the same one for ever where nobody writes."""
        return self._still or Reader(self._place)

    def _must_be_in_place(self) -> None:
        with translated("look at the store", self._place.path):
            info = self._files.stat(self._place.path)
        if info is None or info.identity != self._place.identity:
            raise CorruptionError("this store's database file was removed or replaced", path=self._place.path)

    def _must_be_ours(self, meta: Meta) -> None:
        if meta.identity != self._identity:
            raise CorruptionError("the database file holds another store now", path=self._place.path)

    def read(self) -> SqliteView:
        """A view of the state as stored now."""
        view = SqliteView(self._reader())
        with self._noting:
            self._views.add(view)
        return view

    # ---- writing

    def _must_write(self) -> sqlite3.Connection:
        if self._writer is None:
            raise BackendError(f"{self._place.path} is closed or was opened read-only; next: open it for writing")
        return self._writer

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Make the changes in one transaction, which SQLite syncs before COMMIT returns."""
        path = self._place.path
        with self._writing, translated("write the store", path):
            writer = self._must_write()
            self._must_be_in_place()
            writer.execute("BEGIN IMMEDIATE")
            try:
                stored, uuid = read_meta(writer, path), self._identity.uuid
                self._must_be_ours(stored)
                if stored.position not in (expected, position):
                    self._fenced = True
                    raise FencedError(f"{path} is at {stored.position}, not at {expected}: somebody else wrote it")
                ChangeWriter(writer, read_tables(writer, path, uuid), uuid, pace).write(changes)
                writer.execute(SET_POSITION, encode_meta(Meta(self._identity, position)))
                writer.execute("COMMIT")
            except BaseException:
                self._undo(writer)
                raise

    def _undo(self, writer: sqlite3.Connection) -> None:
        if writer.in_transaction:  # SQLite has rolled back by itself after some errors
            writer.execute("ROLLBACK")
        if not self._fenced:
            # What was undone still takes up space in the log: where the disk is full nothing could go on without it.
            with suppress(sqlite3.Error):
                checkpoint(writer, "TRUNCATE")

    def settle(self) -> None:
        """Move SQLite's log into the database file, and empty it.

        A view that began while there was something in the log keeps SQLite from starting the log anew, and so it
        would grow for ever. So views of the newest state go on in a new read transaction, which needs no log.
        """
        with self._writing, translated("empty SQLite's log of the store", self._place.path):
            writer = self._must_write()
            if self._fenced or not checkpoint(writer, "PASSIVE"):
                return  # a view of an older state needs the log
            newest = read_meta(writer, self._place.path).position
            with self._noting:
                views = [view for view in self._views if view.position == newest]
            for view in views:
                view.readers.renew(Reader(self._place))
            checkpoint(writer, "TRUNCATE")

    # ---- the rest

    def check(self) -> list[str]:
        """Everything that can be read is read, by a connection of its own."""
        try:
            return problems(self._still or Reader(self._place), self._identity)
        except SessionDBError as error:
            return [str(error)]

    @classmethod
    def replacement(
        cls, files: Files, path: str, before: tuple[Identity, Position] | None, *, layout: str | None = None
    ) -> Replacement:
        """Made beside the file, and renamed when SQLite's log of it is empty."""
        return sqlite_replacement.begin(files, cls, path, layout)

    @classmethod
    def copy_aside(cls, files: Files, path: str, mark: str) -> tuple[str, str]:
        """A file beside the file."""
        with translated("copy the store", path):
            return sqlite_replacement.copy(files, path, mark)

    @classmethod
    def remove_leftovers(cls, files: Files, path: str) -> list[str]:
        """The files of an unfinished replacement or copy."""
        with translated("look at the store's folder", path):
            return sqlite_replacement.remove_leftovers(files, path)

    def size(self) -> int:
        """Bytes of the database file and SQLite's log."""
        path = self._place.path
        with translated("look at the store", path):
            return sum(info.size for name in (path, f"{path}-wal") if (info := self._files.stat(name)) is not None)

    def close(self) -> None:
        """Empty SQLite's log and close the write connection: without views there is one file then.

        Views of a store that was opened read-only end here: from now on somebody may write the file, and they read
        it without locks.
        """
        if self._still is not None:
            self._still.end()
        with self._writing:
            writer, self._writer = self._writer, None
            if writer is None:
                return
            try:
                if not self._fenced:
                    checkpoint(writer, "TRUNCATE")
            except sqlite3.Error as error:
                # Nothing is lost: the log is durable, and the next open empties it.
                logger.warning("%s: SQLite's log was not emptied at close: %s", self._place.path, error)
            finally:
                disconnect(writer)

    def abandon(self) -> None:
        """In a forked child: SQLite is not called again for this file; its connections stay open, unused."""
        abandon(self._place.identity)
        self._writing = threading.RLock()
        self._writer = self._still = None
