"""What can wait: SQL indexes that nobody wants any more are removed, and views for people are made.

Both take locks that readers hold: our own views, people with SQL, other programs. So each step is a transaction of its
own, waits only `LOCK_MS` for its locks, and what could not be done is done another time. No record depends on it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Literal

from .postgres_driver import psycopg, sql
from .postgres_link import Link
from .postgres_schema import Names, TableRow, digest, is_nameable, literal, value_sql

__all__ = ["tidy"]

LOCK_MS = 50
NAME_BYTES_MAX = 60
"""PostgreSQL cuts a longer name off, at 63 bytes, and two may be the same then."""

_RELATIONS = b"""
SELECT c.relname, c.relkind::text, pg_catalog.obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s
"""
_MARK = re.compile(r"made by sessiondb \[([0-9a-f]+):([0-9a-f]+)\]$")

logger = logging.getLogger("sessiondb.postgres")


def tidy(link: Link, names: Names, tables: Iterable[TableRow]) -> bool:
    """Do what can be done at once; returns whether that was all."""
    rows = list(tables)
    relations = link.rows(_RELATIONS, (names.schema,))
    indexes = {name for name, kind, _ in relations if kind in "iI" and name.startswith(names.index_prefix)}
    views: dict[str, tuple[str, str]] = {}
    for name, kind, comment in relations:
        mark = _MARK.search(comment or "") if kind == "v" else None
        if mark and mark[1].startswith(_mark(names)):
            views[mark[1]] = (name, mark[2])
    taken = {name for name, _, _ in relations}
    done = [_index(link, names, rows, indexes)]
    done += [_view(link, names, row, views.pop(_mark(names, row.name), None), taken) for row in rows]
    done += [_step(link, f"DROP VIEW {_qualified(names, name)}") for name, _ in views.values()]
    return all(done)


def _attempt(link: Link, *statements: str) -> Literal["done", "busy", "refused"]:
    """One transaction."""
    try:
        link.command(f"BEGIN; SET LOCAL lock_timeout = {LOCK_MS}".encode())
        for statement in statements:
            link.command(statement.encode())
        link.command(b"COMMIT")
        return "done"
    except psycopg.errors.LockNotAvailable:
        link.command(b"ROLLBACK")
        return "busy"
    except (psycopg.errors.ProgrammingError, psycopg.errors.DependentObjectsStillExist) as error:
        # No right to, or somebody has built something of their own upon it.
        link.command(b"ROLLBACK")
        logger.info("%s: %s", statements[0].partition("(")[0][:80], error.diag.message_primary)
        return "refused"


def _step(link: Link, *statements: str) -> bool:
    """One transaction; returns whether it need not be tried again soon."""
    return _attempt(link, *statements) != "busy"


# ---- indexes


def _index(link: Link, names: Names, rows: list[TableRow], found: set[str]) -> bool:
    wanted: dict[str, str] = {}
    for row in rows:
        for field in row.indexes:
            wanted.update(names.index_ddl(row.name, field))
    done = [_step(link, f"DROP INDEX IF EXISTS {_qualified(names, name)}") for name in sorted(found - wanted.keys())]
    done += [_step(link, wanted[name]) for name in sorted(wanted.keys() - found)]
    return all(done)


def _qualified(names: Names, name: str) -> str:
    return sql.Identifier(names.schema, name).as_string(None)


# ---- views for people with SQL


def _mark(names: Names, table: str = "") -> str:
    """Tells our views from those of others, and from those of other namespaces."""
    return digest(names.namespace)[:12] + (digest(names.namespace, table)[:12] if table else "")


def _view(link: Link, names: Names, row: TableRow, made: tuple[str, str] | None, taken: set[str]) -> bool:
    """Make the view, or add what columns it lacks."""
    select = _select(names, row)
    shape = digest(select)[:12]
    if made is not None and made[1] == shape:
        return True
    name = _free_name(names, row, taken) if made is None else made[0]
    taken.add(name)
    comment = f"Table {row.name} of namespace {names.namespace}, made by sessiondb [{_mark(names, row.name)}:{shape}]"
    view = _qualified(names, name)
    steps = (f"CREATE VIEW {view} AS {select}", f"COMMENT ON VIEW {view} IS {literal(comment).removesuffix('::text')}")
    if made is None:
        return _step(link, *steps)
    # What others have built upon it stays if it only grows; it has other fields if its table was dropped meanwhile.
    outcome = _attempt(link, steps[0].replace("CREATE", "CREATE OR REPLACE", 1), steps[1])
    return outcome == "done" or (outcome == "refused" and _step(link, f"DROP VIEW {view}", *steps))


def _select(names: Names, row: TableRow) -> str:
    """The key, then each field as text. New fields come last: a view can only grow at its end."""
    columns = ["key"]
    used = {"key"}
    if row.kind == "bytes":
        columns.append("blob AS record")
    for field in row.fields:
        if is_nameable(field):
            name = _cut(field or "_")
            while name in used:
                name = _cut(name[:-1] if len(name.encode()) >= NAME_BYTES_MAX else name) + "_"
            used.add(name)
            columns.append(f"{value_sql(field)} AS {sql.Identifier(name).as_string(None)}")
    return names.select(", ".join(columns), names.table_sql(row.name)).decode()


def _free_name(names: Names, row: TableRow, taken: set[str]) -> str:
    """The table's name, with the namespace before it unless that is the default one."""
    wanted = row.name if names.namespace == "default" else f"{names.namespace}_{row.name}"
    if wanted.startswith(("pg_", "sessiondb_")):
        wanted = f"table_{wanted}"
    name, number = _cut(wanted), 1
    while name in taken:
        number += 1
        name = f"{_cut(wanted, NAME_BYTES_MAX - 6)}_{number}"
    return name


def _cut(name: str, bytes_max: int = NAME_BYTES_MAX) -> str:
    return name.encode()[:bytes_max].decode("utf-8", "ignore")
