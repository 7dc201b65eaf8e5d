"""What a database tells about itself: `Stats` and `RecoveryReport`."""

from __future__ import annotations

import msgspec

__all__ = ["LayoutStats", "RecoveryReport", "Stats", "TornTailReport"]


class TornTailReport(msgspec.Struct, frozen=True):
    """An incomplete end of the log that recovery cut. Nobody was told that it was durable."""

    segment: str
    """The file it was in."""
    offset: int
    """Where in the file it began."""
    bytes: int
    """How long it was, up to its last non-zero byte."""
    problem: str
    """Why it is no frame."""
    quarantine: str | None
    """The copy that was kept; ``None`` when the store was opened read-only and nothing was cut."""


class RecoveryReport(msgspec.Struct, frozen=True):
    """What opening found and did."""

    clean: bool
    """True: there was nothing to replay and nothing to cut."""
    epoch: int
    """The epoch since."""
    epoch_before: int
    """The epoch before; smaller when history may have been cut."""
    applied_lsn: int
    """What the backend held."""
    last_lsn: int
    """The last transaction that is there."""
    transactions: int
    """How many were replayed from the log."""
    records: int
    """How many changes of records they held."""
    bytes: int
    """Their payload bytes."""
    torn_tail: TornTailReport | None
    undurable_lost: int
    """Transactions that HEAD knows of and the log does not have: committed, but not durable yet when the machine
    stopped. 0 does not prove that there were none."""
    notices: list[str]
    """Whatever else a person may want to know, a sentence each."""
    duration_ms: float


class LayoutStats(msgspec.Struct, frozen=True):
    """The shape of a file that another program made, and that is kept as it is."""

    name: str
    """``array``, ``state``, ``sessions``, ``backup``, ``keyed`` or ``empty``."""
    duplicates: int
    """Sessions behind another one with the same key: they are kept, but no record."""
    base_dir: str | None
    """What the file says in ``baseDir``."""
    conflicts: list[str]
    """Files in which is kept what others wrote while a checkpoint replaced the file, since it was opened."""


class Stats(msgspec.Struct, frozen=True):
    """Counters and states of an open database, since it was opened."""

    location: str
    backend: str
    backend_format: int
    """The version of the format the backend is written in."""
    state: str
    """``open``, ``read-only``, ``poisoned``, or ``fenced``: another host has taken the store over."""
    uuid: str
    epoch: int
    last_lsn: int
    """The last committed transaction."""
    durable_lsn: int
    """Everything up to here is known to be on disk."""
    applied_lsn: int
    """Everything up to here is in the backend."""
    log_bytes: int
    """Payload bytes in the log that the backend does not have."""
    log_records: int
    """Changes of records in the log that the backend does not have."""
    log_segments: int
    log_disk_bytes: int
    """Size of all segment files."""
    backend_bytes: int | None
    """``None``: the server cannot be asked now."""
    commits: int
    """Transactions committed."""
    syncs: int
    """Syncs of the log."""
    checkpoints: int
    checkpoint_failures: int
    last_checkpoint_error: str | None
    """Why the last attempt failed; ``None`` when it succeeded."""
    back_pressure_waits: int
    """Commits that had to wait for room in the log."""
    cache_hits: int
    """Point reads of the backend that the record cache answered."""
    cache_misses: int
    """Point reads that it did not."""
    cache_bytes: int
    """What it holds; at most `Options.cache_bytes`."""
    failure: str | None
    """Why the store is poisoned."""
    layout: LayoutStats | None = None
    """Of a session file; ``None`` for every other store."""
