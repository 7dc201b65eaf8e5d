"""The database file as a file: telling a store from anything else, making one, making one durable.

All of this happens before SQLite opens the file, so that nothing foreign is touched: SQLite writes to what it opens.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from urllib.parse import quote

from sessiondb.backend import Identity, Position
from sessiondb.errors import BackendError, CorruptionError, UnsupportedFormatError, WrongBackendError
from sessiondb.files import File, Files
from sessiondb.location import content_kind

from .sqlite_connection import LIVE, STILL, STILL_WITH_LOG, Place, checkpoint, is_open, peeking, translated
from .sqlite_schema import (
    APPLICATION_ID,
    CATALOG_DDL,
    FORMAT_VERSION,
    HEADER_BYTES,
    Meta,
    decode_header,
    encode_meta,
)

__all__ = ["create", "is_store", "make_durable", "must_be_known", "still_place"]

LOGS = ("-wal", "-journal")
"""What SQLite keeps beside the file, and needs."""


def is_store(files: Files, path: str) -> bool:
    """Whether a store is at the path, judged by the file's header; False when nothing is there.

    Raises:
        WrongBackendError: something else is there.
        CorruptionError: nothing is there but what belongs beside a SQLite file.
        UnsupportedFormatError: a later version wrote it.
    """
    with translated("look at the store", path):
        info = files.stat(path)
        if info is None:
            _must_be_without_logs(files, path)
            return False
        with peeking(info.identity) as alone:
            if not alone:
                return True  # it was looked at when it was opened; opening it now would drop SQLite's locks on it
            if not info.is_folder and _has_our_header(files, path):
                return True
            kind = content_kind(files, path)
        if kind in ("an unknown file", "a SQLite database") and files.stat(f"{path}.wal") is not None:
            raise CorruptionError("the header of the database file is damaged", path=path, offset=0)
    raise _foreign(kind, path)


def _foreign(kind: str, path: str) -> WrongBackendError:
    step = "choose the right location or backend"
    if kind == "an empty file":
        step = "if nothing was in it, remove it and open again; else restore it"
    elif kind == "a SQLite database":
        kind = "a SQLite database of another program"
        step = "choose another location"
    return WrongBackendError(
        f"expected a sessiondb SQLite database, found {kind} at {path}; it is untouched; next: {step}"
    )


def _must_be_without_logs(files: Files, path: str) -> None:
    for suffix in LOGS:
        if files.stat(path + suffix) is not None:
            raise CorruptionError(
                "the database file is missing, but SQLite's log of it is here", path=path,
                advice=f"put the file back; to start empty, move {path + suffix} away",
            )  # fmt: skip


def _has_our_header(files: Files, path: str) -> bool:
    file = files.open(path, read_only=True)
    try:
        header = decode_header(file.pread(HEADER_BYTES, 0))
    finally:
        file.close()
    if header is None or header.application_id != APPLICATION_ID:
        return False
    must_be_known(header.format_version, path)
    return True


def must_be_known(version: int, path: str) -> None:
    """Raise for a format that this code does not know.

    Raises:
        UnsupportedFormatError: a later version wrote it.
        CorruptionError: nobody wrote it.
    """
    if version < 1:
        raise CorruptionError(f"the database file says that its format version is {version}", path=path, offset=60)
    if version > FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"{path} is of format version {version}, this sessiondb reads version {FORMAT_VERSION}: upgrade sessiondb"
        )


def make_durable(files: Files, path: str) -> None:
    """Sync the file, SQLite's log of it, and their names: their writer may have been killed before it did.

    Must come before SQLite reads the log: what it shows afterwards is on disk.
    """
    info = files.stat(path)
    if info is None:
        raise BackendError(f"the database file {path} is missing")
    with peeking(info.identity) as alone:
        if alone:
            _sync(files.open(path, read_only=True))
    if files.stat(f"{path}-wal") is not None:
        _sync(files.open(f"{path}-wal", read_only=True))
    files.sync_folder(os.path.dirname(path))


def _sync(file: File) -> None:
    try:
        file.fsync()
    finally:
        file.close()


def still_place(files: Files, path: str) -> Place:
    """How to read the file without changing anything, while nobody writes it.

    Where this process has it open for writing, as only tests do, it is read beside that.
    """
    info = files.stat(path)
    if info is None:
        raise BackendError(f"the database file {path} is missing")
    if is_open(info.identity):
        return Place(path, info.identity, LIVE)
    sizes = {suffix: beside.size for suffix in LOGS if (beside := files.stat(path + suffix)) is not None}
    if sizes.get("-journal"):
        raise CorruptionError(
            "another program left an unfinished change of the database file", path=f"{path}-journal",
            advice="open the file once with the sqlite3 command, which undoes that change, then check the store",
        )  # fmt: skip
    return Place(path, info.identity, STILL_WITH_LOG if sizes.get("-wal") else STILL)


def create(files: Files, path: str) -> None:
    """Make an empty store: under a temporary name, durable, then renamed, so that there is all of it or nothing."""
    temporary = f"{path}.tmp"
    _remove(files, temporary)
    try:
        # Made here, not by SQLite: nobody but the owner may read it.
        files.open(temporary, create=True, exclusive=True).close()
        _fill(temporary)
        _sync(files.open(temporary))  # a rename may reach the disk before the data it names
        files.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            _remove(files, temporary)
        raise
    files.sync_folder(os.path.dirname(path))  # until then a power cut can take the file away again


def _remove(files: Files, temporary: str) -> None:
    for suffix in (*LOGS, "-shm", ""):
        if files.stat(temporary + suffix) is not None:
            files.unlink(temporary + suffix)


def _fill(path: str) -> None:
    meta = Meta(Identity(os.urandom(16), FORMAT_VERSION), Position(1, 0))
    uri = f"file://{quote(os.fsencode(path))}?mode=rw"
    with closing(sqlite3.connect(uri, isolation_level=None, uri=True)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA encoding = 'UTF-8'")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # then the switch to WAL leaves no -shm file
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        for statement in CATALOG_DDL:
            connection.execute(statement)
        connection.execute("INSERT INTO sessiondb_meta VALUES (1, ?, ?, ?, ?, ?)", encode_meta(meta))
        connection.execute("COMMIT")
        # Closing does the same, but says nothing when the disk is full: then half of the store would stay in SQLite's
        # log, which is not renamed with the file.
        checkpoint(connection, "TRUNCATE")
