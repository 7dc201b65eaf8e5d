"""Streaming records out of a pinned state, a chunk at a time, so that memory is bounded.

In key order each chunk begins behind the last key of the one before it. In another order a cursor of the transaction
goes through the rows, since a second statement would have to sort them all again; where the transaction was lost, a
new one finds the same rows in the same order, and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from .postgres_link import Link
from .postgres_schema import Names
from .postgres_source import Source

__all__ = ["Query", "key_bounds", "records", "sorted_records"]

CHUNK_ROWS = 16
CHUNK_ROWS_MAX = 1_000
CHUNK_BYTES = 1 << 20
"""Records are fetched in chunks of about so many bytes, at first of so many rows."""

Record = tuple[str, bytes, bool]
"""Key, image, and whether the row is in doubt."""

_numbers = count(1)


class Query(NamedTuple):
    """Which records are wanted."""

    names: Names
    where: str
    """An SQL condition; says the table."""
    parameters: tuple[Any, ...]
    doubt: str | None = None
    """An SQL condition for rows that are to be looked at again."""

    def narrowed(self, condition: str) -> Query:
        """Those that satisfy one more condition, which has no parameters."""
        return self._replace(where=f"{self.where} AND {condition}")

    def statement(self, columns: str, end: str = "") -> bytes:
        """A SELECT of these columns."""
        # Every statement names the namespace, also where the condition does so for the sake of an index.
        return self.names.select(columns, f"{self.where}{end}")

    @property
    def columns(self) -> str:
        """What `records` wants of a row."""
        return f"key, record, blob, {'false' if self.doubt is None else f'({self.doubt}) IS TRUE'}"


def key_bounds(start: str | None, stop: str | None) -> tuple[str, list[str]]:
    """SQL for ``start <= key < stop``, and its parameters.

    Stored keys hold neither NUL nor lone surrogates, and PostgreSQL takes none; such a bound lies between two texts.
    """
    sql, parameters = "", []
    if start is not None:
        text, is_cut = _cut(start)
        sql += f" AND key {'>' if is_cut else '>='} %s"
        parameters.append(text)
    if stop is not None:
        text, is_cut = _cut(stop)
        sql += f" AND key {'<=' if is_cut else '<'} %s"
        parameters.append(text)
    return sql, parameters


def _cut(bound: str) -> tuple[str, bool]:
    """The bound, or the text before its first NUL and True: then only that text itself is before the bound."""
    for place, character in enumerate(bound):
        if character == "\0":
            return bound[:place], True
        if "\ud800" <= character <= "\udfff":
            return bound[:place] + "\ue000", False
    return bound, False


def records(source: Source, query: Query, *, reverse: bool = False, limit: int | None = None) -> Iterator[Record]:
    """The records in key order, each chunk found anew: for what is found by its key."""
    return _records(_by_key(source, query, reverse, limit))


def sorted_records(
    source: Source, query: Query, ordering: str, *, limit: int | None = None, offset: int = 0
) -> Iterator[Record]:
    """The records as `ordering` (which follows ORDER BY) says, found at once."""
    if limit is not None and limit <= CHUNK_ROWS_MAX:
        return _records(_at_once(source, query, ordering, limit, offset))
    return _records(_by_cursor(source, query, ordering, limit, offset))


def _records(chunks: Iterator[list[Any]]) -> Iterator[Record]:
    for rows in chunks:
        for key, record, blob, in_doubt in rows:
            yield key, blob if record is None else record, in_doubt


def _by_key(source: Source, query: Query, reverse: bool, limit: int | None) -> Iterator[list[Any]]:
    way, beyond = ("DESC", "<") if reverse else ("ASC", ">")
    size = CHUNK_ROWS
    last: tuple[str, ...] = ()
    while limit is None or limit > 0:
        size = size if limit is None else min(size, limit)
        after = f" AND key {beyond} %s" if last else ""
        statement = query.statement(query.columns, f"{after} ORDER BY key {way} LIMIT %s")
        values = (*query.parameters, *last, size)
        rows = source.ask("read records", lambda link: link.rows(statement, values, often=True))  # noqa: B023
        if rows:
            last = (rows[-1][0],)
            yield rows
        if len(rows) < size:
            return
        limit = None if limit is None else limit - len(rows)
        size = _next_size(size, rows)


def _at_once(source: Source, query: Query, ordering: str, limit: int, offset: int) -> Iterator[list[Any]]:
    if limit > 0:
        statement = query.statement(query.columns, f" ORDER BY {ordering} LIMIT %s OFFSET %s")
        yield source.ask("read records", lambda link: link.rows(statement, (*query.parameters, limit, offset)))


def _by_cursor(source: Source, query: Query, ordering: str, limit: int | None, offset: int) -> Iterator[list[Any]]:
    end = f" ORDER BY {ordering} OFFSET {offset}" + ("" if limit is None else f" LIMIT {limit}")
    name = f"sessiondb_{next(_numbers)}"
    declaration = f"DECLARE {name} NO SCROLL CURSOR FOR ".encode() + query.statement(query.columns, end)
    declared: list[int] = []
    seen, size = 0, CHUNK_ROWS

    def fetch(link: Link) -> list[Any]:
        if declared != [source.round]:
            link.run(declaration, query.parameters)
            if seen:
                link.command(f"MOVE FORWARD {seen} IN {name}".encode())
            declared[:] = [source.round]
        return link.rows(f"FETCH FORWARD {size} FROM {name}".encode())

    try:
        while rows := source.ask("read records", fetch):
            yield rows
            seen += len(rows)
            size = _next_size(size, rows)
    finally:
        source.later(declared, f"CLOSE {name}".encode())


def _next_size(size: int, rows: list[Any]) -> int:
    length = 1 + sum(len(record or b"") + len(blob or b"") for _, record, blob, _ in rows)
    return max(1, min(size * 4, CHUNK_ROWS_MAX, len(rows) * CHUNK_BYTES // length))
