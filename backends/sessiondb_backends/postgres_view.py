"""Reading a PostgreSQL store: a view is one transaction that goes on seeing one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sessiondb.backend import BackendView, Found, TableKind
from sessiondb.errors import BackendError
from sessiondb.query import Condition, Order, Predicate

from .postgres_array import TextArray
from .postgres_link import Link
from .postgres_query import ALWAYS, Sorting, filter_of, sorting_of
from .postgres_rows import Query, key_bounds, records, sorted_records
from .postgres_schema import TableRow
from .postgres_source import Source

__all__ = ["PostgresView"]

MANY_KEYS = 1_000
"""Keys asked for in one statement."""


class PostgresView(BackendView):
    """The store at one position."""

    def __init__(self, source: Source):
        self._source: Source | None = source
        self._place, self._names = source.place, source.names
        self.position = source.meta.position
        self._catalog = source.tables
        self._get = self._names.get
        self._counts: dict[str, int] = {}

    @property
    def source(self) -> Source:
        """The pinned state.

        Raises:
            BackendError: the view was closed.
        """
        source = self._source
        if source is None:
            raise BackendError(f"this view of {self._place} was closed; next: take a new one")
        return source

    def close(self) -> None:
        """Let go of the state; scans that are under way keep it until they end."""
        self._source = None

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""
        return {name: row.kind for name, row in self._catalog.items()}

    def get(self, table: str, key: str) -> bytes | None:
        """One record's bytes, or ``None``."""
        if table not in self._catalog or not _may_be_key(key):
            return None
        rows = self.source.ask("read a record", lambda link: link.rows(self._get, (table, key), often=True))
        if not rows:
            return None
        record, blob = rows[0]
        image: bytes = blob if record is None else record
        return image

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""
        found: dict[str, bytes] = {}
        if table not in self._catalog:
            return found
        source, statement = self.source, self._names.get_many
        wanted = list(dict.fromkeys(keys))
        if not _may_be_key("".join(wanted)):
            wanted = [key for key in wanted if _may_be_key(key)]
        for start in range(0, len(wanted), MANY_KEYS):
            piece = wanted[start : start + MANY_KEYS]
            asked = (table, TextArray(key.encode() for key in piece))
            rows = source.ask("read records", lambda link, asked=asked: link.rows(statement, asked, often=True))  # type: ignore[misc]
            for key, record, blob in rows:
                found[key] = blob if record is None else record
        return found

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        if table not in self._catalog:
            return iter(())
        return self._scan(table, start, stop, reverse=reverse)

    def _scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        bounds, parameters = key_bounds(start, stop)
        query = Query(self._names, "tbl = %s" + bounds, (table, *parameters))
        return ((key, image) for key, image, _ in records(self.source, query, reverse=reverse))

    def count(self, table: str) -> int:
        """The number of records; counted once, since it cannot change."""
        if table not in self._catalog:
            return 0
        count = self._counts.get(table)
        if count is None:
            rows = self.source.ask("count records", lambda link: _counted(link, self._names.count, (table,)))
            count = self._counts[table] = int(rows[0][0])
        return count

    # ---- queries

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Records that satisfy all conditions, exactly; sorted where PostgreSQL's order is sure to be right."""
        row = self._catalog.get(table)
        if row is None:
            return Found(iter(()), exact=True, ordered=True)
        if row.kind != "json":
            return Found(self._scan(table), exact=not where, ordered=not order)
        query = self._query(row, where)
        matches = Predicate(where).matches if query.doubt else None
        sorting = sorting_of(row, order)
        if sorting is not None:
            return Found(self._sorted(query, sorting, matches, limit), exact=True, ordered=True)
        early = None if order or matches else limit
        if any(condition.field in row.indexes for condition in where):
            # Found at once: asked for the first few in key order, the planner might rather go through all keys.
            rows = sorted_records(self.source, query, "key", limit=early)
        else:
            rows = records(self.source, query, limit=early)
        return Found(_passing(rows, matches), exact=True, ordered=not order)

    def _query(self, row: TableRow, where: Sequence[Condition]) -> Query:
        chosen = filter_of(row, where)
        sql = self._names.table_sql(row.name).replace("%", "%%")
        if chosen.sql:
            sql += f" AND {chosen.sql}"
        return Query(self._names, sql, chosen.parameters, chosen.doubt)

    def _sorted(
        self, query: Query, sorting: Sorting, matches: Callable[[bytes], bool] | None, limit: int | None
    ) -> Iterator[tuple[str, bytes]]:
        """Records whose first field has a value come first, in both directions."""
        parts = [
            (query.narrowed(sorting.has_value), sorting.with_value),
            (query.narrowed(f"{sorting.has_value} IS NOT TRUE"), sorting.without_value),
        ]
        for part, ordering in parts:
            for pair in self._first(part, ordering, matches, limit):
                yield pair
                if limit is not None:
                    limit -= 1

    def _first(
        self, query: Query, ordering: str, matches: Callable[[bytes], bool] | None, limit: int | None
    ) -> Iterator[tuple[str, bytes]]:
        """The first `limit` matches: told the limit, PostgreSQL need not sort all of them."""
        offset, size = 0, limit
        while limit is None or limit > 0:
            got = 0
            for row in sorted_records(self.source, query, ordering, limit=size, offset=offset):
                got += 1
                for pair in _passing(iter((row,)), matches):
                    yield pair
                    if limit is not None:
                        limit -= 1
            if size is None or got < size:
                return
            offset, size = offset + size, size * 4

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """How many records satisfy all conditions; ``None`` when SQL cannot tell."""
        row = self._catalog.get(table)
        if row is None:
            return 0
        if not where:
            return self.count(table)
        if row.kind != "json":
            return None
        query = self._query(row, where)
        if query.doubt == ALWAYS:
            return None
        sure = query if query.doubt is None else query.narrowed(f"({query.doubt}) IS NOT TRUE")
        statement = sure.statement("count(*)")
        rows: list[Any] = self.source.ask("count records", lambda link: _counted(link, statement, sure.parameters))
        count = int(rows[0][0])
        if query.doubt is not None:
            doubtful = records(self.source, query.narrowed(f"({query.doubt})"))
            count += sum(1 for _ in _passing(doubtful, Predicate(where).matches))
        return count

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that were declared to have an index."""
        row = self._catalog.get(table)
        return frozenset() if row is None else frozenset(row.indexes)


def _counted(link: Link, statement: bytes, parameters: tuple[Any, ...]) -> list[Any]:
    with link.at_length():
        return link.rows(statement, parameters)


def _passing(
    rows: Iterator[tuple[str, bytes, bool]], matches: Callable[[bytes], bool] | None
) -> Iterator[tuple[str, bytes]]:
    """The rows that match: only those in doubt are looked at."""
    for key, image, in_doubt in rows:
        if not in_doubt or matches is None or matches(image):
            yield key, image


def _may_be_key(key: str) -> bool:
    """False for what no stored key is, and PostgreSQL does not take: NUL, or a lone surrogate."""
    if key.isascii():
        return "\0" not in key
    return "\0" not in key and not any("\ud800" <= character <= "\udfff" for character in key)
