"""Tables: records of one type by key, with the habits of a dict and the promises of the log."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .backend import Position
from .batch_encoding import encode_all
from .codec import RecordCodec, check_key
from .config import SyncLevel
from .errors import DuplicateKeyError, UsageError, ValidationError
from .planning import indexable
from .reading import check_bounds, prefix_stop
from .storage import TableStorage
from .store import Store
from .views import View
from .wal.operations import Delete, Operation
from .writing import TableWriter

if TYPE_CHECKING:
    from .database import Database

__all__ = ["Table"]

T = TypeVar("T")
D = TypeVar("D")
_MISSING: Any = object()


class Table(TableWriter[T], MutableMapping[str, T]):
    """A named set of records of one type, keyed by `str`, in the order of the keys' UTF-8 bytes.

    Every change is one transaction: all of it happens or none, and with the sync level ``always`` it is on disk
    when the call returns. Every read gives the caller records of its own: changing one changes nothing stored
    (``t["a"]["n"] += 1`` does not persist; `modify` does).

    All methods may be called from any thread. All of them raise `ClosedError` after `Database.close`,
    `ValidationError` for a key that cannot be stored, and, when they change something, `ReadOnlyError`,
    `StoreFailedError` and `DurabilityUnknownError`.
    """

    def __init__(self, store: Store, name: str, codec: RecordCodec[T], owner: Database | None = None):
        super().__init__(store, name, codec)
        self._owner = owner

    @property
    def database(self) -> Database:
        """The database that `sessiondb.table` opened for this table.

        Raises:
            UsageError: the table came from `Database.table`: whoever called that has the database.
        """
        if self._owner is None:
            raise UsageError(f"table {self.name!r} did not open its database; next: use the one it came from")
        return self._owner

    # ---- one record

    def put(self, key: str, record: T, *, sync: SyncLevel | None = None) -> Position:
        """Store the record, replacing what was there.

        Args:
            key: at most 480 UTF-8 bytes.
            record: of the table's type, at most 64 MiB encoded.
            sync: when to return, instead of the database's level.

        Returns:
            The transaction's position, for `Database.wait_durable`.

        Raises:
            UnsupportedFormatError: what is there is of a later version than this program's; nothing was written.
        """
        key = check_key(self.name, key)
        operation = self._put_operation(self.name, key, self._codec.encode(key, record))
        if self._codec.version > 1:
            return self._put_checked([operation], sync)
        return self._committer.commit((operation,), sync)

    def __setitem__(self, key: str, record: T) -> None:
        self.put(key, record)

    @overload
    def insert(self, record: T, /, *, sync: SyncLevel | None = None) -> Position: ...
    @overload
    def insert(self, key: str, record: T, /, *, sync: SyncLevel | None = None) -> Position: ...
    def insert(self, key: Any, record: Any = _MISSING, /, *, sync: SyncLevel | None = None) -> Position:
        """Store a record that must not be there yet; its key is the id field, or the first argument.

        Raises:
            DuplicateKeyError: the key exists; nothing was written.
        """
        if record is _MISSING:
            key, record = self._codec.key_of(key), key
        key = check_key(self.name, key)
        image = self._codec.encode(key, record)

        def build() -> list[Operation]:
            if self._views.get(self.name, key) is not None:
                raise DuplicateKeyError(self.name, key)
            return [self._put_operation(self.name, key, image)]

        return self._commit_reading((key,), build, sync)

    def patch(self, key: str, changes: Mapping[str, Any], *, sync: SyncLevel | None = None) -> T:
        """Set some fields of the stored record; all others stay, also those the type does not know.

        Args:
            key: of an existing record.
            changes: Python field name to value; ``None`` stores null, `sessiondb.UNSET` removes the field.
            sync: when to return.

        Returns:
            The record as it is now.

        Raises:
            KeyError: there is no such record.
            ValidationError: an unknown field, the id, or a value that does not fit; nothing was written.
        """
        key = check_key(self.name, key)
        patched: list[T] = []

        def build() -> list[Operation]:
            image, record = self._codec.patch(key, self._image(key), changes)
            patched[:] = [record]
            return [self._put_operation(self.name, key, image)]

        self._commit_reading((key,), build, sync)
        return patched[0]

    def modify(self, key: str, change: Callable[[T], T], *, default: T = _MISSING, sync: SyncLevel | None = None) -> T:
        """Read, change and write one record without losing anybody's update.

        `change` gets the record (or `default`) and returns the new one; it is called again when somebody else
        changed the record meanwhile, so it should do nothing else. Fields that the type does not know stay.

        Returns:
            The record as it was stored.

        Raises:
            KeyError: there is no such record, and no `default`.
            ValidationError: what `change` returned cannot be stored (``None``: it returned nothing).
            ConflictError: others changed the record 1,000 times in a row.
        """
        key = check_key(self.name, key)
        stored: list[T] = []
        fallback = b"" if default is _MISSING else self._codec.encode(key, default)

        def build() -> list[Operation]:
            before = self._views.get(self.name, key)
            if before is None and default is _MISSING:
                raise KeyError(key)
            # A default goes through the codec too: the function may change what it gets, the default must not.
            record = change(self._codec.decode(key, fallback if before is None else before))
            if record is None:
                raise ValidationError("the function of modify() returned None", table=self.name, key=key)
            image = self._codec.encode(key, record)
            if before is not None:
                image = self._codec.keep_unknown(key, before, image)
            stored[:] = [self._codec.decode(key, image)]
            return [self._put_operation(self.name, key, image)]

        self._commit_reading((key,), build, sync)
        return stored[0]

    def replace(self, key: str, expected: T, new: T, *, sync: SyncLevel | None = None) -> bool:
        """Store `new` if the record equals `expected` now (compared as values, not as bytes).

        Returns:
            Whether it did; False when the record differs or is missing.
        """
        key = check_key(self.name, key)
        image = self._codec.encode(key, new)
        replaced: list[bool] = []

        def build() -> list[Operation]:
            before = self._views.get(self.name, key)
            replaced[:] = [before is not None and self._codec.decode(key, before) == expected]
            return [self._put_operation(self.name, key, image)] if replaced[0] else []

        self._commit_reading((key,), build, sync)
        return replaced[0]

    def __delitem__(self, key: str) -> None:
        key = check_key(self.name, key)

        def build() -> list[Operation]:
            self._image(key)
            return [Delete(self.name, key)]

        self._commit_reading((key,), build, None)

    @overload
    def pop(self, key: str, /) -> T: ...
    @overload
    def pop(self, key: str, /, default: T) -> T: ...
    @overload
    def pop(self, key: str, /, default: D) -> T | D: ...
    def pop(self, key: str, /, default: Any = _MISSING) -> Any:
        """Delete a record and return it; of several callers only one gets it."""
        key = check_key(self.name, key)
        popped: list[Any] = []

        def build() -> list[Operation]:
            image = self._views.get(self.name, key)
            if image is None:
                if default is _MISSING:
                    raise KeyError(key)
                popped[:] = [default]
                return []
            popped[:] = [self._codec.decode(key, image)]
            return [Delete(self.name, key)]

        self._commit_reading((key,), build, None)
        return popped[0]

    def popitem(self) -> tuple[str, T]:
        """Delete the first record in key order and return it with its key.

        Raises:
            KeyError: the table is empty.
        """
        while True:
            for key, _ in self.scan(limit=1):
                record = self.pop(key, _MISSING)
                if record is not _MISSING:
                    return key, record
                break
            else:
                raise KeyError(f"table {self.name!r} is empty")

    def setdefault(self, key: str, default: T = None, /) -> T:  # type: ignore[assignment]
        """The record, after storing `default` if there was none."""
        try:
            self.insert(key, default)
        except DuplicateKeyError:
            found = self.get(key, _MISSING)
            return self.setdefault(key, default) if found is _MISSING else found
        return self[key]

    # ---- many records

    def put_many(
        self, records: Mapping[str, T] | Iterable[tuple[str, T]], *, sync: SyncLevel | None = None
    ) -> Position:
        """Store all of the records in one transaction.

        Raises:
            ValidationError: one of them cannot be stored; none was.
            TransactionTooLargeError: over 1 GiB together; none was stored.
            UnsupportedFormatError: one that is there is of a later version than this program's; none was stored.
        """
        pairs = records.items() if isinstance(records, Mapping) else records
        operations: list[Operation] = []
        if type(records) in (dict, list, tuple):
            whole = [(check_key(self.name, key), record) for key, record in pairs]
            images = encode_all(self._codec, whole)
            operations = [
                self._put_operation(self.name, key, image) for (key, _), image in zip(whole, images, strict=True)
            ]
        else:  # may make the next record out of the last one: each is encoded before the next is asked for
            for key, record in pairs:
                key = check_key(self.name, key)
                operations.append(self._put_operation(self.name, key, self._codec.encode(key, record)))
        if not operations:
            return Position(self._store.log.epoch, self._views.visible_lsn)
        if self._codec.version > 1:
            return self._put_checked(operations, sync)
        return self._committer.commit(operations, sync)

    def update(self, other: Any = (), /, **records: T) -> None:
        """As `dict.update`, in one transaction."""
        if hasattr(other, "keys"):
            other = [(key, other[key]) for key in other.keys()]  # noqa: SIM118 - any object with keys, as in dict
        self.put_many([*other, *records.items()])

    def delete_many(self, keys: Iterable[str], *, sync: SyncLevel | None = None) -> int:
        """Delete those of the records that exist, in one transaction.

        Returns:
            How many there were.
        """
        wanted = list(dict.fromkeys(self._check_keys(keys)))
        found: list[str] = []

        def build() -> list[Operation]:
            with self._pin() as view:
                found[:] = view.get_many(self.name, wanted)
            return [Delete(self.name, key) for key in found]

        self._commit_reading(wanted, build, sync)
        return len(found)

    def delete_prefix(self, prefix: str, *, sync: SyncLevel | None = None) -> int:
        """Delete every record whose key begins with `prefix` (all of them for ``""``), in one transaction.

        Returns:
            How many there were.
        """
        check_bounds(prefix=prefix)
        stop = prefix_stop(prefix)
        deleted: list[str] = []

        def build(view: View) -> list[Operation]:
            deleted[:] = [key for key, _ in view.scan(self.name, prefix or None, stop)]
            return [Delete(self.name, key) for key in deleted]

        self._commit_range(build, prefix, stop, sync)
        return len(deleted)

    def clear(self) -> None:
        """Delete every record, in one transaction; the table stays."""
        self.delete_prefix("")

    # ---- indexes

    def create_index(self, field: str) -> bool:
        """Keep an index on a field, so that `find` reads only what matches; kept until `drop_index`.

        Writes go on meanwhile; the index is used as soon as the checkpoint that builds it, begun at once, is done.

        Returns:
            Whether there was none.

        Raises:
            UsageError: the field is unknown, or holds what has no order as text (a list, an own type).
            ValidationError: a record that is there holds what cannot be indexed; nothing was changed.
        """
        self._store.must_be_writable()
        return self._store.indexes.create(self.name, indexable(self._codec, field))

    def drop_index(self, field: str) -> bool:
        """Keep no index on a field any more.

        Returns:
            Whether there was one.
        """
        self._store.must_be_writable()
        return self._store.indexes.drop(self.name, indexable(self._codec, field))

    # ---- the five-line start

    def as_storage(self) -> TableStorage[T]:
        """The table, through the interface `sessiondb.DatabaseStorage`; closing that closes nothing."""
        return TableStorage(self)

    def close(self) -> None:
        """Close the database that `sessiondb.table` opened for this table; nothing for any other table."""
        if self._owner is not None:
            self._owner.close()

    def __enter__(self) -> Table[T]:
        return self

    def __exit__(
        self, kind: builtins.type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Table {self.name!r} of {self._store.location}>"
