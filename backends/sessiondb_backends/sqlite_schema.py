"""The schema of a SQLite store: names, DDL, checksums, and what the rows of the catalog mean. Pure.

Specified in docs/format/sqlite.md::

    sessiondb_meta      one row: format, uuid, epoch, lsn, crc
    sessiondb_tables    one row a table: id, name, kind, number of records, what is known of its fields, indexes, crc
    sessiondb_<id>      the records of the table with this id: key, expires_at, crc, record
    sessiondb_<id>_<n>  its n-th index
    <name of the table> a view that shows key and fields as columns, for people with SQL

SQLite has no checksums of its own, so every row of the three kinds carries one (``zlib.crc32``).
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec

from sessiondb.backend import Identity, Position, TableKind

__all__ = [
    "APPLICATION_ID",
    "CATALOG_DDL",
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "READ_META",
    "READ_TABLES",
    "SET_POSITION",
    "SET_TABLE",
    "Header",
    "Meta",
    "TableRow",
    "decode_header",
    "decode_meta",
    "decode_table",
    "encode_meta",
    "encode_table",
    "free_view_name",
    "index_ddl",
    "index_name",
    "path_of",
    "physical_name",
    "quoted",
    "record_crc",
    "record_seed",
    "table_ddl",
    "value_sql",
    "view_ddl",
]

APPLICATION_ID = 0x53644462
"""Stands in the file's header (``SdDb``): tells a store from other programs' databases."""
FORMAT_VERSION = 1
HEADER_BYTES = 100

CATALOG_DDL = (
    "CREATE TABLE sessiondb_meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, uuid BLOB NOT NULL, "
    "epoch INTEGER NOT NULL, lsn INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE sessiondb_tables(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, "
    "records INTEGER NOT NULL, view TEXT NOT NULL, fields TEXT NOT NULL, indexes TEXT NOT NULL, "
    "unusual TEXT NOT NULL, crc INTEGER NOT NULL)",
)
READ_META = "SELECT format, uuid, epoch, lsn, crc FROM sessiondb_meta WHERE id = 1"
SET_POSITION = "UPDATE sessiondb_meta SET format = ?, uuid = ?, epoch = ?, lsn = ?, crc = ? WHERE id = 1"
READ_TABLES = "SELECT id, name, kind, records, view, fields, indexes, unusual, crc FROM sessiondb_tables ORDER BY id"
SET_TABLE = "INSERT OR REPLACE INTO sessiondb_tables VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Header(msgspec.Struct, frozen=True):
    """What the first `HEADER_BYTES` of the file say."""

    application_id: int
    format_version: int


def decode_header(data: bytes) -> Header | None:
    """Read the file's first bytes; ``None`` when they are not those of a SQLite database.

    Offsets: https://www.sqlite.org/fileformat2.html#the_database_header
    """
    if len(data) < HEADER_BYTES or not data.startswith(b"SQLite format 3\0"):
        return None
    return Header(int.from_bytes(data[68:72], "big"), int.from_bytes(data[60:64], "big"))


# ---- the one row of sessiondb_meta


class Meta(msgspec.Struct, frozen=True):
    """Which store this is and where it stands."""

    identity: Identity
    position: Position


def encode_meta(meta: Meta) -> tuple[int, bytes, int, int, int]:
    """The row's columns."""
    uuid, version = meta.identity
    epoch, lsn = meta.position.epoch, meta.position.lsn
    return version, uuid, epoch, lsn, crc32(f"{version} {uuid.hex()} {epoch} {lsn}".encode())


def decode_meta(row: tuple[Any, ...]) -> Meta | None:
    """The row's meaning; ``None`` when it is damaged."""
    version, uuid, epoch, lsn, _ = row
    if not (isinstance(uuid, bytes) and len(uuid) == 16 and all(isinstance(n, int) for n in (version, epoch, lsn))):
        return None
    meta = Meta(Identity(uuid, version), Position(epoch, lsn))
    return meta if encode_meta(meta) == row else None


# ---- the rows of sessiondb_tables


class TableRow(msgspec.Struct, frozen=True):
    """One table of the store."""

    id: int
    name: str
    kind: TableKind
    records: int
    """How many there are."""
    view: str
    """Name of the view for people with SQL."""
    fields: tuple[str, ...] = ()
    """Top-level fields of the records, in the order in which they were first seen: the view's columns."""
    indexes: dict[str, int] = {}
    """Indexed field to the number of its index; 0 where SQL cannot name the field, then there is none."""
    unusual: tuple[str, ...] = ()
    """Fields in which SQL may see another value than the record holds: a text with NUL. ``*``: any field."""
    seed: int = 0
    """See `record_seed`; not stored."""


_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_numbers = msgspec.json.Decoder(dict[str, int]).decode


def encode_table(row: TableRow, uuid: bytes) -> tuple[Any, ...]:
    """The row's columns; `uuid` is the store's."""
    columns = (
        row.id,
        row.name,
        row.kind,
        row.records,
        row.view,
        *(msgspec.json.encode(value).decode() for value in (row.fields, row.indexes, row.unusual)),
    )
    return (*columns, crc32(msgspec.json.encode(columns), crc32(uuid)))


def decode_table(columns: tuple[Any, ...], uuid: bytes) -> TableRow | None:
    """The row's meaning; ``None`` when it is damaged, or of a store with another uuid."""
    if crc32(msgspec.json.encode(columns[:-1]), crc32(uuid)) != columns[-1]:
        return None
    number, name, kind, records, view, fields, indexes, unusual, _ = columns
    seed = record_seed(uuid, number)
    return TableRow(number, name, kind, records, view, _strings(fields), _numbers(indexes), _strings(unusual), seed)


# ---- records


def physical_name(row: TableRow) -> str:
    """The SQL table that holds the records; needs no quotes."""
    return f"sessiondb_{row.id}"


def table_ddl(row: TableRow) -> str:
    """Makes the SQL table.

    With rowid: new records go to its end, whatever their keys are, and one of up to a page's size needs no second page.
    The record comes last: what looks at the other columns does not read the pages that a long one spills to.
    """
    record = "TEXT" if row.kind == "json" else "BLOB"
    return (
        f"CREATE TABLE {physical_name(row)}(key TEXT PRIMARY KEY NOT NULL, expires_at INTEGER, crc INTEGER NOT NULL, "
        f"record {record} NOT NULL)"
    )


def record_seed(uuid: bytes, table_id: int) -> int:
    """What the checksums of a table's records begin with.

    The store's uuid is in it because SQLite lays a log that a crash left over whatever database file it finds beside
    it: pages of another store, with good records of their own, must not be taken for this one's.
    """
    return crc32(uuid, table_id)


def record_crc(seed: int, key: bytes, image: bytes) -> int:
    """The checksum of a record: begun with `record_seed`, over the key's UTF-8 bytes, then the image.

    Where every microsecond counts this is written out.
    """
    return crc32(image, crc32(key, seed))


# ---- fields as SQL


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def path_of(field: str) -> str | None:
    """The SQL JSON path of a top-level field, as an SQL literal; ``None`` when there is none for this name.

    SQLite compares the path with the name as it stands in the JSON text, so names that JSON escapes are out.
    """
    if not field or any(character in '"\\' or character < " " for character in field):
        return None
    return "'$.\"" + field.replace("'", "''") + "\"'"


def value_sql(path: str) -> str:
    """The field's value: written the same in indexes and queries, or SQLite does not use the index."""
    return f"json_extract(record, {path})"


def index_name(row: TableRow, number: int) -> str:
    """The SQL index with this number; needs no quotes."""
    return f"sessiondb_{row.id}_{number}"


def index_ddl(row: TableRow, number: int, path: str) -> str:
    """Makes the index; with the key, by which equal values are sorted."""
    return f"CREATE INDEX {index_name(row, number)} ON {physical_name(row)}({value_sql(path)}, key)"


# ---- views for people with SQL

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _folded(name: str) -> str:
    """The name as SQL compares names: without regard to ASCII case."""
    return name.translate(_ASCII_LOWER)


def free_view_name(name: str, number: int, taken: Iterable[str]) -> str:
    """The table's name, or where SQL has no room for that, the name and the table's id."""
    others = {_folded(other) for other in taken}
    view = f"({number}) {name}" if _folded(name).startswith(("sqlite_", "sessiondb_")) else name
    while _folded(view) in others:
        view = f"{view} ({number})"
    return view


def view_ddl(row: TableRow) -> str:
    """Makes the view: the key, then each field; the record as it is where no field is known."""
    columns = ["key"]
    names = {"key"}
    for field in row.fields:
        path = path_of(field)
        if path is not None:
            name = field
            while _folded(name) in names:
                name += "_"
            names.add(_folded(name))
            columns.append(f"{value_sql(path)} AS {quoted(name)}")
    if len(columns) == 1:
        columns.append("record")
    return f"CREATE VIEW {quoted(row.view)} AS SELECT {', '.join(columns)} FROM {physical_name(row)}"
