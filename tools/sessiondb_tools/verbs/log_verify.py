"""Check log and backend, changing nothing.

Everything is read: the backend with its checksum, every frame that the backend has not applied, and the witnesses of
what was acknowledged as durable. Exit code 0 when all is well (a torn tail is: nobody was told that it is durable, and
the next opening cuts it), 1 for damage, or transactions of this host that never reached the server, 3 when it could not
look.

  sessiondb log verify --db sessions.json
"""

from __future__ import annotations

import argparse

from sessiondb.files import Files
from sessiondb.lock import StoreLocks

from ..exit_codes import DAMAGE, FINE, NOT_DONE, CommandError
from ..inspection import Depth, Look, inspect, share_open
from ..locations import Place, add_store_options, find_store
from ..output import count, print_fields, print_json
from ..standing import standing_json, standing_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser, wait_s=None)


def run(arguments: argparse.Namespace) -> int:
    """Look, and say what was found."""
    place, look, notices = look_at(arguments, "verify")
    if arguments.json:
        print_json(_as_json(place, look, notices))
    else:
        _print(place, look, notices)
    return FINE if look.is_fine else DAMAGE


def look_at(arguments: argparse.Namespace, depth: Depth) -> tuple[Place, Look, list[str]]:
    """Look at the store that the command line means; what was found, and what is worth knowing though it is fine.

    Raises:
        CommandError: nothing is there, or it is being written and no two looks agree.
    """
    files = Files()
    place = find_store(arguments, file_needed=False)
    lock = share_open(files, place)
    try:
        look = inspect(files, place, locked=isinstance(lock, StoreLocks), depth=depth)
    finally:
        if isinstance(lock, StoreLocks):
            lock.release()
    if not look.settled:
        raise CommandError(
            f"the store is being written, and every look saw another state ({place.location}); the last problem was: "
            f"{look.problems[0].text}; next: try again when nobody writes",
            NOT_DONE,
        )
    busy = lock is not None and not isinstance(lock, StoreLocks)
    return (
        place,
        look,
        [f"{lock} has the store open: this is how it was at one moment"] if busy else _notices(place, look),
    )


def _notices(place: Place, look: Look) -> list[str]:
    found = look.survey
    if look.identity is None:
        return ["the log was not judged: that takes the backend; next: `sessiondb log dump` prints what it has"]
    if found is None:
        return [] if look.problems else [_no_log(place, look)]
    contents = found.contents
    notices = list(found.notices)
    if contents.torn is not None:
        segment, offset, length, problem = contents.torn
        notices.append(
            f"a torn tail of {length} bytes in {segment} at offset {offset} ({problem}): nobody was told that it is "
            "durable; the next opening for writing cuts it and keeps a copy"
        )
    notices += [f"the segment {name} was never finished; the next opening removes it" for name in contents.unfinished]
    if contents.leftovers:
        notices.append(
            f"{count(len(contents.leftovers), 'segment')} not needed any more: the next opening removes them"
        )
    return notices


def _no_log(place: Place, look: Look) -> str:
    if look.standing is not None and not look.standing.is_free:
        host = look.standing.owner.host
        return f"the log is on the host {host}: what that one has not moved to the server yet was not looked at"
    return f"there is no log ({place.folder}): the store is as the backend has it"


def _as_json(place: Place, look: Look, notices: list[str]) -> dict[str, object]:
    contents = None if look.survey is None else look.survey.contents
    return {
        "location": str(place.location),
        "fine": look.is_fine,
        "problems": [problem.text for problem in look.problems],
        "notices": notices,
        **standing_json(look.standing),
        "applied": None if look.position is None else str(look.position),
        "last_lsn": None if contents is None else contents.last_lsn,
        "segments": look.segments,
        "transactions": None if contents is None else contents.transactions,
        "torn_tail": None if contents is None or contents.torn is None else
        {"segment": str(contents.torn.segment), "offset": contents.torn.offset, "bytes": contents.torn.length,
         "problem": contents.torn.problem},
    }  # fmt: skip


def _print(place: Place, look: Look, notices: list[str]) -> None:
    rows = [("location", str(place.location))]
    if look.identity is not None:
        records = sum(table.records for table in look.tables.values())
        rows.append(
            ("backend", f"{place.backend.scheme}, format {look.identity.format_version}, at {look.position}, "
             f"{count(records, 'record')}, {count(look.backend_bytes, 'byte')}")
        )  # fmt: skip
    rows.append(("log", f"{count(look.segments, 'segment')}, {count(look.log_bytes, 'byte')}"))
    if look.survey is not None:
        contents = look.survey.contents
        behind = f"{count(contents.transactions, 'transaction')} behind {look.log_follows}"
        rows.append(("", f"{behind}, up to LSN {contents.last_lsn}"))
    rows += [("notice", notice) for notice in notices]
    rows += [("DAMAGE", problem.text) for problem in look.problems]
    rows += standing_rows(look.standing)
    verdict = "fine" if look.is_fine else "the store is fine, but transactions of this host never reached it"
    rows.append(("verdict", "damaged: do not write; copy the store aside" if look.problems else verdict))
    print_fields(rows)
