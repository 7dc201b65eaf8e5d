"""Ownership of a store on a server: one host writes, and whoever takes over is never overwritten by the one before.

Whoever opens to write becomes the owner, with an id that nobody had before, in a new epoch, before anything is written
to the log. Every checkpoint names the epoch it believes in, in the same transaction, and fails when it is not the
server's any more. So two hosts never mix their histories: epochs are given out by the server, one by one, and a log
goes on only from what its own host owned.

``OWNER`` in the log's folder holds two ids of 16 random bytes, in hexadecimal digits, one a line: the one before, and
the one that this host asked for last. It is durable before the server is asked, so after a crash in between one of the
two is the server's. A copy of the folder on another machine gets an id of its own there, and is fenced like any other.

When another host took over, the server says at which LSN. What this host's log holds behind that is *stranded*: it
never reached the server. Then opening is refused, so that it is not lost silently. Otherwise the log holds nothing that
the server does not have, and is removed before this host takes over again.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .backend import Backend, Ownership, Position
from .errors import CorruptionError, FencedError
from .files import Files
from .recovery import quarantine_cut, survey
from .wal.verdict import LogContents, segment_names

__all__ = ["Claim", "Owners", "Stranded", "claim", "is_current", "ownership", "read_owners", "stranded"]

OWNER_BYTES = 16
ATTEMPTS = 10


class Owners(NamedTuple):
    """The ids in ``OWNER``; both empty when there is no such file."""

    before: bytes
    """What this host owned the store as, before it asked for the next one."""
    asked: bytes
    """What it asked for last."""


class Stranded(NamedTuple):
    """Transactions that were committed on this host and never reached the server."""

    first_lsn: int
    last_lsn: int
    taken_by: str
    """The host that owns the store now."""

    def __str__(self) -> str:
        return f"the transactions from LSN {self.first_lsn} to {self.last_lsn} were committed here and never reached it"


class Claim(NamedTuple):
    """What a take-over led to."""

    position: Position
    """What the server holds, in the epoch that begins now. The log goes on behind it."""
    goes_on: bool
    """Whether this host owned the store before, so that there must be a log."""
    notices: list[str]
    """What a person may want to know of it, a sentence each."""


def read_owners(files: Files, folder: str) -> Owners:
    """The ids of this host's log.

    Raises:
        CorruptionError: the file is there and holds none.
    """
    path = f"{folder}/OWNER"
    if files.stat(folder) is None or files.stat(path) is None:
        return Owners(b"", b"")
    file = files.open(path, read_only=True)
    try:
        lines = file.pread(128, 0).decode(errors="replace").splitlines()
    finally:
        file.close()
    try:
        found = [bytes.fromhex(line) for line in lines]
    except ValueError:
        found = []
    if len(found) != 2 or not {len(owner) for owner in found} <= {0, OWNER_BYTES} or not found[1]:
        raise CorruptionError("the file that names this log's owner is damaged", path=path, advice="restore it")
    return Owners(found[0], found[1])


def _write_owners(files: Files, folder: str, owners: Owners) -> None:
    """Durably, under a temporary name first, so that there is never half of it."""
    temporary = f"{folder}/OWNER.tmp"
    if files.stat(temporary) is not None:
        files.unlink(temporary)
    file = files.open(temporary, create=True, exclusive=True)
    try:
        file.pwrite(f"{owners.before.hex()}\n{owners.asked.hex()}\n".encode(), 0)
        file.fsync()
    finally:
        file.close()
    files.replace(temporary, f"{folder}/OWNER")
    files.sync_folder(folder)


def _state_of(backend: Backend, owners: Owners) -> tuple[bytes, Ownership]:
    """Which of the two ids the server knows, and what became of it; the one before when it knows none."""
    if owners.asked:
        state = backend.ownership(owners.asked)
        if state.is_current or state.lost_after is not None:
            return owners.asked, state
    return owners.before, backend.ownership(owners.before)


def ownership(files: Files, folder: str, backend: Backend) -> Ownership:
    """Who owns the store, as seen from the host whose log is in the folder."""
    return _state_of(backend, read_owners(files, folder))[1]


def is_current(files: Files, folder: str, backend: Backend) -> bool:
    """Whether the log in the folder is the owner's, so that it holds what comes behind the server's position."""
    return ownership(files, folder, backend).is_current


def stranded(files: Files, folder: str, backend: Backend) -> Stranded | None:
    """What this host committed and the server never got, because another host took over; ``None``: nothing.

    Raises:
        CorruptionError: the log is damaged.
        BackendUnavailableError: the server cannot be asked.
    """
    if files.stat(folder) is None or not segment_names(files, folder):
        return None
    return _stranded(files, folder, backend, ownership(files, folder, backend))


def _stranded(files: Files, folder: str, backend: Backend, state: Ownership) -> Stranded | None:
    if state.lost_after is None:
        return None
    return _behind(survey(files, folder, backend.identity().uuid, state.lost_after).contents, state.lost_after, state)


def _behind(contents: LogContents, lost_after: int, state: Ownership) -> Stranded | None:
    last = contents.last_lsn
    return Stranded(lost_after + 1, last, state.host) if last > lost_after else None


def claim(files: Files, folder: str, backend: Backend, location: str) -> Claim:
    """Take the store over, or go on owning it, in a new epoch. The caller holds the locks of the folder.

    Raises:
        FencedError: another host took over, and this one's log holds transactions that never reached the server.
        CorruptionError: the log is damaged, or of a host that never owned the store.
    """
    notices: list[str] = []
    for _ in range(ATTEMPTS):
        position = backend.position()
        owner, state = _state_of(backend, read_owners(files, folder))
        if not state.is_current:
            notices += _remove_log(files, folder, backend, state, location)
        asked = os.urandom(OWNER_BYTES)
        _write_owners(files, folder, Owners(owner, asked))
        try:
            before = owner if state.is_current else b""
            after = backend.take_over(asked, before, os.uname().nodename, position)
        except FencedError:
            continue
        if state.host and not state.is_current:
            notices.append(f"the store was taken over from the host {state.host}, which cannot write to it any more")
        return Claim(after, state.is_current, notices)
    raise FencedError(f"others keep taking {location} over; next: let only one host open it to write")


def _remove_log(files: Files, folder: str, backend: Backend, state: Ownership, location: str) -> list[str]:
    """Remove a log of earlier times, if the server has all of it; returns what there is to say about it."""
    names = segment_names(files, folder)
    if not names:
        return []
    if state.lost_after is None:
        raise CorruptionError(
            f"the log is here, but {location} does not know its owner: it belongs to another store, or is a copy of "
            "one that went on elsewhere", path=folder,
            advice=f"look at it with `sessiondb log dump`; to go on without it, move {folder} away",
        )  # fmt: skip
    contents = survey(files, folder, backend.identity().uuid, state.lost_after).contents
    found = _behind(contents, state.lost_after, state)
    if found is not None:
        raise FencedError(
            f"the host {found.taken_by} took {location} over; {found}; next: get them out with `sessiondb export "
            f"--stranded`, write what is wanted from the host that owns the store, then move {folder} away"
        )
    torn = quarantine_cut(files, folder, contents)
    whole = [name for name in names if name not in contents.unfinished]
    for part in (whole[:-1], whole[-1:]):  # the newest goes last, durably: a log without its end would look damaged
        for name in part:
            files.unlink(f"{folder}/{name}")
        files.sync_folder(folder)
    if torn is None:
        return []
    return [
        f"the log of the time before, of which the server has all that was acknowledged, ended in a torn tail of "
        f"{torn.bytes} bytes ({torn.problem}); a copy is in {torn.quarantine}"
    ]
