"""Where the store is and how it is, changing nothing.

When another process has the store, the files alone are looked at: the numbers are then those of the last checkpoint,
with hints from the log's HEAD, and the exit code is 3.

Of a store on a server it also says which host owns it; nothing is taken over. When the server does not answer, it tells
what the log on this host holds, and the exit code is 3; when another host took the store over and transactions of this
one never reached the server, 1.

  sessiondb status --db sessions.json
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from sessiondb.errors import BackendError, CorruptionError, StoreBusyError, StoreFailedError, WrongBackendError
from sessiondb.files import Files
from sessiondb.lock import read_holder
from sessiondb.stats import RecoveryReport

from ..exit_codes import DAMAGE, FINE, NOT_DONE, CommandError
from ..inspection import inspect, quarantined
from ..locations import (
    Place,
    add_store_options,
    choice_report,
    choice_rows,
    find_place,
    find_store,
    open_for_reading,
    table_for_reading,
)
from ..output import count, indexes_of, print_fields, print_json, shown
from ..server_status import server_part, server_rows, status_without_server, waiting_rows
from ..standing import Standing, standing_of, unknown_log

if TYPE_CHECKING:
    from sessiondb import Table

WAIT_S = 0.2
OPENED = ("ready", "fenced")
"""States in which the store could be opened, read-only."""
STATES = {
    "fenced": ": another host took it over, and this one cannot write before what it holds is dealt with",
    "unreachable": ", the server cannot be asked",
    "refused": ", the server does not let this user look",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser, wait_s=WAIT_S)


def run(arguments: argparse.Namespace) -> int:
    """Print the state; the error, if there is one, goes to stderr as well."""
    place = find_place(arguments)
    try:
        status, standing, error = _look(arguments, place)
    except BackendError as problem:
        if not place.backend.remote:
            raise
        status, standing, error = status_without_server(place, problem), None, problem
    status["quarantine"] = [file._asdict() for file in quarantined(Files(), place)]
    if arguments.json:
        print_json(status | choice_report(place.choice))
    else:
        location, *others = _rows(place, status, standing)
        print_fields([location, *choice_rows(place.choice), *others])
    left_behind = "" if standing is None else standing.problem(place.location)
    if error is None and not left_behind:
        return FINE
    sys.stdout.flush()
    print(f"sessiondb status: {left_behind or error}", file=sys.stderr)
    return NOT_DONE if isinstance(error, StoreBusyError | StoreFailedError) and not left_behind else DAMAGE


def _look(arguments: argparse.Namespace, place: Place) -> tuple[dict[str, Any], Standing | None, Exception | None]:
    """The status, who owns the store if it is on a server, and why it cannot be opened.

    Raises:
        BackendError: the server does not answer.
    """
    find_store(arguments, file_needed=False)
    try:
        return *_of_open(arguments, place), None
    except (StoreBusyError, CorruptionError, WrongBackendError, CommandError) as problem:
        # A file that is missing or not ours is damage where its log is there; `find_store` has raised where it is not.
        return *_of_files(place, problem), problem


def _of_open(arguments: argparse.Namespace, place: Place) -> tuple[dict[str, Any], Standing | None]:
    """Everything, from the store opened read-only."""
    with open_for_reading(arguments) as db:
        stats = db.stats()
        tables = {name: _table(table_for_reading(db, name), kind) for name, kind in db.tables().items()}
        store = db._store
        assert store is not None
        standing = standing_of(Files(), place.folder, store.backend) if place.backend.remote else None
        if standing is not None and standing.is_unknown:
            raise unknown_log(place.folder)
        # The log of the owner says more than the server has; one of this host that is not the owner's, nothing of it.
        here = standing is None or standing.is_free
        return {
            "location": stats.location,
            "backend": stats.backend,
            "format": store.identity.format_version,
            "uuid": stats.uuid,
            "state": "ready" if standing is None or standing.stranded is None else "fenced",
            **server_part(place, standing),
            "tables": tables,
            "records": sum(table["records"] for table in tables.values()),
            "epoch": stats.epoch,
            "last_lsn": stats.last_lsn,
            "durable_lsn": stats.durable_lsn,
            "applied_lsn": stats.applied_lsn,
            "log": {
                "segments": stats.log_segments,
                "disk_bytes": stats.log_disk_bytes,
                "bytes": stats.log_bytes if here else None,
                "records": stats.log_records if here else None,
            },
            "backend_bytes": stats.backend_bytes,
            "cache": {"hits": stats.cache_hits, "misses": stats.cache_misses, "bytes": stats.cache_bytes},
            "last_checkpoint_error": stats.last_checkpoint_error,
            "recovery": db.recovery_report if here else None,
            "problems": [],
        }, standing


def _table(table: Table[Any], kind: str) -> dict[str, Any]:
    return {"kind": kind, "records": table.count(), "indexes": table.indexes()}


def _of_files(place: Place, error: Exception) -> tuple[dict[str, Any], Standing | None]:
    """What the files tell of a store that cannot be opened."""
    files = Files()
    busy = isinstance(error, StoreBusyError)
    look = inspect(files, place, locked=False, depth="glance")
    holder = read_holder(files, place.folder) if busy else None
    hints = look.hints
    contents = None if look.survey is None else look.survey.contents
    return {
        "location": str(place.location),
        "backend": place.backend.scheme,
        "format": None if look.identity is None else look.identity.format_version,
        "uuid": None if look.identity is None else look.identity.uuid.hex(),
        "state": "busy" if busy else "damaged",
        "holder": None if holder is None else msgspec.structs.asdict(holder),
        **server_part(place, look.standing),
        "tables": {
            name: {"kind": table.kind, "records": table.records, "indexes": table.indexes}
            for name, table in look.tables.items()
        },
        "records": sum(table.records for table in look.tables.values()),
        "epoch": None if hints is None else hints.epoch,
        "last_lsn": None if hints is None else hints.last_lsn,
        "durable_lsn": None if hints is None else hints.durable_lsn,
        "applied_lsn": None if look.position is None else look.position.lsn,
        "log": {
            "segments": look.segments,
            "disk_bytes": look.log_bytes,
            "bytes": None if contents is None else contents.bytes,
            "records": None if look.survey is None else look.survey.memtable.records,
        },
        "backend_bytes": look.backend_bytes,
        "cache": None,
        "last_checkpoint_error": None,
        "recovery": None,
        "problems": [problem.text for problem in look.problems] if look.settled else [],
    }, look.standing


# ---- for people


def _rows(place: Place, status: dict[str, Any], standing: Standing | None) -> list[tuple[str, str]]:
    hint = "" if status["state"] in OPENED else "by HEAD, a hint: "
    size = "size unknown" if status["backend_bytes"] is None else _bytes(status["backend_bytes"])
    rows = [
        ("location", status["location"]),
        *server_rows(place, status, standing),
        ("backend", f"{status['backend']}, format {_or_unknown(status['format'])}, {size}"),
        ("state", _state(status)),
        *_table_rows(status),
        ("position", f"{hint}epoch {_or_unknown(status['epoch'])}, last LSN {_or_unknown(status['last_lsn'])}, "
         f"durable {_or_unknown(status['durable_lsn'])}, applied {_or_unknown(status['applied_lsn'])}"),
        ("log", _log(status["log"])),
        *waiting_rows(status),
        *_recovery_rows(status["recovery"]),
        ("checkpoint", f"last error: {status['last_checkpoint_error'] or 'none known'}"),
    ]  # fmt: skip
    rows += [("quarantine", f"{file['path']} ({_bytes(file['bytes'])})") for file in status["quarantine"]]
    if not status["quarantine"]:
        rows.append(("quarantine", "empty"))
    return rows + [("problem", problem) for problem in status["problems"]]


def _state(status: dict[str, Any]) -> str:
    holder = status.get("holder")
    state = f"{status['state']}{STATES.get(status['state'], '')}"
    if holder is not None:
        state += f": process {holder['pid']} ({holder['program']}) has it open since {holder['since']}"
    return state


def _table_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    tables = status["tables"]
    if tables is None:
        return [("records", "unknown")]
    total = count(status["records"], "record")
    when = "" if status["state"] in OPENED and status["recovery"] is not None else ", as of the last checkpoint"
    rows = [("records", f"{total} in {count(len(tables), 'table')}{when}")]
    return rows + [
        ("", f"{shown(name)}: {count(table['records'], 'record')} ({table['kind']}){indexes_of(table['indexes'])}")
        for name, table in tables.items()
    ]


def _log(log: dict[str, Any]) -> str:
    size = f"{count(log['segments'], 'segment')}, {_bytes(log['disk_bytes'])} on disk"
    if log["records"] is None:
        return size
    return f"{size}; {count(log['records'], 'change')} ({_bytes(log['bytes'])}) not in the backend yet"


def _recovery_rows(report: RecoveryReport | None) -> list[tuple[str, str]]:
    if report is None:
        return [("recovery", "not known")]
    if report.clean:
        return [("recovery", "the store was closed cleanly")]
    text = f"{count(report.transactions, 'transaction')} to replay, up to LSN {report.last_lsn}"
    return [("recovery", text)] + [("", notice) for notice in report.notices]


def _bytes(number: int) -> str:
    return count(number, "byte")


def _or_unknown(value: object) -> str:
    return "unknown" if value is None else str(value)
