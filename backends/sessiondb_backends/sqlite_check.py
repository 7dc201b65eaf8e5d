"""Checking a SQLite store: everything is read and compared with what the catalog says of it."""

from __future__ import annotations

from collections.abc import Iterator

from sessiondb.backend import Identity
from sessiondb.errors import SessionDBError

from .sqlite_connection import Place
from .sqlite_schema import TableRow, index_ddl, index_name, path_of, physical_name, record_crc
from .sqlite_view import SqliteView

__all__ = ["problems"]

MESSAGES_MAX = 20


def problems(place: Place, identity: Identity) -> list[str]:
    """What is wrong with the store, a sentence each."""
    view = SqliteView(place)
    found = [] if view.identity == identity else [f"{place.path} holds another store now"]
    found += _integrity(view)
    for row in view.catalog.values():
        try:
            found += [*_records(view, row), *_indexes(view, row)]
        except SessionDBError as error:
            found.append(str(error))
    return found


def _integrity(view: SqliteView) -> list[str]:
    """What SQLite says of its B-trees; this also compares every index with its table."""
    reader = view.reader
    reader.fetch("PRAGMA cell_size_check = ON")
    try:
        rows = [text for (text,) in reader.fetch(f"PRAGMA integrity_check({MESSAGES_MAX})")]
    except SessionDBError as error:
        return [str(error)]
    return [] if rows == ["ok"] else [f"{reader.path}: SQLite's integrity check: {text}" for text in rows]


def _records(view: SqliteView, row: TableRow) -> Iterator[str]:
    path, table = view.reader.path, physical_name(row)
    kind = "text" if row.kind == "json" else "blob"
    count = wrong = 0
    last = b""
    cursor = view.reader.connection.execute(
        f"SELECT CAST(key AS BLOB), typeof(key), CAST(record AS BLOB), typeof(record), crc FROM {table} ORDER BY key"
    )
    for key, key_type, image, image_type, crc in cursor:
        count += 1
        problem = ""
        if key_type != "text" or image_type != kind:
            problem = f"is of the types {key_type} and {image_type}"
        elif record_crc(row.id, key.decode("utf-8", "surrogateescape"), image) != crc:
            problem = "does not match its checksum"
        elif key <= last and count > 1:
            problem = "is not in order"
        last = key
        if problem:
            wrong += 1
            if wrong <= MESSAGES_MAX:
                yield f"{path}: the record {key!r} of table {row.name!r} {problem}"
    if wrong > MESSAGES_MAX:
        yield f"{path}: {wrong} records of table {row.name!r} are damaged in all"
    if count != row.records:
        yield f"{path}: table {row.name!r} has {count} records, {row.records} are on record"


def _indexes(view: SqliteView, row: TableRow) -> Iterator[str]:
    reader = view.reader
    name = physical_name(row)
    ddl = dict(reader.fetch("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (name,)))
    for field, number in row.indexes.items():
        path = path_of(field)
        if not number or path is None:
            continue
        if ddl.get(index_name(row, number)) != index_ddl(row, number, path):
            yield f"{reader.path}: the index on {field!r} of table {row.name!r} is missing or another one"
