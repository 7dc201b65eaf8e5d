"""Which store a command means, and opening it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import sessiondb
from sessiondb.errors import UsageError
from sessiondb.files import Files
from sessiondb.location import Location, parse_location
from sessiondb.opening import backend_class
from sessiondb.wal.verdict import segment_names

from .exit_codes import DAMAGE, NOT_DONE, USAGE, CommandError

if TYPE_CHECKING:
    from sessiondb import Database, Table
    from sessiondb.backend import Backend

__all__ = [
    "Place",
    "add_store_options",
    "add_table_option",
    "default_location",
    "find_store",
    "open_for_reading",
    "open_for_writing",
    "table_for_reading",
]

WAIT_S_READING = 2.0
WAIT_S_WRITING = 10.0


class Place(NamedTuple):
    """A store's files, found but not opened."""

    location: Location
    backend: type[Backend]
    folder: str
    """Where its log is."""


def add_store_options(parser: argparse.ArgumentParser, *, wait_s: float | None = WAIT_S_READING) -> None:
    """Declare the options that every verb on a store has; without `wait_s` the verb never waits for one."""
    parser.add_argument("--db", metavar="LOCATION", help="path or URL of the store (default: see sessiondb --help)")
    parser.add_argument("--json", action="store_true", help="print JSON, one value a line")
    if wait_s is not None:
        wait_help = "longest wait for a busy store (default: %(default)s)"
        parser.add_argument("--wait", type=float, default=wait_s, metavar="SECONDS", help=wait_help)


def add_table_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--table``."""
    parser.add_argument("--table", default="records", metavar="NAME", help="the table (default: %(default)s)")


def default_location() -> str:
    """``$XDG_STATE_HOME/sessiondb/sessions.json``; as the XDG rules say, a relative folder counts as unset."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.expanduser("~/.local/state")
    return os.path.join(state, "sessiondb", "sessions.json")


def _chosen(arguments: argparse.Namespace) -> str:
    given: str | None = arguments.db
    if given == "":
        raise UsageError("--db is empty; next: give a path or a URL, or leave the option out")
    return given or os.environ.get("SESSIONDB_URL") or default_location()


def _parse(arguments: argparse.Namespace) -> tuple[Location, type[Backend], str]:
    location = parse_location(_chosen(arguments))
    backend = backend_class(location.scheme)
    folder = backend.log_folder(location.path)
    if folder is None:
        raise CommandError(f"{location} keeps nothing between two commands; next: name a file with --db", USAGE)
    return location, backend, folder


def find_store(arguments: argparse.Namespace, *, file_needed: bool = True) -> Place:
    """The store that the command line means; nothing is opened for good or changed.

    Args:
        arguments: with ``db``.
        file_needed: False: a log without its backend's data, or beside something else, will do.

    Raises:
        CommandError: nothing is there.
        WrongBackendError: something else is there.
    """
    location, backend, folder = _parse(arguments)
    files = Files()
    has_log = files.stat(folder) is not None and bool(segment_names(files, folder))
    if has_log and not file_needed:
        return Place(location, backend, folder)
    if backend.exists(files, location.path):
        return Place(location, backend, folder)
    if has_log:
        raise CommandError(
            f"the store {location.path} is missing, but its log is there ({folder}); "
            "next: put the store back from a backup; `sessiondb log dump` prints what the log has",
            DAMAGE,
        )
    raise CommandError(
        f"there is no store at {location}; next: name one with --db, or make one with `sessiondb put` or "
        "`sessiondb import`",
        NOT_DONE,
    )


def open_for_reading(arguments: argparse.Namespace) -> Database:
    """Open an existing store so that nothing in it can change."""
    find_store(arguments)
    return sessiondb.open(_chosen(arguments), read_only=True, create=False, lock_timeout=_wait(arguments))


def open_for_writing(arguments: argparse.Namespace, *, create: bool) -> Database:
    """Open a store for changing it; with `create` make it when nothing is there."""
    location, _, _ = _parse(arguments)
    if not create:
        find_store(arguments)
    elif not arguments.db and not os.environ.get("SESSIONDB_URL"):
        _make_folders(Files(), os.path.dirname(location.path))
    return sessiondb.open(_chosen(arguments), create=create, lock_timeout=_wait(arguments))


def _wait(arguments: argparse.Namespace) -> float:
    wait: float = arguments.wait
    if not wait >= 0:
        raise UsageError(f"--wait is {wait}; it must be a number of seconds, at least 0")
    return wait


def _make_folders(files: Files, folder: str) -> None:
    """Make the default location's folders, durably: a store in a folder that a power cut takes away is gone too."""
    if files.stat(folder) is not None:
        return
    parent = os.path.dirname(folder)
    _make_folders(files, parent)
    files.mkdir(folder)
    files.sync_folder(parent)


def table_for_reading(db: Database, name: str) -> Table[Any]:
    """The table with this name, untyped, or of bytes if it holds bytes.

    Raises:
        CommandError: the store has other tables, but not this one.
    """
    kinds = db.tables()
    if kinds and name not in kinds:
        known = ", ".join(kinds)
        raise CommandError(
            f"there is no table {name!r} in {db.location}; it has: {known}; next: choose one with --table", USAGE
        )
    return db.table(name, bytes if kinds.get(name) == "bytes" else Any)
