"""The kinds that ``--from`` takes, which options each has, and finding out what a path holds.

Only what is unmistakable is guessed. A JSON text is an array, an object of records or JSON Lines, as ever, unless it
looks like the file of another program: then the user has to say which it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ..exit_codes import USAGE, CommandError
from ..json_text import BOM
from .export_lines import PACKED_BEGINNING
from .source import Choices, Source, own_problem

if TYPE_CHECKING:
    from .sqlite_source import Columns

__all__ = ["KINDS", "Kind", "kind_of", "open_kind"]


class Kind(NamedTuple):
    """How a kind is opened, and which options have a meaning for it."""

    module: str
    function: str
    summary: str
    options: frozenset[str]


def _kind(module: str, summary: str, options: str = "", function: str = "open_source") -> Kind:
    return Kind(module, function, summary, frozenset(options.split()))


KINDS = {
    "json": _kind("json_file", "a JSON array or object", "id source-table", "open_json"),
    "jsonl": _kind("json_file", "JSON Lines, an object a line", "id", "open_lines"),
    "csv": _kind("csv_file", "comma-separated values with a line of names", "id delimiter"),
    "tinydb": _kind("tinydb", "the file of a TinyDB", "id source-table"),
    "sqlitedict": _kind("sqlitedict", "a database of sqlitedict", "values source-table convert"),
    "diskcache": _kind("diskcache", "a folder of diskcache", "values convert ignore-expiry"),
    "shelve": _kind("dbm_files", "a shelf", "values convert", "open_shelve"),
    "dbm": _kind("dbm_files", "a dbm", "values convert", "open_dbm"),
    "redis": _kind("redis_dump", "a dump of Redis as JSON", "values source-table ignore-expiry"),
    "export": _kind("export_lines", "what `sessiondb export` wrote", "source-table"),
    "sessions": _kind("sessions_file", "sessions of the predecessor, and backups of them"),
}


def open_kind(kind: str, path: str, choices: Choices, given: set[str]) -> Source:
    """Open a source.

    Args:
        kind: a name of `KINDS`, or "" for a text that may be JSON.
        path: of what is read.
        choices: of the command line.
        given: the names of the options that were given.

    Raises:
        CommandError: it is of another kind, or an option has no meaning for this one.
        OSError: it cannot be read.
    """
    known = KINDS[kind] if kind else KINDS["json"]._replace(function="open_unnamed")
    for option in sorted(given - known.options):
        raise CommandError(
            f"--{option} has no meaning for --from {kind or 'json'}; next: leave it out, or choose another kind", USAGE
        )
    opened: Callable[[str, Choices], Source] = getattr(import_module(f".{known.module}", __package__), known.function)
    return opened(path, choices)


# ---- guessing


def kind_of(path: str) -> str:
    """The kind of what is at the path, "" for a text that may be JSON.

    Raises:
        CommandError: it is of no kind, or may be of more than one.
        OSError: it cannot be read.
    """
    if path == "-":
        return ""
    if os.path.isdir(path):
        return _of_folder(path)
    if os.path.isfile(path):
        with open(path, "rb") as file:
            beginning = file.read(4096)
        if beginning.removeprefix(BOM).lstrip()[:1] in (b"{", b"["):
            return ""
        if beginning.startswith(PACKED_BEGINNING):
            return "export"
    elif os.path.exists(path):
        return ""  # a pipe, of which each byte can be read once
    from .dbm_files import family

    module, _ = family(path)
    if module == "sqlite3":
        return _of_sqlite(path)
    if module:
        raise own_problem(path, f"a dbm ({module})", "say who wrote it: --from shelve, or --from dbm")
    return ""


def _of_folder(path: str) -> str:
    from .diskcache import DATABASE, shards

    if os.path.isfile(os.path.join(path, DATABASE)) or shards(path):
        return "diskcache"
    if os.path.isfile(os.path.join(path, "data.mdb")):
        raise own_problem(path, "an LMDB folder", "`sessiondb migrate` reads those of sessiondb")
    return ""


def _of_sqlite(path: str) -> str:
    from sessiondb_backends.sqlite_schema import APPLICATION_ID, HEADER_BYTES, decode_header

    from .sqlite_source import SqliteFile

    with open(path, "rb") as file:
        header = decode_header(file.read(HEADER_BYTES))
    if header is not None and header.application_id == APPLICATION_ID:
        raise own_problem(path, "a store of sessiondb, no foreign database", "`sessiondb migrate` reads it")
    database = SqliteFile(path)
    tables = database.tables
    database.close()
    return _of_tables(path, tables)


def _of_tables(path: str, tables: dict[str, Columns]) -> str:
    from .dbm_files import is_dbm
    from .diskcache import is_diskcache
    from .sessions_file import is_session_table
    from .sqlitedict import is_sqlitedict

    if is_diskcache(tables):
        return "diskcache"
    if is_session_table(tables):
        return "sessions"
    if is_dbm(tables):
        raise own_problem(path, "a dbm (sqlite3)", "say who wrote it: --from shelve, or --from dbm")
    if any(is_sqlitedict(columns) for columns in tables.values()):
        return "sqlitedict"
    has = ", ".join(list(tables)[:8]) or "no table"
    raise own_problem(path, f"a SQLite database of a kind that is not known (it has {has})", "choose one with --from")
