"""Who owns a store on a server, as seen from this host, and which transactions of its log never reached the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sessiondb.backend import Backend, Ownership
from sessiondb.errors import CorruptionError
from sessiondb.files import Files
from sessiondb.ownership import ownership
from sessiondb.recovery import replay_frame
from sessiondb.wal.format import STATE_POISONED, SegmentName
from sessiondb.wal.head import newest_slot, read_head
from sessiondb.wal.operations import Operation
from sessiondb.wal.reader import Frame
from sessiondb.wal.verdict import read_log, segment_names

from .output import as_time, count

__all__ = ["Run", "Standing", "read_run", "standing_json", "standing_of", "standing_rows", "unknown_log"]

OnTransaction = Callable[[int, int, "list[Operation]"], None]
"""Called with LSN, time in microseconds and operations."""


class Run(NamedTuple):
    """Transactions that follow one another in a log."""

    first_lsn: int
    last_lsn: int
    changes: int
    first_us: int
    """When the first was committed, by this host's clock, in microseconds since 1970."""
    last_us: int

    @property
    def transactions(self) -> int:
        """How many they are."""
        return self.last_lsn - self.first_lsn + 1

    def __str__(self) -> str:
        which = f"LSN {self.first_lsn} to {self.last_lsn}" if self.transactions > 1 else f"LSN {self.first_lsn}"
        when = f"from {as_time(self.first_us)} to {as_time(self.last_us)}"
        if self.transactions == 1:
            when = f"of {as_time(self.first_us)}"
        return f"{count(self.transactions, 'transaction')} ({count(self.changes, 'change')}), {which}, {when}"

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "transactions": self.transactions, "changes": self.changes, "first_lsn": self.first_lsn,
            "last_lsn": self.last_lsn, "first_time": as_time(self.first_us), "last_time": as_time(self.last_us),
        }  # fmt: skip


class Standing(NamedTuple):
    """Who owns the store, and what that means for the log on this host."""

    owner: Ownership
    has_log: bool
    """Whether this host has a log of the store."""
    stranded: Run | None
    """What was committed on this host and never reached the server, because another host took over."""

    @property
    def is_free(self) -> bool:
        """Whether this host writes without taking anything from another one."""
        return self.owner.is_current or not self.owner.host

    @property
    def is_unknown(self) -> bool:
        """Whether there is a log that the server knows nothing of: of another store, or a copy."""
        return self.has_log and not self.owner.is_current and self.owner.lost_after is None

    def problem(self, location: object) -> str:
        """What to say of stranded transactions; empty when there are none."""
        if self.stranded is None:
            return ""
        return (
            f"the host {self.owner.host} took {location} over; {self.stranded}, committed on this host, never reached "
            "it; next: `sessiondb export --stranded` writes them out"
        )

    def __str__(self) -> str:
        state = self.owner
        if not state.host:
            return "nobody yet"
        since = f", since {as_time(state.since_us)[:19]}Z" if state.since_us else ""
        if state.is_current:
            return f"this host ({state.host}){since}"
        here = "this host never did" if state.lost_after is None else f"this host did, until LSN {state.lost_after}"
        return f"the host {state.host}{since}; {here}"

    def as_json(self) -> dict[str, object] | None:
        """For programs; ``None``: nobody has written yet."""
        state = self.owner
        if not state.host:
            return None
        since = as_time(state.since_us) if state.since_us else None
        return {"host": state.host, "since": since, "is_here": state.is_current, "lost_after": state.lost_after}


def standing_of(files: Files, folder: str, backend: Backend) -> Standing:
    """Ask the server, and read the log on this host if another one took over. Changes nothing.

    Raises:
        CorruptionError: the log, or the file that names its owner, is damaged.
        BackendUnavailableError: the server cannot be asked.
    """
    state = ownership(files, folder, backend)
    has_log = files.stat(folder) is not None and bool(segment_names(files, folder))
    stranded = None
    if has_log and state.lost_after is not None:
        stranded = read_run(files, folder, backend.identity().uuid, state.lost_after)
    return Standing(state, has_log, stranded)


def standing_json(standing: Standing | None) -> dict[str, object]:
    """What programs are told of a store on a server; nothing of others."""
    if standing is None:
        return {}
    run = standing.stranded
    return {"owner": standing.as_json(), "stranded": None if run is None else run.as_json()}


def standing_rows(standing: Standing | None) -> list[tuple[str, str]]:
    """The same for people."""
    if standing is None:
        return []
    rows = [("owner", str(standing))]
    if standing.stranded is not None:
        text = f"{standing.stranded}: committed on this host, never on the server"
        rows.append(("STRANDED", f"{text}; next: `sessiondb export --stranded` writes them out"))
    return rows


def read_run(
    files: Files, folder: str, uuid: bytes, behind: int, on_transaction: OnTransaction | None = None
) -> Run | None:
    """The transactions of a log behind an LSN; ``None`` when there is none. The log is judged as recovery does it.

    Args:
        files: the file system.
        folder: the log's folder; it exists.
        uuid: the store's.
        behind: the LSN.
        on_transaction: called for each, before it is known whether the log is sound behind it.

    Raises:
        CorruptionError: the log is damaged.
    """
    found: list[Run] = []

    def take(name: SegmentName, frame: Frame) -> None:
        lsn, when = frame.header.lsn, frame.header.time_us
        operations = list(replay_frame(folder, name, frame))
        if on_transaction is not None:
            on_transaction(lsn, when, operations)
        before = found[0] if found else Run(lsn, lsn, 0, when, when)
        found[:] = [before._replace(last_lsn=lsn, changes=before.changes + len(operations), last_us=when)]

    head = read_head(files, folder)
    slot = newest_slot(head)
    poisoned = slot is not None and slot.uuid == uuid and slot.state == STATE_POISONED
    read_log(files, folder, uuid, behind, head, take, drop_cache=poisoned)
    return found[0] if found else None


def unknown_log(folder: str) -> CorruptionError:
    """What to say of a log that the server knows nothing of."""
    return CorruptionError(
        "the log is here, but the server does not know its owner: it belongs to another store, or is a copy of one "
        "that went on elsewhere",
        path=folder,
        advice=f"look at it with `sessiondb log dump`; to go on without it, move {folder} away",
    )
