"""Write records as JSON Lines, JSON, MessagePack or CSV.

All tables, or those that --table names, in the order of their names and keys, as they are at one moment, read in
bounded memory. They go to standard output, or with --output to a new file, which is there as a whole, durably, or not
at all. The format is that of --format, or the one that the ending of FILE names, or JSON Lines:

  jsonl    a record a line: {"table": ..., "key": ..., "record": ...}; of a table of bytes "base64" instead of "record"
  json     one document: {table: {key: record, ...}, ...}
  msgpack  a stream of objects like those of jsonl; of a table of bytes "bytes" instead of "record"
  csv      one table: a column for the key, and one for each field that a record has

--stranded writes what was committed on this host and never reached the server, because another host took the store
over: a line for each change, in the order in which they were made, with "lsn", "time", "table", "op", "key" and
"record". Lines with the same LSN are one transaction. The server is asked from where on; without it `sessiondb log
dump --json` prints all that the log holds.

  sessiondb export --output backup.jsonl --db sessions.json
  sessiondb export --format csv --table sessions --db sessions.json
  sessiondb export --stranded --output stranded.jsonl
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection

from sessiondb.errors import BackendUnavailableError, StoreBusyError
from sessiondb.files import Files
from sessiondb.lock import StoreLocks
from sessiondb.wal.operations import Operation

from ..exit_codes import FINE, NOT_DONE, USAGE, CommandError
from ..exporting.formats import FORMATS, format_of
from ..exporting.lines import change_line
from ..exporting.records import Records
from ..exporting.target import opened
from ..locations import Place, add_store_options, find_store, open_for_reading
from ..output import count, print_json, shown
from ..standing import Standing, read_run, standing_of, unknown_log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--table", metavar="NAME", action="append", help="only this table; repeat it for more")
    parser.add_argument("--format", choices=FORMATS, help="how (default: as FILE ends, else jsonl)")
    parser.add_argument("--output", metavar="FILE", help="a new file (default: standard output)")
    parser.add_argument("--stranded", action="store_true", help="what another host's take-over left in the log here")
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export."""
    return _stranded(arguments) if arguments.stranded else _records(arguments)


# ---- records


def _records(arguments: argparse.Namespace) -> int:
    form = format_of(arguments.format, arguments.output)
    with open_for_reading(arguments) as db:
        store = db._store
        assert store is not None
        with store.pin() as view:
            kinds = view.tables()
            wanted = list(kinds) if arguments.table is None else sorted(set(arguments.table))
            _must_be_there(wanted, kinds, db.location)
            records = Records(view, kinds, wanted)
            pieces = FORMATS[form](records)
            first = next(pieces, b"")  # what cannot be written in this format is found before a file is made
            with opened(arguments.output) as write:
                write(first)
                for piece in pieces:
                    write(piece)
        if arguments.output not in (None, "-"):
            if arguments.json:
                print_json({"records": records.count, "tables": wanted, "output": arguments.output, "format": form})
            else:
                print(
                    f"wrote {count(records.count, 'record')} of {count(len(wanted), 'table')} to {arguments.output} "
                    f"({form})"
                )
    return FINE


def _must_be_there(wanted: Collection[str], kinds: Collection[str], location: str) -> None:
    missing = [name for name in wanted if name not in kinds]
    if missing:
        raise CommandError(
            f"there is no table {', '.join(map(shown, missing))} in {location}; "
            f"it has: {', '.join(map(shown, kinds)) or 'none'}; next: choose one with --table",
            USAGE,
        )


# ---- what never reached the server


def _stranded(arguments: argparse.Namespace) -> int:
    if format_of(arguments.format, arguments.output) != "jsonl":
        raise CommandError(
            "--stranded writes changes, as JSON Lines only; next: --format jsonl, or --output X.jsonl", USAGE
        )
    place = find_store(arguments, file_needed=False)
    if not place.backend.remote:
        raise CommandError(f"{place.location} is not on a server: nothing can be stranded; leave out --stranded", USAGE)
    files = Files()
    locks = StoreLocks(files, place.folder)
    try:
        if files.stat(f"{place.folder}/OPEN") is not None:
            wait_s = arguments.default_wait if arguments.wait is None else arguments.wait
            _keep_writers_out(locks, wait_s)
        return _export_log(arguments, files, place)
    finally:
        locks.release()


def _keep_writers_out(locks: StoreLocks, wait_s: float) -> None:
    """Nobody may add to the log meanwhile, or what is exported would not be all of it."""
    try:
        locks.acquire(read_only=True, timeout=wait_s)
    except StoreBusyError as error:
        raise CommandError(f"{error}, because it may still write to the log that is to be exported", NOT_DONE) from None


def _export_log(arguments: argparse.Namespace, files: Files, place: Place) -> int:
    standing, uuid = _ask(files, place)
    behind, expected = standing.owner.lost_after, standing.stranded
    if behind is None or expected is None:
        why = f"the store is owned by {standing}" if standing.owner.host else "nobody has written to the store yet"
        print(f"sessiondb export: nothing is stranded on this host: {why}", file=sys.stderr)
        return FINE
    lines = 0
    with opened(arguments.output) as write:

        def export(lsn: int, time_us: int, operations: list[Operation]) -> None:
            nonlocal lines
            for operation in operations:
                if arguments.table is None or operation.table in arguments.table:
                    write(change_line(lsn, time_us, operation))
                    lines += 1

        read_run(files, place.folder, uuid, behind, export)
    if arguments.output not in (None, "-"):
        if arguments.json:
            print_json({"lines": lines, **expected.as_json(), "output": arguments.output})
        else:
            print(f"wrote {count(lines, 'line')} to {arguments.output}: {expected}")
    return FINE


def _ask(files: Files, place: Place) -> tuple[Standing, bytes]:
    """Who owns the store, and its uuid. The log was read once, and is sound.

    Raises:
        CommandError: the server cannot be asked.
        CorruptionError: the log is damaged, or none of this store's.
    """
    try:
        backend = place.backend.open(files, place.location.path, create=False, read_only=True)
        try:
            standing = standing_of(files, place.folder, backend)
        finally:
            backend.close()
    except BackendUnavailableError as error:
        raise CommandError(
            f"{error}; without the server nobody knows which transactions it has: `sessiondb log dump --json` prints "
            "all that are in the log",
            NOT_DONE,
        ) from None
    if standing.is_unknown:
        raise unknown_log(place.folder)
    return standing, backend.identity().uuid
