"""Checking a SQLite store: everything is read and compared with what the catalog says of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sessiondb.backend import Identity
from sessiondb.errors import SessionDBError

from .sqlite_reader import Reader
from .sqlite_schema import TableRow, index_ddl, index_name, path_of, physical_name, record_crc

__all__ = ["problems"]

MESSAGES_MAX = 20


def problems(reader: Reader, identity: Identity) -> list[str]:
    """What is wrong with the store, a sentence each."""
    found = [] if reader.meta.identity == identity else [f"{reader.path} holds another store now"]
    found += _integrity(reader)
    rows = reader.tables().values()
    found += _strangers(reader, [physical_name(row) for row in rows])
    for row in rows:
        try:
            found += [*_records(reader, row), *_indexes(reader, row)]
        except SessionDBError as error:
            found.append(str(error))
    return found


def _integrity(reader: Reader) -> list[str]:
    """What SQLite says of its B-trees; it compares every index with its table, too."""
    reader.fetch("PRAGMA cell_size_check = ON")
    try:
        rows = [text for (text,) in reader.fetch(f"PRAGMA integrity_check({MESSAGES_MAX})")]
    except SessionDBError as error:
        return [str(error)]
    return [] if rows == ["ok"] else [f"{reader.path}: SQLite's integrity check: {text}" for text in rows]


def _strangers(reader: Reader, known: list[str]) -> list[str]:
    names = reader.fetch("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'sessiondb_[0-9]*'")
    return [f"{reader.path}: the SQL table {name} belongs to no table" for (name,) in names if name not in known]


def _records(reader: Reader, row: TableRow) -> Iterator[str]:
    path, table = reader.path, physical_name(row)
    kind = "text" if row.kind == "json" else "blob"
    rows = reader.stream(
        f"SELECT CAST(key AS BLOB), CAST(record AS BLOB), typeof(key), typeof(record), crc FROM {table} ORDER BY key"
    )
    count = wrong = 0
    last = b""
    for key, image, key_type, image_type, crc in chain.from_iterable(rows):
        count += 1
        if (key_type, image_type) != ("text", kind):
            problem = f"is of the types {key_type} and {image_type}"
        elif record_crc(row.seed, key, image) != crc:
            problem = "does not match its checksum"
        elif key <= last:
            problem = "is not in order"
        else:
            last = key
            continue
        wrong += 1
        if wrong <= MESSAGES_MAX:
            yield f"{path}: the record {key!r} of table {row.name!r} {problem}"
    if wrong > MESSAGES_MAX:
        yield f"{path}: {wrong} records of table {row.name!r} are damaged in all"
    if count != row.records:
        yield f"{path}: table {row.name!r} has {count} records, {row.records} are on record"


def _indexes(reader: Reader, row: TableRow) -> Iterator[str]:
    name = physical_name(row)
    ddl = dict(reader.fetch("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (name,)))
    for field, number in row.indexes.items():
        path = path_of(field)
        if not number or path is None:
            continue
        if ddl.get(index_name(row, number)) != index_ddl(row, number, path):
            yield f"{reader.path}: the index on {field!r} of table {row.name!r} is missing or another one"
