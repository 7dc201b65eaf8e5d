"""A server on the simulated disk: what it is told is one atomic, durable step, and it outlives its clients.

It stands for PostgreSQL: a transaction there is all or nothing and durable when it returns, and whoever locks the
store's row waits for one that is still on its way. The real one is killed in ``tests/postgres``. What the engine makes
of it is what the simulator checks: with one host by the workloads of all backends, with two by `crash.network`.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

from sessiondb.backend import Backend, Ownership, Position
from sessiondb.errors import BackendUnavailableError, FencedError
from sessiondb.files import Files
from sessiondb_backends.memory import MemoryBackend

from .atomic import AtomicBackend, AtomicMemory
from .disk import SimulatedDisk
from .ops import Stored
from .target import TARGETS

__all__ = ["AtomicServer", "Content", "OwnerRow"]


class OwnerRow(NamedTuple):
    """What the server remembers of an owner."""

    host: str
    epoch: int
    lost_after: int | None


class Content(NamedTuple):
    """All that the server holds of the store; nothing of it is ever mutated."""

    uuid: bytes
    position: Position
    state: Any
    owners: dict[bytes, OwnerRow]

    @property
    def owner(self) -> bytes:
        """The id of the one who writes; empty: nobody has yet."""
        return next((owner for owner, row in self.owners.items() if row.lost_after is None), b"")


class _Server(MemoryBackend):
    """The memory backend with owners."""

    def __init__(self, content: Content):
        super().__init__(content.uuid)
        self._position, self._state = content.position, content.state
        self.owners = dict(content.owners)

    @property
    def content(self) -> Content:
        """As it is now."""
        return Content(self.identity().uuid, self._position, self._state, dict(self.owners))

    def ownership(self, owner: bytes) -> Ownership:
        """From the rows."""
        current = next((row for row in self.owners.values() if row.lost_after is None), None)
        mine = self.owners.get(owner)
        lost_after = None if mine is None else mine.lost_after
        host = "" if current is None else current.host
        return Ownership(is_current=mine is not None and mine is current, lost_after=lost_after, host=host)

    def take_over(self, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        """All of it, or nothing."""
        if self._position != expected:
            raise FencedError(f"the server is at {self._position}, not at {expected}")
        rows = self.owners
        if before in rows and rows[before].lost_after is None:
            del rows[before]
        for other, row in rows.items():
            if row.lost_after is None:
                rows[other] = row._replace(lost_after=expected.lsn)
        assert owner not in rows, "an id is used twice"
        self._position = Position(expected.epoch + 1, expected.lsn)
        rows[owner] = OwnerRow(host, self._position.epoch, None)
        return self._position


class AtomicServer(AtomicMemory):
    """A store on a server."""

    scheme = "simpostgres"
    remote = True
    cached = True
    failure = BackendUnavailableError

    @classmethod
    def log_folder(cls, path: str) -> str:
        """The same on every host: each has a disk of its own."""
        return TARGETS["postgres"].folder

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> AtomicBackend:
        """Whoever opens to write waits for what is still on its way."""
        assert isinstance(files, SimulatedDisk)
        if not read_only:
            files.land()
        return super().open(files, path, create=create, read_only=read_only)

    @classmethod
    def begin(cls) -> Stored:
        """Empty, and nobody's."""
        return cls._save(_Server(Content(os.urandom(16), Position(1, 0), {}, {})))

    @classmethod
    def real(cls, stored: Stored) -> Backend:
        """Made anew each time."""
        return _Server(stored.content)

    @staticmethod
    def _save(backend: Any) -> Stored:
        content = backend.content
        total = hashlib.blake2b(AtomicMemory._save(backend).digest, digest_size=16)
        total.update(repr(sorted(content.owners.items())).encode())
        return Stored(total.digest(), content)

    def ownership(self, owner: bytes) -> Ownership:
        """As stored."""
        return self._real.ownership(owner)

    def take_over(self, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        """One step."""
        self._step(lambda real: real.take_over(owner, before, host, expected))
        return Position(expected.epoch + 1, expected.lsn)

    def settle(self) -> None:
        """Nothing waits for that."""
