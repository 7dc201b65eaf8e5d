"""The options of an open database and their checks."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from .errors import UsageError

__all__ = ["Limits", "Options", "SyncLevel"]

SyncLevel = Literal["always", "interval", "never"]
"""When a commit returns.

``always``: when it is on disk, it survives power loss. ``interval``: when the kernel has it, it survives
``kill -9``; it is synced within `Options.sync_interval_ms`. ``never``: the same without the background sync.
"""


_LONGEST = {"sync_interval_ms": 10**12, "lock_timeout": 10**9, "checkpoint_age_s": 10**9}
"""Some thirty years; a thread that is told to wait much longer fails."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a database behaves; the same for all who share it in one process.

    Raises:
        UsageError: a value is out of range; the message names it.
    """

    sync: SyncLevel = "always"
    """When a commit returns, unless the call says otherwise."""
    sync_interval_ms: int = 1_000
    """Longest time between a commit at level ``interval`` and its sync, in milliseconds."""
    lock_timeout: float = 10.0
    """Longest wait for the store or for room in the log, in seconds."""
    checkpoint_bytes: int = 16 * 1024 * 1024
    """Checkpoint when the log holds this many bytes (a JSON file raises it to its own size, at most 64 MiB)."""
    checkpoint_records: int = 50_000
    """Checkpoint when the log holds this many changes of records."""
    checkpoint_age_s: float = 60.0
    """Checkpoint this long after the first change that no checkpoint has moved, in seconds."""
    cache_bytes: int = 32 * 1024 * 1024
    """Budget for records kept in memory after they were read from SQLite, in bytes; 0 for no cache."""
    read_only: bool = False
    """Open without changing anything, also after a crash; writes raise `ReadOnlyError`."""
    create: bool = True
    """Make the store when nothing is at the location; else that is a `UsageError`."""
    layout: str | None = None
    """How a new JSON file is written, and how one that is there must be; ``None``: natively, or as it is."""

    def __post_init__(self) -> None:
        """Check every value once, where it enters."""
        if self.sync not in get_args(SyncLevel):
            raise UsageError(f"sync is {self.sync!r}; it must be one of {', '.join(get_args(SyncLevel))}")
        if self.layout is not None and (not isinstance(self.layout, str) or not self.layout):
            raise UsageError(f"layout is {self.layout!r}; it must be the name of a layout, or None")
        for name in ("sync_interval_ms", "checkpoint_bytes", "checkpoint_records"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} is {value!r}; it must be a whole number of at least 1")
        if not isinstance(self.cache_bytes, int) or isinstance(self.cache_bytes, bool) or self.cache_bytes < 0:
            raise UsageError(f"cache_bytes is {self.cache_bytes!r}; it must be a whole number of bytes, at least 0")
        for name in ("lock_timeout", "checkpoint_age_s"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
                raise UsageError(f"{name} is {value!r}; it must be a number of seconds, at least 0")
        for name, longest in _LONGEST.items():
            if getattr(self, name) > longest:
                raise UsageError(f"{name} is {getattr(self, name)!r}; it must be at most {longest:,}")


class Limits:
    """When a checkpoint is due; four times that is the log's hard cap. Changes with the size of the backend."""

    __slots__ = ("bytes_max", "records_max")

    def __init__(self, bytes_max: int, records_max: int):
        self.bytes_max = bytes_max
        self.records_max = records_max
