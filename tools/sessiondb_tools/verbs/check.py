"""Read everything there is and say what is wrong, changing nothing.

Checked are the backend, with its checksums, its structure and its indexes against the records; each record of each
table; the log, each frame that the backend has not applied and each record in it; and whether log and backend fit
together. Exit code 0 when all is well (a torn tail is: nobody was told that it is durable), 1 for damage, 3 when it
could not look.

  sessiondb check --db sessions.json
"""

from __future__ import annotations

import argparse

from ..exit_codes import DAMAGE, FINE
from ..inspection import Look, Part
from ..locations import Place, add_store_options
from ..output import count, indexes_of, print_fields, print_json, shown
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
    return DAMAGE if look.problems else FINE


def _as_json(place: Place, look: Look, notices: list[str]) -> dict[str, object]:
    found = look.survey
    return {
        "location": str(place.location),
        "fine": not look.problems,
        "problems": [{"part": problem.part, "problem": problem.text} for problem in look.problems],
        "notices": notices,
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
    rows += [*_log_rows(look), *_damage(look, "log")]
    rows += [("notice", notice) for notice in notices]
    verdict = "fine"
    if look.problems:
        verdict = f"damaged ({count(len(look.problems), 'finding')}): do not write; copy the store aside"
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
    return [
        ("log", f"{size}; {len(contents.needed):,} needed, all read"),
        ("", f"{count(contents.transactions, 'transaction')} behind the backend, up to LSN {contents.last_lsn}, with "
         f"{count(changes, 'change')}"),
    ]  # fmt: skip


def _damage(look: Look, part: Part) -> list[tuple[str, str]]:
    return [("DAMAGE", problem.text) for problem in look.problems if problem.part == part]
