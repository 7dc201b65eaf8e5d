"""Ownership of a store on a server: one host writes, and whoever takes over is never overwritten by the one before.

Each host's log folder has an id of its own, in the file ``OWNER``. Opening to write makes that id the owner on the
server, in a new epoch, before anything is written to the log; every checkpoint names the epoch it believes in, in the
same transaction, and fails when it is not the server's any more. So two hosts never mix their histories: epochs are
given out by the server, one by one, and the log of an owner goes on only from what it owned.

When another host took over meanwhile, the server says at which LSN. What this host's log holds behind that never
reached the server: then opening is refused, so that it is not lost silently. Otherwise the log holds nothing that the
server does not have, and begins anew.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .backend import Backend, Position
from .errors import CorruptionError, FencedError
from .files import Files
from .recovery import survey
from .wal.verdict import segment_names

__all__ = ["Claim", "claim", "is_current", "orphans", "read_owner"]

OWNER_BYTES = 16
ATTEMPTS = 10


class Claim(NamedTuple):
    """What a take-over led to."""

    position: Position
    """What the server holds, in the epoch that begins now."""
    keeps_log: bool
    """True: the log goes on from what it holds. False: it begins anew at the position."""


def read_owner(files: Files, folder: str) -> bytes:
    """The id of this host's log; empty when there is none.

    Raises:
        CorruptionError: the file is there and holds no id.
    """
    path = f"{folder}/OWNER"
    if files.stat(path) is None:
        return b""
    file = files.open(path, read_only=True)
    try:
        text = file.pread(64, 0).strip()
    finally:
        file.close()
    try:
        owner = bytes.fromhex(text.decode())
    except ValueError:
        owner = b""
    if len(owner) != OWNER_BYTES:
        raise CorruptionError("the file that names this log's owner is damaged", path=path, advice="restore it")
    return owner


def _make_owner(files: Files, folder: str) -> bytes:
    """Give the log an id, durably: under a temporary name first, so that there is never half of one."""
    owner = os.urandom(OWNER_BYTES)
    temporary = f"{folder}/OWNER.tmp"
    if files.stat(temporary) is not None:
        files.unlink(temporary)
    file = files.open(temporary, create=True, exclusive=True)
    try:
        file.pwrite(owner.hex().encode() + b"\n", 0)
        file.fsync()
    finally:
        file.close()
    files.replace(temporary, f"{folder}/OWNER")
    files.sync_folder(folder)
    return owner


def orphans(files: Files, folder: str, backend: Backend) -> tuple[int, int] | None:
    """The LSNs, first and last, that this host committed and the server never got; ``None`` when there are none.

    Only for a host that was taken over from: the log of an owner is simply not checkpointed yet.

    Raises:
        CorruptionError: the log is damaged.
    """
    if files.stat(folder) is None or not segment_names(files, folder):
        return None
    owner = read_owner(files, folder)
    lost_after = backend.ownership(owner).lost_after if owner else None
    if lost_after is None:
        return None
    last = survey(files, folder, backend.identity().uuid, lost_after).contents.last_lsn
    return (lost_after + 1, last) if last > lost_after else None


def is_current(files: Files, folder: str, backend: Backend) -> bool:
    """Whether the log in the folder is the owner's, so that it holds what comes behind the server's position."""
    owner = b"" if files.stat(folder) is None else read_owner(files, folder)
    return bool(owner) and backend.ownership(owner).owner == owner


def claim(files: Files, folder: str, backend: Backend, location: str) -> Claim:
    """Take the store over, or go on owning it, in a new epoch. The caller holds the locks of the folder.

    Raises:
        FencedError: another host took over, and this one's log holds transactions that never reached the server.
        CorruptionError: the log is damaged, or of a host that never owned the store.
    """
    for _ in range(ATTEMPTS):
        owner = read_owner(files, folder) or _make_owner(files, folder)
        position = backend.position()
        state = backend.ownership(owner)
        keeps_log = state.owner == owner
        if not keeps_log:
            _must_hold_nothing_of_its_own(files, folder, backend, state.lost_after, location)
        try:
            return Claim(backend.take_over(owner, position), keeps_log)
        except FencedError:
            continue
    raise FencedError(f"others keep taking {location} over; next: let only one host open it to write")


def _must_hold_nothing_of_its_own(
    files: Files, folder: str, backend: Backend, lost_after: int | None, location: str
) -> None:
    if not segment_names(files, folder):
        return
    if lost_after is None:
        raise CorruptionError(
            f"the log is here, but its host never owned {location}", path=folder,
            advice=f"find out where it belongs; to go on without it, move {folder} away",
        )  # fmt: skip
    found = orphans(files, folder, backend)
    if found is not None:
        first, last = found
        raise FencedError(
            f"another host took {location} over; the transactions from LSN {first} to {last} were committed here and "
            f"never reached the server; next: look at them with `sessiondb log dump`, write what is wanted to the "
            f"store from the host that owns it, then move {folder} away"
        )
