"""A SQLite database of another program, opened so that neither it nor its log can change.

* In WAL mode with a log beside it (``-wal``) another program has the database open, or was killed. It is read through
  the log, as that program would. SQLite then keeps a file ending in ``-shm`` beside it, and may leave it there.
* In WAL mode without a log nobody has it open, and SQLite would make both files even to read. It is opened as a file
  that does not change (``immutable``); whether that was true is checked after each reading.
* Without WAL mode it is read under SQLite's locks. If a program was killed while it wrote, SQLite would have to undo
  that first, in the file. That is refused.

All reading is in one transaction: each reading finds the same.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

from sessiondb.codec import RECORD_BYTES_MAX

from ..exit_codes import CommandError
from .source import cannot_look, own_problem
from .values import ValueProblem, decode

__all__ = ["MAGIC", "Columns", "SqliteFile", "cell", "quoted"]

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
WAL_MODE = 2
"""In byte 18 of the header."""
BUSY_S = 5.0


class Columns(NamedTuple):
    """The columns of a table."""

    names: list[str]
    primary: list[str]
    """Those of the primary key."""


class SqliteFile:
    """A database to read from; close it.

    Raises:
        CommandError: it is none, or cannot be read without changing it.
        OSError: it cannot be read.
    """

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            self._still = self._mode(file)
            self._before = os.fstat(file.fileno())
        uri = f"file://{quote(os.fsencode(os.path.abspath(path)))}?mode=ro{'&immutable=1' if self._still else ''}"
        with self._explained():
            self._connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, uri=True)
        try:
            with self._explained():
                for pragma in ("query_only=1", "trusted_schema=0", "cell_size_check=1"):
                    self._connection.execute(f"PRAGMA {pragma}")
                self._connection.text_factory = bytes
                self._connection.execute("BEGIN")
                self.tables = self._described()
        except BaseException:
            self.close()
            raise

    def _mode(self, file: BinaryIO) -> bool:
        """Whether the file can be taken for one that does not change; refuses what is no database."""
        header = file.read(HEADER_BYTES)
        if header[: len(MAGIC)] != MAGIC:
            found = "it is empty" if not header else "it does not begin as a SQLite database does"
            raise own_problem(self.path, found, "choose another kind with --from")
        in_use = _size(self.path + "-wal") or all(os.path.exists(self.path + suffix) for suffix in ("-wal", "-shm"))
        return header[18:19] == bytes([WAL_MODE]) and not in_use

    def _described(self) -> dict[str, Columns]:
        tables = {}
        real = "type = 'table' AND rootpage > 0 AND substr(name, 1, 7) <> 'sqlite_'"
        found = self._connection.execute(f"SELECT name FROM sqlite_master WHERE {real} ORDER BY name").fetchall()
        for (name,) in found:
            text = name.decode("utf-8", "replace")
            described = self._connection.execute(f"PRAGMA table_info({quoted(text)})").fetchall()
            columns = [column[1].decode("utf-8", "replace") for column in described]
            tables[text] = Columns(columns, [columns[column[0]] for column in described if column[5]])
        return tables

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT statement; texts are bytes, since nobody has checked them.

        Raises:
            CommandError: the database is damaged, or changed while it was read.
        """
        with self._explained():
            cursor = self._connection.execute(statement)
        while True:
            with self._explained():
                row = cursor.fetchone()  # each may be as large as a record
            if row is None:
                break
            yield row
        if self._still:
            self._must_be_unchanged()

    def content(self, column: str) -> str:
        """SQL that gives a column's type, its length, and its value unless it is larger than a record may be."""
        name = quoted(column)
        return (
            f"typeof({name}), length(CAST({name} AS BLOB)), "
            f"CASE WHEN length(CAST({name} AS BLOB)) <= {RECORD_BYTES_MAX} THEN {name} END"
        )

    def _must_be_unchanged(self) -> None:
        after = os.stat(self.path)
        same = all(getattr(after, name) == getattr(self._before, name) for name in ("st_ino", "st_size", "st_mtime_ns"))
        if not same or _size(self.path + "-wal"):
            raise cannot_look(self.path, "another program wrote to it while it was read", "try again when none does")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (
            sqlite3.DatabaseError,
            UnicodeDecodeError,
        ) as error:  # the latter where SQLite's own message is no UTF-8
            if self._still:
                self._must_be_unchanged()
            raise self._refusal(error) from None

    def _refusal(self, error: sqlite3.DatabaseError | UnicodeDecodeError) -> CommandError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return cannot_look(self.path, "another program is writing to it", "try again when it has ended")
        if code == sqlite3.SQLITE_READONLY and _size(self.path + "-journal"):
            return own_problem(
                self.path,
                f"a program was interrupted while it wrote, and left {self.path}-journal to undo that",
                "copy both files to another folder, open the copy once with the sqlite3 command, and import the copy",
            )
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return cannot_look(
                self.path, f"SQLite cannot read it where it is ({error})",
                "copy it, with the file ending in -wal if there is one, to a folder of your own and import the copy",
            )  # fmt: skip
        step = "try `sqlite3 FILE .recover` on a copy, and import what that saves"
        return own_problem(self.path, f"the database is damaged ({error})", step)


def cell(kind: bytes, size: int | None, stored: Any) -> Any:
    """What a cell that was read as `SqliteFile.content` holds, as Python has it.

    Raises:
        ValueProblem: it is too large, or text that is none.
    """
    if kind == b"null":
        return None
    if stored is None:
        raise ValueProblem(f"it has {size} bytes, the limit of a record is {RECORD_BYTES_MAX}")
    return decode(stored, "text") if kind == b"text" else stored


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
