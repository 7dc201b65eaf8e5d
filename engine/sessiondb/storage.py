"""The interface `DatabaseStorage`, entities by id and the whole state that they make up, and its form over a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .errors import ClosedError, UsageError, ValidationError
from .keys import check_key
from .wal.operations import Delete, Operation

if TYPE_CHECKING:
    from .table import Table
    from .views import View

__all__ = ["DatabaseStorage", "StateStorage", "TableStorage"]

T = TypeVar("T")
S = TypeVar("S")


class DatabaseStorage(ABC, Generic[T, S]):
    """Entities of one type `T` by id, and the state `S` that all of them make up.

    * **Found, absent and failed are three outcomes.** What is absent is ``None`` or ``False``; a failure is always an
      exception, never ``None``, ``False``, or an empty list or state.
    * Every change is one atomic step: all of it is there when the call returns, or nothing of it after an exception.
    * An id is a `str`; anything else is a `ValidationError`. One that no entity can have, such as ``""``, is absent.
    * Nobody shares an entity: changing what was passed in or returned changes nothing that is stored.
    * Any thread may call anything at any time. No update is lost.
    * A storage opens when it is initialised, at the latest by the first call that needs it. After `close` every call
      but `close` and `get_storage_location` raises `ClosedError`.

    As a context manager it is initialised at the beginning of the block and closed at its end.
    `sessiondb.testing.StorageContract` has a test for each sentence.
    """

    @abstractmethod
    def initialize(self) -> bool:
        """Open the storage, and make it if nothing is there; what is there stays as it is.

        Does nothing when it is open. After an exception the next call tries again.

        Returns:
            True: it is ready. Never False: what prevents that is an exception.
        """

    @abstractmethod
    def read_state(self) -> S:
        """The whole state as it is at one moment."""

    @abstractmethod
    def write_state(self, state: S) -> None:
        """Replace the whole state: afterwards exactly the entities of `state` are stored.

        One atomic step, also for a crash. Of several callers at once one wins as a whole. Fields of a stored entity
        that its type does not know stay if the entity stays.

        Raises:
            UsageError: `state` is no state, such as ``None``; nothing was written.
            ValidationError: an entity cannot be stored, stands under another id than its own, or is there twice; or
                one that is stored and would go does not fit the type, so that whoever made `state` cannot have read
                it. Nothing was written.
        """

    @abstractmethod
    def get_entity(self, id: str) -> T | None:
        """The entity, or ``None`` when there is none with this id."""

    @abstractmethod
    def get_entities(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[T]:
        """The entities that satisfy all conditions, as they are at one moment.

        Args:
            where: field to a value, or to `sessiondb.between`, `one_of`, `prefix` or `absent`; an entity without the
                field satisfies only `absent`.
            order_by: fields to sort by, with ``-`` in front for descending; null and absent come last both ways. In
                the end, and without it, by id.
            limit: at most so many.
            offset: after leaving out so many.

        Raises:
            UsageError: a field that the type does not have, a value that cannot be compared, a bad limit or offset.
        """

    @abstractmethod
    def create_entity(self, entity: T) -> T:
        """Store an entity that must not be there yet, and return it.

        Raises:
            DuplicateKeyError: there is one with this id; it stays as it is.
            ValidationError: it cannot be stored; nothing was written.
        """

    @abstractmethod
    def update_entity(self, id: str, changes: Mapping[str, Any]) -> T | None:
        """Set some fields of a stored entity; all others stay, also those its type does not know.

        Args:
            id: of the entity; it cannot change.
            changes: Python field name to value: ``None`` stores null, `sessiondb.UNSET` removes the field, a nested
                object is replaced as a whole.

        Returns:
            The entity as it is now, or ``None`` when there is none with this id.

        Raises:
            ValidationError: an unknown field, the id, or a value that does not fit; nothing was written.
        """

    @abstractmethod
    def delete_entity(self, id: str) -> bool:
        """Delete an entity.

        Returns:
            Whether it was there: of several callers exactly one gets True.
        """

    @abstractmethod
    def entity_exists(self, id: str) -> bool:
        """Whether there is an entity with this id."""

    @abstractmethod
    def get_storage_location(self) -> str:
        """Where the entities are, for people: never with a password, and no matter whether it is open."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything that this storage opened; a second call does nothing."""

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StateStorage(DatabaseStorage[T, S]):
    """A storage over one table; two hooks, `_state_of` and `_entities_of`, say what a state is.

    It does not own the table: `close` ends the storage only.

    Raises:
        UsageError: the table has no ``id=``.
    """

    _table: Table[T] | None
    _location: str

    def __init__(self, table: Table[T]):
        if table._codec.id is None:
            raise UsageError(f"table {table.name!r} has no id field; next: name it, as in db.table(..., id='id')")
        self._table = table
        self._location = str(table._store.location)

    @abstractmethod
    def _state_of(self, entities: dict[str, T]) -> S:
        """The state that the entities make up; they are in the order of their ids."""

    @abstractmethod
    def _entities_of(self, state: S) -> Iterable[tuple[str, T]]:
        """Every entity of the state with its id; one that is there twice is given twice.

        Raises:
            UsageError: it is no state.
        """

    def _ready(self) -> Table[T]:
        """The open table."""
        if self._table is None:
            raise self._closed()
        return self._table

    def _closed(self) -> ClosedError:
        return ClosedError(f"the storage of {self._location} is closed; next: make a new one")

    def initialize(self) -> bool:
        """Return True: the table was opened by whoever made it."""
        with self._ready()._pin():  # a closed database says so
            return True

    def read_state(self) -> S:
        """The whole state as it is at one moment."""
        return self._state_of(dict(self._ready().scan()))

    def write_state(self, state: S) -> None:
        """Replace the whole state in one transaction; entities that are the same already are not written again.

        While others change the table the comparison starts again; after some attempts they have to wait for it.
        """
        table = self._ready()
        images: dict[str, bytes] = {}
        for id, entity in self._entities_of(state):
            key = check_key(table.name, id)
            if key in images:
                raise ValidationError("the state holds two entities with this id", table=table.name, key=key)
            images[key] = table._codec.encode(key, entity)
        _replace_all(table, images)

    def get_entity(self, id: str) -> T | None:
        """The entity, or ``None`` when there is none with this id."""
        table = self._ready()
        return table.get(_check_id(table, id))

    def get_entities(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[T]:
        """The entities that satisfy all conditions: see `Table.find`."""
        found = self._ready().find(where, order_by=order_by, limit=limit, offset=offset)
        return [entity for _, entity in found]

    def create_entity(self, entity: T) -> T:
        """Store an entity that must not be there yet: see `Table.insert`."""
        self._ready().insert(entity)
        return entity

    def update_entity(self, id: str, changes: Mapping[str, Any]) -> T | None:
        """Set some fields of a stored entity: see `Table.patch`."""
        table = self._ready()
        key = _check_id(table, id)
        updated: list[T] = []

        # Not `patch`: a KeyError out of somebody's dec_hook would look like an absent entity.
        def build() -> list[Operation]:
            updated.clear()
            before = table._views.get(table.name, key)
            if before is None:
                return []
            image, entity = table._codec.patch(key, before, changes)
            updated.append(entity)
            return [table._put_operation(table.name, key, image)]

        table._commit_reading((key,), build, None)
        return updated[0] if updated else None

    def delete_entity(self, id: str) -> bool:
        """Delete an entity; whether it was there."""
        table = self._ready()
        key = _check_id(table, id)
        # One that no entity can have is absent, not an error as it is for `delete_many`.
        return key in table and table.delete_many([key]) == 1

    def entity_exists(self, id: str) -> bool:
        """Whether there is an entity with this id."""
        table = self._ready()
        return _check_id(table, id) in table

    def get_storage_location(self) -> str:
        """The absolute path, or the URL without user, password and parameters."""
        return self._location

    def close(self) -> None:
        """End this storage; the table and its database stay as they are."""
        self._table = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._location}>"


class TableStorage(StateStorage[T, dict[str, T]]):
    """A storage over one table whose state is a dict from id to entity: what `Table.as_storage` returns."""

    def _state_of(self, entities: dict[str, T]) -> dict[str, T]:
        return entities

    def _entities_of(self, state: dict[str, T]) -> Iterable[tuple[str, T]]:
        if not isinstance(state, Mapping):  # None must not be taken for "nothing"
            raise UsageError(f"a state is a dict from id to entity, not {state!r:.80}")
        return state.items()


def _check_id(table: Table[Any], id: object) -> str:
    if not isinstance(id, str):
        raise ValidationError(f"an id is a str, not {type(id).__name__}", table=table.name, key=id)
    return str.__str__(id)


def _replace_all(table: Table[Any], images: dict[str, bytes]) -> None:
    """Make these the table's only records, in one transaction."""
    table._commit_range(lambda view: _difference(table, view, images), "", None, None)
    if table._store.options.sync == "always":
        # Where nothing differed, somebody else's commit made it so; it may be on its way to the disk.
        table._store.wait_durable(table._views.visible_lsn)


def _difference(table: Table[Any], view: View, images: dict[str, bytes]) -> list[Operation]:
    """What turns the table as the view sees it into these records.

    Raises:
        ValidationError: a record that would go does not fit the table's type.
    """
    name, codec = table.name, table._codec
    missing = dict(images)
    operations: list[Operation] = []
    for key, before in view.scan(name):
        after = missing.pop(key, None)
        if after == before:
            continue
        # What cannot be read was in nobody's state: it is not overwritten, and not deleted.
        record = codec.decode(key, before)
        if after is None:
            operations.append(Delete(name, key))
        elif codec.encode(key, record) != after:  # else it differs in what the type does not know, at any depth
            operations.append(table._put_operation(name, key, codec.keep_unknown(key, before, after)))
    operations += [table._put_operation(name, key, image) for key, image in missing.items()]
    return operations
