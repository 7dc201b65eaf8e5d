"""What is at a location: a store, nothing, or something else; making a store; the state that a reader starts from."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from sessiondb.backend import Identity, Position
from sessiondb.errors import BackendError, CorruptionError, UnsupportedFormatError, WrongBackendError

from .postgres_driver import psycopg
from .postgres_link import Link
from .postgres_schema import COLUMNS, FORMAT_VERSION, MODE, Names, TableRow, decode_tables
from .postgres_url import Place

__all__ = [
    "ADVICE",
    "Meta",
    "State",
    "are_tables_there",
    "create_if_missing",
    "make_durable",
    "may_change_schema",
    "must_be_known",
    "read_meta",
    "read_state",
    "run_ddl",
]

ADVICE = "restore a backup of the schema; to start empty, use another namespace"

_COLUMNS_OF = b"""
SELECT c.relname, c.relkind::text, a.attname,
    pg_catalog.format_type(a.atttypid, NULL) || CASE WHEN l.collname = 'C' THEN ' COLLATE "C"' ELSE '' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE n.nspname = %s AND c.relname = ANY(%s::text[])
"""

_MAY_CHANGE = b"""
SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = 'sessiondb_records'
"""


class Meta(NamedTuple):
    """The row of ``sessiondb_meta``."""

    identity: Identity
    mode: str
    position: Position


class State(msgspec.Struct, frozen=True):
    """What a reader starts from."""

    meta: Meta
    tables: dict[str, TableRow]


def _meta(row: tuple[Any, ...], place: Place) -> Meta:
    number, version, mode, epoch, lsn = row
    if min(epoch, lsn, version) < 0:
        raise CorruptionError(
            f"the store's row in sessiondb_meta is damaged: {row[1:]}", path=str(place), advice=ADVICE
        )
    return Meta(Identity(number.bytes, version), mode, Position(epoch, lsn))


def are_tables_there(link: Link, names: Names, place: Place) -> bool:
    """Whether the tables of the schema are there, and ours.

    Raises:
        WrongBackendError: others of these names are.
        CorruptionError: some of ours are gone.
    """
    found: dict[str, dict[str, str]] = {}
    for table, kind, column, type_name in link.rows(_COLUMNS_OF, (names.schema, list(COLUMNS))):
        found.setdefault(table, {})[column if kind in "rp" else ""] = type_name
    for table, columns in found.items():
        if not columns.items() >= COLUMNS[table].items():
            raise WrongBackendError(
                f"expected the tables of sessiondb in the schema {names.schema}, found a relation {table} of another "
                f"program ({place}); it is untouched; next: use another schema: add schema=NAME to the URL"
            )
    missing = COLUMNS.keys() - found.keys()
    if found and missing:
        raise CorruptionError(
            f"the store's table {', '.join(sorted(missing))} is missing", path=str(place), advice=ADVICE
        )
    return bool(found)


def read_meta(link: Link, names: Names, place: Place) -> Meta | None:
    """The store's row; ``None`` when there is none."""
    rows = link.rows(names.read_meta)
    return _meta(rows[0], place) if rows else None


def read_state(link: Link, names: Names, place: Place) -> State:
    """The store's row and its tables, as they are at one moment.

    Raises:
        CorruptionError: the row is missing, or one is none of ours.
    """
    rows = link.rows(names.read_state, often=True)
    if not rows:
        raise CorruptionError("the store's row in sessiondb_meta is missing", path=str(place), advice=ADVICE)
    try:
        return State(_meta(rows[0][:5], place), decode_tables(row[5:] for row in rows))
    except ValueError as error:
        raise CorruptionError(
            f"a row of sessiondb_tables is damaged: {error}", path=str(place), advice=ADVICE
        ) from error


def must_be_known(meta: Meta, place: Place) -> None:
    """Refuse what this version cannot read or write."""
    version = meta.identity.format_version
    if version > FORMAT_VERSION or meta.mode != MODE:
        raise UnsupportedFormatError(
            f"{place} has format {version}, mode {meta.mode}; this version of sessiondb knows format {FORMAT_VERSION}, "
            f"mode {MODE}; it is untouched; next: upgrade sessiondb"
        )
    if version < 1:
        raise CorruptionError(f"the format version is {version}, which nobody wrote", path=str(place), advice=ADVICE)


# ---- making one


def create_if_missing(link: Link, names: Names, place: Place) -> None:
    """Make a store where none is: in one transaction, so that there is all of it or nothing."""
    try:
        _create(link, names, place)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable, psycopg.errors.DuplicateSchema):
        link.command(b"ROLLBACK")  # somebody else made them meanwhile: IF NOT EXISTS does not help against that
        _create(link, names, place)


def _create(link: Link, names: Names, place: Place) -> None:
    there = are_tables_there(link, names, place)
    if there and read_meta(link, names, place) is not None:
        return
    link.command(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on")
    if not there:
        run_ddl(link, names, place)
    if link.rows(names.any_leftover) != [(False,)] and read_meta(link, names, place) is None:
        raise CorruptionError(
            "the store has tables or records, but no row in sessiondb_meta", path=str(place), advice=ADVICE
        )
    link.run(names.add_meta, (uuid.UUID(bytes=os.urandom(16), version=4), FORMAT_VERSION, MODE))
    link.command(b"COMMIT")


def run_ddl(link: Link, names: Names, place: Place) -> None:
    """Make schema and tables, in the transaction that the link is in.

    Raises:
        BackendError: the role may not.
    """
    statements: Iterable[str] = names.ddl()
    if link.rows(b"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (names.schema,)):
        statements = list(statements)[1:]  # also IF NOT EXISTS needs the right to make one
    try:
        for statement in statements:
            link.command(statement.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackendError(
            f"the role may not make the tables ({place}): {place.without_secrets(str(error.diag.message_primary))}; "
            "next: let somebody who may run `sessiondb init`, or grant CREATE on the schema (on the database, when the "
            "schema is to be made)"
        ) from error


def make_durable(link: Link, names: Names) -> None:
    """Everything that was committed before this commit is durable with it.

    The row is locked for it. So a COMMIT that an earlier process of this host had sent, and whose answer it did not
    live to see, is not on its way any more: what is asked from here on does not change behind our back.
    """
    link.command(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on")
    link.run(names.touch)
    link.command(b"COMMIT")


def may_change_schema(link: Link, names: Names) -> bool:
    """Whether the role may make indexes on the records, and views."""
    return link.rows(_MAY_CHANGE, (names.schema,)) == [(True,)]
