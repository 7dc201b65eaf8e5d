"""Which store a command means, and opening it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from sessiondb.configuration import Choice, Config, load
from sessiondb.entry import open_configured
from sessiondb.files import Files
from sessiondb.location import Location
from sessiondb.opening import backend_class
from sessiondb.settings import Given, masked
from sessiondb.wal.verdict import segment_names

from .exit_codes import DAMAGE, NOT_DONE, USAGE, CommandError
from .messages import show_messages

if TYPE_CHECKING:
    import argparse

    from sessiondb import Database, Table
    from sessiondb.backend import Backend

__all__ = [
    "Place",
    "add_store_options",
    "add_table_option",
    "choice_report",
    "choice_rows",
    "configuration",
    "does_exist",
    "find_place",
    "find_store",
    "has_log_of",
    "log_alone",
    "open_for_reading",
    "open_for_writing",
    "table_for_reading",
]

DEFAULT_TABLE = "records"
WAIT_S_READING = 2.0
WAIT_S_WRITING = 10.0
_BY_HAND = Choice(Location("", ""), "", (), is_argument=True, is_default=False, in_default_folder=False)


class Place(NamedTuple):
    """A store's files, found but not opened."""

    location: Location
    backend: type[Backend]
    folder: str
    """Where its log is."""
    choice: Choice = _BY_HAND
    """Which settings say so."""


def add_store_options(parser: argparse.ArgumentParser, *, wait_s: float | None = WAIT_S_READING) -> None:
    """Declare the options that every verb on a store has; without `wait_s` the verb never waits for one."""
    parser.add_argument("--db", metavar="LOCATION", help="path or URL of the store (default: see sessiondb --help)")
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, one value a line")
    if wait_s is not None:
        wait_help = f"longest wait for a busy store (default: the setting lock_timeout, else {wait_s})"
        parser.add_argument("--wait", type=float, metavar="SECONDS", help=wait_help)
    parser.set_defaults(default_wait=wait_s)
    if wait_s == WAIT_S_WRITING:
        take_over_help = "take a store on a server over from the host that owns it, which cannot write from then on"
        parser.add_argument("--take-over", action="store_true", help=take_over_help)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--config``."""
    parser.add_argument("--config", metavar="FILE", help="the configuration file (default: see sessiondb --help)")


def add_table_option(parser: argparse.ArgumentParser, *, may_be_new: bool = False) -> None:
    """Declare ``--table``: ``None`` when it is left out, unless the verb may make the table."""
    else_what = DEFAULT_TABLE if may_be_new else f"{DEFAULT_TABLE}, or the only one that there is"
    parser.add_argument(
        "--table",
        default=DEFAULT_TABLE if may_be_new else None,
        metavar="NAME",
        help=f"the table (default: {else_what})",
    )


def configuration(arguments: argparse.Namespace) -> Config:
    """The settings, with the command line before all others; read once.

    Raises:
        ConfigError: an unknown setting or a bad value.
        UsageError: the same on the command line.
    """
    found: Config | None = getattr(arguments, "configuration", None)
    if found is None:
        given = {}
        for name, option in (("url", "db"), ("lock_timeout", "wait")):
            value = getattr(arguments, option, None)
            if value is not None:
                given[name] = Given(value, f"--{option}", "argument")
        file = None if arguments.config is None else Given(arguments.config, "--config", "argument")
        found = arguments.configuration = load(given, file)
        show_messages(found.settings["log_level"].value)
    return found


def find_place(arguments: argparse.Namespace) -> Place:
    """The place that the command line means, whatever is there.

    Raises:
        CommandError: it is in memory.
        ConfigError: the settings are wrong.
    """
    choice = configuration(arguments).choose()
    location = choice.place
    with choice.explaining():
        backend = backend_class(location.scheme)
        folder = backend.log_folder(location.path)
    if folder is None:
        raise CommandError(f"{location} keeps nothing between two commands; next: name a file with --db", USAGE)
    return Place(location, backend, folder, choice)


def find_store(arguments: argparse.Namespace, *, file_needed: bool = True) -> Place:
    """The store that the command line means; nothing is opened for good or changed.

    Args:
        arguments: with ``db`` and ``config``.
        file_needed: False: a log without its backend's data, or beside something else, will do.

    Raises:
        CommandError: nothing is there.
        ConfigError: the settings are wrong.
        WrongBackendError: something else is there.
    """
    place = find_place(arguments)
    has_log = has_log_of(place)
    if has_log and not file_needed:
        return place
    if does_exist(place):
        return place
    if has_log:
        raise log_alone(place)
    step = "" if place.choice.is_default else "; next: `sessiondb init` makes it, --db names another"
    raise CommandError(place.choice.missing() + step, NOT_DONE)


def does_exist(place: Place) -> bool:
    """Whether the store is there.

    Raises:
        WrongBackendError: something else is there.
        BackendUnavailableError: the server cannot be asked.
    """
    with place.choice.explaining():
        return place.backend.exists(Files(), place.location.path)


def has_log_of(place: Place) -> bool:
    """Whether a log is there."""
    files = Files()
    return files.stat(place.folder) is not None and bool(segment_names(files, place.folder))


def log_alone(place: Place) -> CommandError:
    """What to raise when a log is there, and the store is not."""
    return CommandError(
        f"the store {place.location} is missing, but its log is there ({place.folder}); "
        "next: put the store back from a backup; `sessiondb log dump` prints what the log has",
        DAMAGE,
    )


def choice_report(choice: Choice) -> dict[str, Any]:
    """Which setting names the store, and which others name one in vain."""
    overridden = [{"value": masked(given.value), "source": given.source} for given in choice.overridden]
    return {"chosen_by": choice.source, "overridden": overridden}


def choice_rows(choice: Choice) -> list[tuple[str, str]]:
    """The same for people; nothing where --db says it, and nobody else anything."""
    if choice.is_argument and not choice.overridden:
        return []
    lost = [("", f"not {masked(given.value)}, as {given.source} says") for given in choice.overridden]
    return [("chosen by", choice.source), *lost]


def open_for_reading(arguments: argparse.Namespace) -> Database:
    """Open an existing store so that nothing in it can change."""
    find_store(arguments)
    return open_configured(configuration(arguments), read_only=True, create=False, wait_s=arguments.default_wait)


def open_for_writing(arguments: argparse.Namespace, *, create: bool) -> Database:
    """Open a store for changing it; with `create` make it when nothing is there."""
    place = find_place(arguments) if create else find_store(arguments)
    if place.backend.remote and not arguments.take_over:
        from .taking_over import must_be_free

        must_be_free(place)
    return open_configured(configuration(arguments), create=create, wait_s=arguments.default_wait)


def table_for_reading(db: Database, name: str | None) -> Table[Any]:
    """The table with this name, untyped, or of bytes if it holds bytes; without a name the default, or the only one.

    Raises:
        CommandError: the store has other tables, but not this one.
    """
    kinds = db.tables()
    if not kinds:
        print(f"sessiondb: the store {db.location} is there, and empty", file=sys.stderr)
    if name is None:
        name = next(iter(kinds)) if len(kinds) == 1 else DEFAULT_TABLE
    if kinds and name not in kinds:
        known = ", ".join(kinds)
        raise CommandError(
            f"there is no table {name!r} in {db.location}; it has: {known}; next: choose one with --table", USAGE
        )
    return db.table(name, bytes if kinds.get(name) == "bytes" else Any)
