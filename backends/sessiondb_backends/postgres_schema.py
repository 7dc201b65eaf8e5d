"""The schema of a PostgreSQL store: names, DDL and the statements, all of them with the namespace. Pure.

Specified in docs/format/postgres.md::

    sessiondb_meta      one row a store (namespace): uuid, format, mode, epoch, lsn
    sessiondb_owners    one row an owner of a store: the one that writes, and those that it was taken over from
    sessiondb_tables    one row a table: kind, declared indexes, what is known of its fields
    sessiondb_records   the records of all tables of all namespaces
    sessiondb_i_...     indexes on fields, of one table each
    other names         views that show a table's fields as columns, for people with SQL

A record of a ``json`` table is in the column ``record``, whose type keeps the text byte for byte. PostgreSQL's JSON
functions fail for a whole document if a text in it holds a NUL or a lone surrogate, so such a document is kept as bytes
in ``blob``, like the records of ``bytes`` tables; `TableRow.odd` says that a table has had one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, LiteralString

import msgspec

from sessiondb.backend import TableKind

from .postgres_driver import sql

__all__ = ["COLUMNS", "FORMAT_VERSION", "MODE", "Names", "TableRow", "is_odd", "number_sql", "tag_sql", "value_sql"]

FORMAT_VERSION = 1
MODE = "logged"
TAG_CHARACTERS = 600
"""So much of a text is in an index: an entry of PostgreSQL's has at most 2,704 bytes."""

_TEXT = 'text COLLATE "C"'
"""In the order of the UTF-8 bytes, whatever the database's language is."""

COLUMNS = {
    "sessiondb_meta": {
        "ns": _TEXT, "uuid": "uuid", "format": "integer", "mode": "text", "epoch": "bigint", "lsn": "bigint",
    },
    "sessiondb_owners": {
        "ns": _TEXT, "owner": "uuid", "host": "text", "epoch": "bigint", "since": "timestamp with time zone",
        "lost_after": "bigint",
    },
    "sessiondb_tables": {
        "ns": _TEXT, "tbl": _TEXT, "kind": "text", "indexes": "json", "fields": "json", "odd": "boolean",
    },
    "sessiondb_records": {
        "ns": _TEXT, "tbl": _TEXT, "key": _TEXT, "record": "json", "blob": "bytea",
        "expires_at": "timestamp with time zone", "version": "bigint",
    },
}  # fmt: skip
"""What must be there, to be taken for ours."""

_KEYS = {
    "sessiondb_meta": ("ns",), "sessiondb_owners": ("ns", "owner"), "sessiondb_tables": ("ns", "tbl"),
    "sessiondb_records": ("ns", "tbl", "key"),
}  # fmt: skip
_OPTIONAL = {"record", "blob", "expires_at", "lost_after"}


class TableRow(msgspec.Struct, frozen=True):
    """One table of the store."""

    name: str
    kind: TableKind
    indexes: tuple[str, ...] = ()
    """Fields that were declared to have an index."""
    fields: tuple[str, ...] = ()
    """Top-level fields of the records, in the order in which they were first seen: the columns of its SQL view."""
    odd: bool = False
    """Whether a document has been stored as bytes."""


_ODD = re.compile(rb"\\u(0000|[dD][89a-fA-F])")


def is_odd(image: bytes) -> bool:
    """Whether PostgreSQL's JSON functions may refuse the document. It may be said of one that they take."""
    return b"\\" in image and _ODD.search(image) is not None


# ---- fields as SQL


def literal(text: str) -> str:
    """The text as an SQL literal of the type text."""
    return f"{sql.Literal(text).as_string(None).strip()}::text"


def value_sql(field: str) -> str:
    """The field's text: a string's own, otherwise the JSON; NULL when it is null or absent."""
    return f"(record->>{literal(field)})"


def kind_sql(field: str) -> str:
    """What the field holds, in PostgreSQL's words; NULL when it is absent."""
    return f"json_typeof(record->{literal(field)})"


def number_sql(field: str) -> str:
    """The field as a number, exactly; NULL when it holds none. Indexed."""
    return f"(CASE {kind_sql(field)} WHEN 'number' THEN {value_sql(field)}::numeric END)"


def tag_sql(field: str) -> str:
    """The field as a text that begins with its kind, cut off; NULL when it holds no text, bool or null. Indexed."""
    value = value_sql(field)
    return (
        f"((CASE {kind_sql(field)} WHEN 'string' THEN 's' || left({value}, {TAG_CHARACTERS}) "
        f"WHEN 'boolean' THEN 'b' || {value} WHEN 'null' THEN 'n' END) COLLATE \"C\")"
    )


def digest(*parts: str) -> str:
    """A name for the texts together, in hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


# ---- names and statements


class Names:
    """The names of one store, and the statements with them.

    Args:
        schema: the SQL schema.
        namespace: the store within it.
    """

    def __init__(self, schema: str, namespace: str):
        self.schema = schema
        self.namespace = namespace
        self._parts: dict[str, sql.Composable] = {
            "schema": sql.Identifier(schema),
            "ns": sql.Literal(namespace),
            **{name: sql.Identifier(schema, f"sessiondb_{name}") for name in ("meta", "owners", "tables", "records")},
        }
        self._records = self._parts["records"].as_string(None)
        self._ns = f"ns = {literal(namespace)}"
        # Which kind of index it is, and which one, can be told from the name alone.
        self.index_prefix = f"sessiondb_i_{digest(namespace)[:12]}_"
        self._prepare_state()
        self._prepare_records()

    def make(self, text: LiteralString, **parts: sql.Composable) -> bytes:
        """A statement, with the tables' names, ``{schema}`` and ``{ns}`` filled in."""
        return sql.SQL(text).format(**self._parts, **parts).as_bytes(None)

    def _prepare_state(self) -> None:
        """Statements about the store as a whole: where it stands, who owns it, which tables it has."""
        make = self.make
        self.read_state = make(
            "SELECT m.uuid, m.format, m.mode, m.epoch, m.lsn, "
            "t.tbl, t.kind, t.indexes, t.fields, t.odd "
            "FROM {meta} m LEFT JOIN {tables} t ON t.ns = {ns} WHERE m.ns = {ns}"
        )
        self.read_meta = make("SELECT uuid, format, mode, epoch, lsn FROM {meta} WHERE ns = {ns}")
        self.add_meta = make(
            "INSERT INTO {meta} (ns, uuid, format, mode, epoch, lsn) VALUES ({ns}, %s, %s, %s, 1, 0) "
            "ON CONFLICT (ns) DO NOTHING"
        )
        self.any_leftover = make(
            "SELECT EXISTS (SELECT FROM {tables} WHERE ns = {ns}) OR EXISTS (SELECT FROM {records} WHERE ns = {ns})"
        )
        self.move = make(
            "UPDATE {meta} SET epoch = %s, lsn = %s WHERE ns = {ns} AND uuid = %s AND mode = %s "
            "AND ((epoch = %s AND lsn = %s) OR (epoch = %s AND lsn = %s))"
        )
        self.next_epoch = make(
            "UPDATE {meta} SET epoch = epoch + 1 "
            "WHERE ns = {ns} AND uuid = %s AND mode = %s AND epoch = %s AND lsn = %s"
        )
        self.read_owners = make(
            "SELECT owner, host, lost_after, (extract(epoch FROM since) * 1000000)::bigint FROM {owners} "
            "WHERE ns = {ns} AND (lost_after IS NULL OR owner = %s)"
        )
        self.forget_owner = make("DELETE FROM {owners} WHERE ns = {ns} AND owner = %s AND lost_after IS NULL")
        self.end_owner = make("UPDATE {owners} SET lost_after = %s WHERE ns = {ns} AND lost_after IS NULL")
        self.add_owner = make(
            "INSERT INTO {owners} (ns, owner, host, epoch, since) VALUES ({ns}, %s, %s, %s, CURRENT_TIMESTAMP)"
        )
        self.touch = make("UPDATE {meta} SET lsn = lsn WHERE ns = {ns}")
        self.drop_table = make("DELETE FROM {tables} WHERE ns = {ns} AND tbl = %s")
        self.set_table = make(
            "INSERT INTO {tables} (ns, tbl, kind, indexes, fields, odd) "
            "VALUES ({ns}, %s, %s, %s::text::json, %s::text::json, %s) ON CONFLICT (ns, tbl) DO UPDATE "
            "SET kind = EXCLUDED.kind, indexes = EXCLUDED.indexes, fields = EXCLUDED.fields, odd = EXCLUDED.odd"
        )
        self.stray_tables = make(
            "SELECT DISTINCT r.tbl FROM {records} r WHERE r.ns = {ns} "
            "AND NOT EXISTS (SELECT FROM {tables} t WHERE t.ns = {ns} AND t.tbl = r.tbl) LIMIT 20"
        )
        self.size = make("SELECT pg_total_relation_size({name}::regclass)", name=self._as_name("sessiondb_records"))

    def _prepare_records(self) -> None:
        """Statements about records."""
        make = self.make
        self.put_records = make(
            "INSERT INTO {records} (ns, tbl, key, record, blob, expires_at, version) "
            "SELECT {ns}, %s, k, v, NULL, NULL, %s FROM unnest(%s::text[], %s::json[]) AS new(k, v) "
            "ON CONFLICT (ns, tbl, key) DO UPDATE "
            "SET record = EXCLUDED.record, blob = NULL, expires_at = NULL, version = EXCLUDED.version"
        )
        self.put_blobs = make(
            "INSERT INTO {records} (ns, tbl, key, record, blob, expires_at, version) "
            "SELECT {ns}, %s, k, NULL, v, NULL, %s FROM unnest(%s::text[], %s::bytea[]) AS new(k, v) "
            "ON CONFLICT (ns, tbl, key) DO UPDATE "
            "SET record = NULL, blob = EXCLUDED.blob, expires_at = NULL, version = EXCLUDED.version"
        )
        self.delete_records = make("DELETE FROM {records} WHERE ns = {ns} AND tbl = %s AND key = ANY(%s::text[])")
        self.empty_table = make("DELETE FROM {records} WHERE ns = {ns} AND tbl = %s")
        self.get = make("SELECT record, blob FROM {records} WHERE ns = {ns} AND tbl = %s AND key = %s")
        self.get_many = make(
            "SELECT key, record, blob FROM {records} WHERE ns = {ns} AND tbl = %s AND key = ANY(%s::text[])"
        )
        self.count = make("SELECT count(*) FROM {records} WHERE ns = {ns} AND tbl = %s")

    def select(self, columns: str, where: str) -> bytes:
        """A SELECT of records; both parts were made by modules of ours, names and texts in them quoted."""
        return f"SELECT {columns} FROM {self._records} WHERE {self._ns} AND {where}".encode()

    def _as_name(self, table: LiteralString) -> sql.Composable:
        return sql.Literal(f'"{self.schema}"."{table}"')

    # ---- DDL

    def ddl(self) -> list[str]:
        """Makes schema and tables; all of it is harmless where they exist."""
        statements = [self.make("CREATE SCHEMA IF NOT EXISTS {schema}").decode()]
        for table, columns in COLUMNS.items():
            name = sql.Identifier(self.schema, table).as_string(None)
            described = [
                f"{column} {kind}" + ("" if column in _OPTIONAL else " NOT NULL") for column, kind in columns.items()
            ]
            described.append(f"PRIMARY KEY ({', '.join(_KEYS[table])})")
            statements.append(f"CREATE TABLE IF NOT EXISTS {name} (\n    " + ",\n    ".join(described) + "\n)")
        return statements

    def index_ddl(self, table: str, field: str) -> dict[str, str]:
        """Name to statement of the two SQL indexes on a field; none where SQL cannot name the field.

        One has the numbers, the other texts, bools and nulls: each record is in one of them at most.
        """
        if not is_nameable(field):
            return {}
        found = {}
        for letter, value in (("n", number_sql(field)), ("t", tag_sql(field))):
            name = f"{self.index_prefix}{digest(table, field)[:24]}_{letter}"
            found[name] = (
                f'CREATE INDEX IF NOT EXISTS "{name}" ON {self._records} ({value}, key) '
                f"WHERE {self._ns} AND {self.table_sql(table)} AND {value} IS NOT NULL"
            )
        return found

    def table_sql(self, table: str) -> str:
        """What selects a table's records, in the words of its indexes: a parameter would hide them from the planner."""
        return f"tbl = {literal(table)}"


def is_nameable(field: str) -> bool:
    """Whether SQL can name the field: no NUL, and UTF-8."""
    return "\0" not in field and not any("\ud800" <= character <= "\udfff" for character in field)


# ---- rows of the catalog

_strings = msgspec.json.Decoder(tuple[str, ...]).decode


def decode_tables(rows: Iterable[tuple[Any, ...]]) -> dict[str, TableRow]:
    """The tables, from rows of (tbl, kind, indexes, fields, odd); a row of NULLs is none.

    Raises:
        ValueError: a row is none of ours.
    """
    found = {}
    for name, kind, indexes, fields, odd in rows:
        if name is None:
            continue
        if kind not in ("json", "bytes"):
            raise ValueError(f"table {name!r} is of the kind {kind!r}")
        try:
            found[name] = TableRow(name, kind, _strings(indexes), _strings(fields), odd)
        except msgspec.DecodeError as error:
            raise ValueError(f"table {name!r}: {error}") from error
    return found


def encode_table(row: TableRow) -> tuple[Any, ...]:
    """The values that `Names.set_table` wants."""
    lists = (msgspec.json.encode(value).decode() for value in (row.indexes, row.fields))
    return (row.name, row.kind, *lists, row.odd)
