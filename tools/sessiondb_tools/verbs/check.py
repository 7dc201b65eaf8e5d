"""Read everything there is and say what is wrong, changing nothing.

Checked are the backend, with its checksums, its structure and its indexes against the records; each record of each
table; the log, each frame that the backend has not applied and each record in it; and whether log and backend fit
together. Of a store on a server also whether another host took it over from this one, with transactions in the log
here that never reached the server. Exit code 0 when all is well (a torn tail is: nobody was told that it is durable),
1 for damage or such transactions, 3 when it could not look.

  sessiondb check --db sessions.json
"""

from __future__ import annotations

import argparse

from ..exit_codes import DAMAGE, FINE
from ..inspection import Look, Part
from ..locations import Place, add_store_options
from ..output import count, indexes_of, print_fields, print_json, shown
from ..standing import standing_json, standing_rows
from .log_verify import look_at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser, wait_s=None)


def run(arguments: argparse.Namespace) -> int:
    """Look, and say what was found."""
    place, look, notices = look_at(arguments, "check")
    if arguments.json:
        print_json(_as_json(place, look, notices))
    else:
        print_fields(_rows(place, look, notices))
    return FINE if look.is_fine else DAMAGE


def _as_json(place: Place, look: Look, notices: list[str]) -> dict[str, object]:
    found = look.survey
    return {
        "location": str(place.location),
        "fine": look.is_fine,
        "problems": [{"part": problem.part, "problem": problem.text} for problem in look.problems],
        "notices": notices,
        **standing_json(look.standing),
        "backend": None if look.identity is None else
        {"scheme": place.backend.scheme, "format": look.identity.format_version, "uuid": look.identity.uuid.hex(),
         "position": str(look.position), "bytes": look.backend_bytes},
        "tables": {name: table._asdict() for name, table in look.tables.items()},
        "log": {"segments": look.segments, "bytes": look.log_bytes} if found is None else
        {"segments": look.segments, "bytes": look.log_bytes, "needed": len(found.contents.needed),
         "transactions": found.contents.transactions, "changes": found.memtable.records,
         "last_lsn": found.contents.last_lsn},
    }  # fmt: skip


# ---- for people


def _rows(place: Place, look: Look, notices: list[str]) -> list[tuple[str, str]]:
    rows = [("location", str(place.location))]
    rows += [*_backend_rows(place, look), *_damage(look, "backend")]
    rows += [*_table_rows(look), *_damage(look, "records")]
    rows += [*_log_rows(look), *_damage(look, "log"), *standing_rows(look.standing)]
    rows += [("notice", notice) for notice in notices]
    verdict = "fine"
    if look.problems:
        verdict = f"damaged ({count(len(look.problems), 'finding')}): do not write; copy the store aside"
    elif not look.is_fine:
        verdict = "the store is fine, but transactions of this host never reached it"
    return [*rows, ("verdict", verdict)]


def _backend_rows(place: Place, look: Look) -> list[tuple[str, str]]:
    if look.identity is None:
        return [("backend", f"{place.backend.scheme}, not read")]
    size = f", {count(look.backend_bytes, 'byte')}" if look.backend_bytes else ""
    how = "damaged" if _damage(look, "backend") else "fine"
    what = f"{place.backend.scheme}, format {look.identity.format_version}, at {look.position}{size}: {how}"
    return [("backend", what)]


def _table_rows(look: Look) -> list[tuple[str, str]]:
    if look.identity is None:
        return []
    records = sum(table.records for table in look.tables.values())
    read = sum(table.read or 0 for table in look.tables.values())
    how = "each read" if read == records else f"{read:,} could be read"
    rows = [("records", f"{count(records, 'record')} in {count(len(look.tables), 'table')} of the backend: {how}")]
    for name, table in look.tables.items():
        part = "" if table.read == table.records else f", {table.read:,} read"
        text = f"{shown(name)}: {count(table.records, 'record')} ({table.kind}){indexes_of(table.indexes)}{part}"
        rows.append(("", text))
    return rows


def _log_rows(look: Look) -> list[tuple[str, str]]:
    size = f"{count(look.segments, 'segment')}, {count(look.log_bytes, 'byte')}"
    if look.survey is None:
        return [("log", f"{size}: not judged" if look.segments else "none")]
    contents, changes = look.survey.contents, look.survey.memtable.records
    behind = f"{count(contents.transactions, 'transaction')} behind {look.log_follows}"
    return [
        ("log", f"{size}; {len(contents.needed):,} needed, all read"),
        ("", f"{behind}, up to LSN {contents.last_lsn}, with {count(changes, 'change')}"),
    ]


def _damage(look: Look, part: Part) -> list[tuple[str, str]]:
    return [("DAMAGE", problem.text) for problem in look.problems if problem.part == part]
