"""The log of a database that keeps nothing."""

from __future__ import annotations

__all__ = ["NoLog"]


class NoLog:
    """The log of a database that keeps nothing: it counts LSNs. Everything is as durable as it will ever be."""

    def __init__(self, epoch: int, lsn: int):
        self.epoch = epoch
        self.last_lsn = lsn
        self.durable_lsn = lsn
        self.syncs = 0
        self.failure: Exception | None = None

    def append(self, payload: bytes) -> int:
        """Count."""
        self.last_lsn = self.durable_lsn = self.last_lsn + 1
        return self.last_lsn

    def wait_durable(self, lsn: int) -> None:
        """Nothing to wait for."""

    def take_role(self) -> None:
        """Nobody syncs."""

    def release_role(self) -> None:
        """Nobody syncs."""

    def take_back(self) -> None:
        """Nothing is written."""

    def roll(self) -> None:
        """There are no segments."""
