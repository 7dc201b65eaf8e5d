"""What `status` says of a store on a server beyond what it says of any: mode, server, owner, and what is left here.

When the server is away, the log on this host is all there is to look at.
"""

from __future__ import annotations

from typing import Any

from sessiondb.errors import BackendUnavailableError, CorruptionError, StoreFailedError
from sessiondb.files import Files
from sessiondb.lock import Holder, StoreLocks
from sessiondb.recovery import survey
from sessiondb.wal.verdict import segment_names

from .inspection import Snapshots, read_hints, share_open
from .locations import Place
from .output import count
from .standing import Standing, read_run, standing_json, standing_rows

__all__ = ["server_part", "server_rows", "status_without_server", "waiting_rows"]

LOOKS_MAX = 5
MODE = "logged"
"""One host owns the store and has a log; other modes are not known to this version, and refused."""


def server_part(place: Place, standing: Standing | None) -> dict[str, Any]:
    """What is added to the status; nothing for a store that is not on a server.

    Args:
        place: the store.
        standing: who owns it; ``None``: the server cannot be asked, or the log's `OWNER` is damaged.
    """
    if not place.backend.remote:
        return {}
    part: dict[str, Any] = {
        "mode": MODE, "server": _server(place), "log_folder": place.folder, "owner": None, "stranded": None,
        "waiting": None,
    }  # fmt: skip
    return part | standing_json(standing)


def _server(place: Place) -> dict[str, str] | None:
    """Server, database and names; neither user nor password."""
    if place.location.scheme != "postgresql":
        return None
    from sessiondb_backends.postgres_url import parse_place

    return dict(
        zip(("address", "database", "schema", "namespace"), parse_place(place.location.path).identity, strict=True)
    )


def server_rows(place: Place, status: dict[str, Any], standing: Standing | None) -> list[tuple[str, str]]:
    """The same for people."""
    if not place.backend.remote:
        return []
    rows = []
    server = status["server"]
    if server is not None:
        name = f"{server['address']}, database {server['database']}"
        rows.append(("server", f"{name}, schema {server['schema']}, namespace {server['namespace']}"))
    where = "its log is in"
    if standing is None:
        where = "the log of this host is in"
    elif not standing.is_free:
        where = "its log is there; " + ("the one of this host is in" if standing.has_log else "here it would be in")
    rows.append(("mode", f"{status['mode']}: one host owns the store, {where} {place.folder}"))
    return rows + (standing_rows(standing) or [("owner", "unknown")])


def waiting_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """What the log holds that the server may not have, when it cannot be asked."""
    waiting = status.get("waiting")
    if waiting is None:
        return []
    which = f"LSN {waiting['first_lsn']} to {waiting['last_lsn']}, {waiting['first_time']} to {waiting['last_time']}"
    return [("", f"{count(waiting['transactions'], 'transaction')}: {which}; the server may not have them yet")]


def status_without_server(place: Place, error: Exception) -> dict[str, Any]:
    """What the log on this host tells when the server is away, or refuses; what is not known is ``None``."""
    lock = share_open(Files(), place)
    try:
        log = _log_alone(Files(), place)
        for _ in range(LOOKS_MAX):
            if isinstance(lock, StoreLocks) or not log["problems"]:
                break
            log = _log_alone(Snapshots(), place)  # a look may have fallen into an append
    finally:
        if isinstance(lock, StoreLocks):
            lock.release()
    return {
        "location": str(place.location),
        "backend": place.backend.scheme,
        "format": None,
        "state": "unreachable" if isinstance(error, BackendUnavailableError) else "refused",
        "error": str(error),
        "holder": {"pid": lock.pid, "program": lock.program, "since": lock.since} if isinstance(lock, Holder) else None,
        "tables": None,
        "records": None,
        "backend_bytes": None,
        "cache": None,
        "last_checkpoint_error": None,
        "recovery": None,
        **server_part(place, None),
        **log,
    }


def _log_alone(files: Files, place: Place) -> dict[str, Any]:
    """The log as it was left, read from where HEAD says that the server was: a hint."""
    made: dict[str, Any] = dict.fromkeys(("uuid", "epoch", "last_lsn", "durable_lsn", "applied_lsn", "waiting"))
    made |= {"log": {"segments": 0, "disk_bytes": 0, "bytes": None, "records": None}, "problems": []}
    if files.stat(place.folder) is None:
        return made
    try:
        sizes = [files.stat(f"{place.folder}/{name}") for name in segment_names(files, place.folder)]
        made["log"] |= {"segments": len(sizes), "disk_bytes": sum(info.size for info in sizes if info is not None)}
        hints = read_hints(files, place.folder)
        if hints is None:
            return made
        made |= hints._asdict() | {"uuid": hints.uuid.hex()}
        found = survey(files, place.folder, hints.uuid, hints.applied_lsn)
        made["log"] |= {"bytes": found.contents.bytes, "records": found.memtable.records}
        run = read_run(files, place.folder, hints.uuid, hints.applied_lsn)
        made["waiting"] = None if run is None else run.as_json()
    except (CorruptionError, StoreFailedError) as error:
        made["problems"] = [str(error)]
    return made
