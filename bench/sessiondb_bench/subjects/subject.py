"""The interface between what is measured and how it is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from ..results import Guarantee, Kind

__all__ = ["Subject"]


class Subject(ABC):
    """A store that is open in a folder of its own. Records are dicts; a store that wants bytes gets msgspec's JSON.

    Every method does what it says at the guarantee that the subject promises: `put` returns when the record has
    survived what `guarantee` names. A subject without an operation raises `NotImplementedError`.

    Attributes:
        name: as it stands in results: ``json``, ``sqlite3 WAL FULL``, ``rocksdict sync`` …
        kind: sessiondb's own, a floor (the least that the work can cost), or a peer.
        guarantee: what a write that returned survives.
        sync: how it was set.
        threads_safe: whether several threads may use it at the same time.
    """

    name: str
    kind: ClassVar[Kind]
    guarantee: Guarantee
    sync: str = ""
    threads_safe: ClassVar[bool] = True

    @abstractmethod
    def put(self, key: str, record: dict[str, Any]) -> None:
        """Store a record, replacing what is there."""

    @abstractmethod
    def get(self, key: str) -> dict[str, Any] | None:
        """The record, decoded; ``None`` when there is none."""

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Store records in one transaction, or as the store does such a thing best."""
        raise NotImplementedError

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """Change fields of a record: read, change, write, unless the store can do better."""
        record = self.get(key)
        if record is None:
            raise KeyError(key)
        self.put(key, {**record, **changes})

    def delete(self, key: str) -> None:
        """Remove a record that is there."""
        raise NotImplementedError

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """So many records from a key on, in the order of keys, decoded."""
        raise NotImplementedError

    def settle(self) -> None:  # noqa: B027 - most have nothing to do
        """Move what is buffered to where it is read from in the long run (a checkpoint), so that reads are cold."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
