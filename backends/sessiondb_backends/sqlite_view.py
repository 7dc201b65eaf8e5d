"""Reading a SQLite store: a view is one read transaction on a read-only connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from zlib import crc32

from sessiondb.backend import BackendView, Found, TableKind
from sessiondb.errors import CorruptionError
from sessiondb.query import Condition, Order, Predicate

from .sqlite_connection import FAILURES, failure
from .sqlite_query import ALWAYS, Filter, filter_of, order_hint, order_sql, whole_numbers
from .sqlite_reader import ROW, Reader, Readers, damaged
from .sqlite_schema import TableRow, physical_name

__all__ = ["SqliteView"]

Rows = Iterator[tuple[str, bytes]]
Matches = Callable[[bytes], bool]
MANY_KEYS = 256
"""Keys asked for in one statement."""


class SqliteView(BackendView):
    """The store at one position."""

    def __init__(self, reader: Reader):
        self.readers = Readers(reader)
        self.position = reader.meta.position
        self.catalog = reader.tables()
        self._kinds: dict[str, TableKind] = {name: row.kind for name, row in self.catalog.items()}
        self._gets = {
            name: (f"SELECT CAST(record AS BLOB), crc FROM {physical_name(row)} WHERE key = ?", row.seed)
            for name, row in self.catalog.items()
        }

    def close(self) -> None:
        """Let go of the read transaction; scans that are under way keep it until they end."""
        self.readers.close()

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return self._kinds.copy()

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        statement = self._gets.get(table)
        if statement is None:
            return None
        sql, seed = statement
        reader = self.readers.current or self.readers.first
        try:
            with reader.lock:
                row = reader.execute(sql, (key,)).fetchone()
            if row is None:
                return None
            image: bytes = row[0]
            if crc32(image, crc32(key.encode(), seed)) != row[1]:
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
            found.update(self.readers.first.records(row, sql, piece + piece[:1] * (room - len(piece))))
        return found

    def scan(self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False) -> Rows:
        """Records with ``start <= key < stop`` in key order."""
        row = self.catalog.get(table)
        if row is None:
            return iter(())
        bounds = [("key >= CAST(? AS TEXT)", start), ("key < CAST(? AS TEXT)", stop)]
        terms = [term for term, bound in bounds if bound is not None]
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        sql = f"SELECT {ROW} FROM {physical_name(row)} {where} ORDER BY key {'DESC' if reverse else 'ASC'}"
        given = [bound.encode("utf-8", "surrogatepass") for _, bound in bounds if bound is not None]
        reader = self.readers.take()
        rows = _in_order(reader.records(row, sql, given), reader.path, table, reverse=reverse)
        return self._until_done(reader, rows)

    def _until_done(self, reader: Reader, rows: Rows) -> Rows:
        try:
            yield from rows
        finally:
            self.readers.give_back(reader)

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
        reader = self.readers.take()
        chosen = filter_of(row, where)
        sorting = order_sql(row, order)
        if sorting is not None and not _are_whole(reader, row, whole_numbers(order)):
            sorting = None
        is_short = limit is not None and sorting is not None
        sql = f"SELECT {ROW} FROM {physical_name(row)}{order_hint(row, where, order) if is_short else ''}"
        if chosen.sql:
            sql += f" WHERE {chosen.sql}"
        if sorting is not None:
            sql += f" ORDER BY {sorting}"
        matches = Predicate(where).matches if chosen.doubt else None
        if limit is not None and is_short:
            rows = _first(reader, row, sql, chosen.parameters, matches, limit)
        else:
            rows = _passing(reader.records(row, sql, chosen.parameters), matches)
        return Found(self._until_done(reader, rows), exact=True, ordered=sorting is not None)

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
        reader = self.readers.take()
        try:
            return _count(reader, row, chosen, Predicate(where).matches)
        finally:
            self.readers.give_back(reader)

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index."""
        row = self.catalog.get(table)
        return frozenset() if row is None else frozenset(row.indexes)


def _passing(rows: Rows, matches: Matches | None) -> Rows:
    return rows if matches is None else (pair for pair in rows if matches(pair[1]))


def _are_whole(reader: Reader, row: TableRow, values: list[str]) -> bool:
    """Whether SQLite holds none of these integers as a floating number: those are the largest ones."""
    statements = [f"SELECT typeof(max({value})) FROM {physical_name(row)}" for value in values]
    return all(reader.fetch(statement) != [("real",)] for statement in statements)


def _first(
    reader: Reader, row: TableRow, sql: str, parameters: tuple[Any, ...], matches: Matches | None, limit: int
) -> Rows:
    """The first `limit` matches: told the limit, SQLite need not sort all of them."""
    offset, size = 0, limit
    while limit > 0:
        got = 0
        for pair in reader.records(row, f"{sql} LIMIT ? OFFSET ?", (*parameters, size, offset)):
            got += 1
            if matches is None or matches(pair[1]):
                limit -= 1
                yield pair
        if got < size:
            return
        offset, size = offset + size, size * 4


def _count(reader: Reader, row: TableRow, chosen: Filter, matches: Matches) -> int:
    """Those that are sure are counted by SQLite, the others are looked at."""
    name = physical_name(row)
    sure = f"SELECT count(*) FROM {name} WHERE {chosen.sql}"
    if chosen.doubt is None:
        return int(reader.fetch(sure, chosen.parameters)[0][0])
    ((count,),) = reader.fetch(f"{sure} AND NOT ({chosen.doubt})", chosen.parameters)
    doubtful = f"SELECT {ROW} FROM {name} WHERE {chosen.sql} AND ({chosen.doubt})"
    return int(count) + sum(1 for _ in _passing(reader.records(row, doubtful, chosen.parameters), matches))


def _is_utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_order(rows: Rows, path: str, table: str, *, reverse: bool) -> Rows:
    """The rows, as long as each key is behind the one before.

    A damaged page may show them in another order; then what lies above the backend would not hide what it has replaced.
    """
    last: str | None = None
    for key, image in rows:
        if last is not None and (key >= last if reverse else key <= last):
            raise CorruptionError(
                f"the records of table {table!r} are not in order: {key!r} comes after {last!r}", path=path,
                advice="copy the file and its -wal file aside, run `sessiondb check`, restore a backup",
            )  # fmt: skip
        last = key
        yield key, image
