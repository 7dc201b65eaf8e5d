"""Checking a PostgreSQL store: everything is read and compared with what the catalog says of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sessiondb.backend import Identity
from sessiondb.errors import SessionDBError

from .postgres_link import Link
from .postgres_rows import Query, records
from .postgres_schema import TableRow, is_odd
from .postgres_source import Source

__all__ = ["problems"]

MESSAGES_MAX = 20

_decode = msgspec.json.Decoder(msgspec.Raw).decode


def problems(source: Source, identity: Identity) -> list[str]:
    """What is wrong with the store, a sentence each."""
    found = [] if source.meta.identity == identity else [f"{source.place} holds another store now"]
    found += _strangers(source)
    for row in source.tables.values():
        try:
            found += [*_records(source, row), *_indexes(source, row)]
        except SessionDBError as error:
            found.append(str(error))
    return found


def _strangers(source: Source) -> list[str]:
    rows = source.ask("check the store", lambda link: link.rows(source.names.stray_tables))
    return [f"{source.place}: there are records of a table {name!r} that does not exist" for (name,) in rows]


def _records(source: Source, row: TableRow) -> Iterator[str]:
    where = f"{source.names.table_sql(row.name)}".replace("%", "%%")
    is_json = row.kind == "json"
    wrong = 0
    query = Query(source.names, where, (), "(record IS NULL) = (blob IS NULL)" if is_json else "record IS NOT NULL")
    last = ""
    for key, image, is_wrong in records(source, query):
        problem = ""
        if is_wrong or image is None:
            problem = "has not what a record of its kind has"
        elif key <= last:
            problem = "is not in order"
        elif is_json and not _is_json(image):
            problem = "is no JSON"
        elif is_json and not row.odd and is_odd(image):
            problem = "is stored in a way that the table does not allow for"
        last = key
        if problem:
            wrong += 1
            if wrong <= MESSAGES_MAX:
                yield f"{source.place}: the record {key!r} of table {row.name!r} {problem}"
    if wrong > MESSAGES_MAX:
        yield f"{source.place}: {wrong} records of table {row.name!r} are damaged in all"


def _is_json(image: bytes) -> bool:
    try:
        _decode(image)
    except msgspec.DecodeError:
        return False
    return True


def _indexes(source: Source, row: TableRow) -> Iterator[str]:
    """An index that the role could not make is no damage; one that is there must show what the records show."""
    names = source.names
    for field in row.indexes:
        for name, statement in names.index_ddl(row.name, field).items():
            rows = source.ask("check an index", lambda link, name=name: link.rows(_INDEX, (names.schema, name)))  # type: ignore[misc]
            if rows and not rows[0][0]:
                yield f"{source.place}: the index on {field!r} of table {row.name!r} is marked as not valid"
            elif rows:
                condition = statement[statement.index(" WHERE ") + 7 :]
                counts = [_count(source, condition, settings) for settings in (_WITHOUT_INDEXES, _WITH_INDEXES)]
                if counts[0] != counts[1]:
                    yield f"{source.place}: the index on {field!r} of table {row.name!r} has not what the records have"


_INDEX = b"""
SELECT i.indisvalid AND i.indisready FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
_WITHOUT_INDEXES = b"""
SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
SET LOCAL enable_bitmapscan = off
"""
_WITH_INDEXES = b"""
SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;
SET LOCAL enable_bitmapscan = on
"""


def _count(source: Source, condition: str, settings: bytes) -> list[tuple[object, ...]]:
    """What the planner finds by the way that the settings leave it."""

    def ask(link: Link) -> list[tuple[object, ...]]:
        link.command(settings)
        statement = source.names.select("count(*), min(key), max(key)", condition.replace("%", "%%"))
        return link.rows(statement)

    return source.ask("check an index", ask)
