"""Reading a SQLite store: a view is one read transaction on a read-only connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from zlib import crc32

from sessiondb.backend import BackendView, Found, TableKind
from sessiondb.errors import BackendError
from sessiondb.query import Condition, Order, Predicate

from .sqlite_connection import FAILURES, failure
from .sqlite_query import ALWAYS, filter_of, order_hint, order_sql, whole_numbers
from .sqlite_reader import ROW, Reader, damaged
from .sqlite_schema import TableRow, physical_name

__all__ = ["SqliteView"]

MANY_KEYS = 256
"""Keys asked for in one statement."""


class SqliteView(BackendView):
    """The store at one position."""

    def __init__(self, reader: Reader):
        self._reader: Reader | None = reader
        self._path = reader.path
        self.identity, self.position = reader.meta.identity, reader.meta.position
        self.catalog = reader.tables()
        self._kinds: dict[str, TableKind] = {name: row.kind for name, row in self.catalog.items()}
        self._gets = {
            name: (f"SELECT CAST(record AS BLOB), crc FROM {physical_name(row)} WHERE key = ?", row.id)
            for name, row in self.catalog.items()
        }

    @property
    def reader(self) -> Reader:
        """The open read transaction.

        Raises:
            BackendError: the view was closed.
        """
        reader = self._reader
        if reader is None:
            raise BackendError(f"this view of {self._path} was closed; next: take a new one")
        return reader

    def renew(self, reader: Reader) -> None:
        """Go on in a new read transaction if that shows the same state; what reads now goes on in the old one."""
        if (reader.meta.identity, reader.meta.position) == (self.identity, self.position) and self._reader is not None:
            self._reader = reader

    def close(self) -> None:
        """Let go of the read transaction; scans that are under way keep it until they end."""
        self._reader = None

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return self._kinds.copy()

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        statement = self._gets.get(table)
        if statement is None:
            return None
        sql, number = statement
        reader = self._reader or self.reader
        try:
            with reader.lock:
                row = reader.execute(sql, (key,)).fetchone()
            if row is None:
                return None
            image: bytes = row[0]
            if crc32(image, crc32(key.encode(), number)) != row[1]:
                raise damaged(reader.path, table, key)
        except UnicodeEncodeError:
            return None  # a lone surrogate: no stored key has one
        except TypeError as error:
            raise damaged(reader.path, table, key) from error  # not even of the right type
        except FAILURES as error:
            raise failure(error, f"read the record {key!r} of table {table!r}", reader.path) from error
        return image

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""
        row = self.catalog.get(table)
        found: dict[str, bytes] = {}
        if row is None:
            return found
        wanted = iter(dict.fromkeys(key for key in keys if _is_utf8(key)))
        while piece := list(islice(wanted, MANY_KEYS)):
            room = 1 << (len(piece) - 1).bit_length()  # few different statements, so that they stay prepared
            marks = ", ".join("?" * room)
            sql = f"SELECT {ROW} FROM {physical_name(row)} WHERE key IN ({marks})"
            found.update(self.reader.records(row, sql, piece + piece[:1] * (room - len(piece))))
        return found

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        row = self.catalog.get(table)
        if row is None:
            return iter(())
        bounds = [("key >= CAST(? AS TEXT)", start), ("key < CAST(? AS TEXT)", stop)]
        terms = [term for term, bound in bounds if bound is not None]
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        sql = f"SELECT {ROW} FROM {physical_name(row)} {where} ORDER BY key {'DESC' if reverse else 'ASC'}"
        given = [bound.encode("utf-8", "surrogatepass") for _, bound in bounds if bound is not None]
        return self.reader.records(row, sql, given)

    def count(self, table: str) -> int:
        """The number of records, from the catalog."""
        row = self.catalog.get(table)
        return 0 if row is None else row.records

    # ---- queries

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Records that satisfy all conditions, exactly; sorted where SQLite's order is known to be the right one."""
        row = self.catalog.get(table)
        if row is None:
            return Found(iter(()), exact=True, ordered=True)
        chosen = filter_of(row, where)
        sorting = order_sql(row, order)
        if sorting is not None and not self._are_whole(row, whole_numbers(order)):
            sorting = None
        is_short = limit is not None and sorting is not None
        hint = order_hint(row, where, order) if is_short else ""
        sql = f"SELECT {ROW} FROM {physical_name(row)}{hint}"
        if chosen.sql:
            sql += f" WHERE {chosen.sql}"
        if sorting is not None:
            sql += f" ORDER BY {sorting}"
        matches = Predicate(where).matches if chosen.doubt else None
        if limit is not None and is_short:
            return Found(self._first(row, sql, chosen.parameters, matches, limit), exact=True, ordered=True)
        rows = _passing(self.reader.records(row, sql, chosen.parameters), matches)
        return Found(rows, exact=True, ordered=sorting is not None)

    def _are_whole(self, row: TableRow, values: list[str]) -> bool:
        """Whether SQLite holds none of these integers as a floating number: those are the largest ones."""
        for value in values:
            if self.reader.fetch(f"SELECT typeof(max({value})) FROM {physical_name(row)}") == [("real",)]:
                return False
        return True

    def _first(
        self,
        row: TableRow,
        sql: str,
        parameters: tuple[Any, ...],
        matches: Callable[[bytes], bool] | None,
        limit: int,
    ) -> Iterator[tuple[str, bytes]]:
        """The first `limit` matches: told the limit, SQLite need not sort all of them."""
        offset, size = 0, limit
        while limit > 0:
            got = 0
            for pair in self.reader.records(row, f"{sql} LIMIT ? OFFSET ?", (*parameters, size, offset)):
                got += 1
                if matches is None or matches(pair[1]):
                    limit -= 1
                    yield pair
            if got < size:
                return
            offset, size = offset + size, size * 4

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """How many records satisfy all conditions; ``None`` when SQL cannot tell."""
        row = self.catalog.get(table)
        if row is None:
            return 0
        if not where:
            return row.records
        chosen = filter_of(row, where)
        if not chosen.sql or chosen.doubt == ALWAYS:
            return None
        name = physical_name(row)
        sure = f"SELECT count(*) FROM {name} WHERE {chosen.sql}"
        if chosen.doubt is None:
            return int(self.reader.fetch(sure, chosen.parameters)[0][0])
        ((count,),) = self.reader.fetch(f"{sure} AND NOT ({chosen.doubt})", chosen.parameters)
        doubtful = f"SELECT {ROW} FROM {name} WHERE {chosen.sql} AND ({chosen.doubt})"
        matches = Predicate(where).matches
        return int(count) + sum(1 for _ in _passing(self.reader.records(row, doubtful, chosen.parameters), matches))

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index."""
        row = self.catalog.get(table)
        return frozenset() if row is None else frozenset(row.indexes)


def _passing(rows: Iterator[tuple[str, bytes]], matches: Callable[[bytes], bool] | None) -> Iterator[tuple[str, bytes]]:
    return rows if matches is None else (pair for pair in rows if matches(pair[1]))


def _is_utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
