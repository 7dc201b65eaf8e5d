"""A storage that is made anew before each read, or not: what `sessiondb.testing.StorageContract` looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..storage import DatabaseStorage

__all__ = ["CALLS", "THREADS", "Entity", "StorageSetup", "StorageUnderTest", "together"]

THREADS = 4


class Entity(msgspec.Struct, rename="camel", kw_only=True):
    """What the storage under test holds; its id is `id`."""

    id: str
    name: str = ""
    group_name: str | None = None
    number: int = 1
    open: bool = True
    parts: dict[str, Any] = {}
    note: str | msgspec.UnsetType = msgspec.UNSET


class StorageUnderTest:
    """A storage that is made anew before each `read`, or not."""

    def __init__(self, make: Callable[[], DatabaseStorage[Entity, Any]], *, stored: bool):
        self._make = make
        self._stored = stored
        self._storage = make()

    @property
    def write(self) -> DatabaseStorage[Entity, Any]:
        """The storage, to write to."""
        return self._storage

    @property
    def read(self) -> DatabaseStorage[Entity, Any]:
        """The storage, to read from."""
        if self._stored:
            self.close()
            self._storage = self._make()
        return self._storage

    def close(self) -> None:
        """Close the storage."""
        self._storage.close()


CALLS: dict[str, Callable[[DatabaseStorage[Entity, Any], Any], object]] = {
    "initialize": lambda storage, state: storage.initialize(),
    "read_state": lambda storage, state: storage.read_state(),
    "write_state": lambda storage, state: storage.write_state(state),
    "get_entity": lambda storage, state: storage.get_entity("a"),
    "get_entities": lambda storage, state: storage.get_entities(),
    "create_entity": lambda storage, state: storage.create_entity(Entity(id="b")),
    "update_entity": lambda storage, state: storage.update_entity("a", {"number": 2}),
    "delete_entity": lambda storage, state: storage.delete_entity("a"),
    "entity_exists": lambda storage, state: storage.entity_exists("a"),
}
"""Everything that needs an open storage."""


class StorageSetup:
    """The part of `sessiondb.testing.StorageContract` that an implementation fills in."""

    def make_storage(self, tmp_path: Path) -> DatabaseStorage[Entity, Any]:
        """A storage of `Entity` in a folder of the test; the next one there holds the same entities."""
        raise NotImplementedError

    def damage(self, tmp_path: Path) -> None:
        """Make what is stored unreadable; no storage there is open."""
        raise NotImplementedError

    def state(self, *entities: Entity) -> Any:
        """A state of these entities."""
        return {entity.id: entity for entity in entities}

    def entities(self, state: Any) -> list[Entity]:
        """The entities of a state, in the order of their ids."""
        assert list(state) == [entity.id for entity in state.values()]
        return list(state.values())

    def bad_states(self, entity: Entity) -> list[Any]:
        """States that hold the entity under another id than its own, or twice, as far as `S` can."""
        return [{f"not-{entity.id}": entity}]

    @pytest.fixture(params=[False, True], ids=["plain", "stored"])
    def storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageUnderTest]:
        """An empty storage."""
        under_test = StorageUnderTest(lambda: self.make_storage(tmp_path), stored=request.param)
        yield under_test
        under_test.close()


def together(work: Callable[[int], object]) -> None:
    """Run `work` with each number in a thread of its own, begun at the same moment; its first exception is ours."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def body(number: int) -> None:
        try:
            start.wait(30)
            work(number)
        except BaseException as error:  # noqa: BLE001 - handed on
            failures.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
