"""The memory backend: nothing outlives the process. For tests, and as the floor of the benchmarks."""

from __future__ import annotations

import os

from sessiondb.backend import Backend, Changes, Identity, Pace, Position
from sessiondb.errors import FencedError
from sessiondb.files import Files

from .resident import ResidentTable, ResidentView, fold

__all__ = ["MemoryBackend"]


class MemoryBackend(Backend):
    """Tables in dicts."""

    scheme = "memory"
    durable = False

    def __init__(self, uuid: bytes) -> None:
        self._identity = Identity(uuid, 1)
        self._position = Position(1, 0)
        self._state: dict[str, ResidentTable] = {}

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Never: every open makes a store of its own."""
        return False

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> MemoryBackend:
        """A new, empty backend; there is nothing that could be opened again."""
        return cls(os.urandom(16))

    @classmethod
    def log_folder(cls, path: str) -> str | None:
        """``None``: nothing is durable."""
        return None

    def identity(self) -> Identity:
        """Made up when the backend was."""
        return self._identity

    def position(self) -> Position:
        """Where the last `apply` left it."""
        return self._position

    def read(self) -> ResidentView:
        """The state as it is now."""
        return ResidentView(self._position, self._state)

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Fold the changes in."""
        if self._position not in (expected, position):
            raise FencedError(f"the memory backend is at {self._position}, not at {expected}")
        self._state = fold(self._state, changes, pace)
        self._position = position

    def check(self) -> list[str]:
        """Nothing can rot; whether the indexes say what the records do."""
        return self.read().index_problems()

    def close(self) -> None:
        """Nothing to release."""
