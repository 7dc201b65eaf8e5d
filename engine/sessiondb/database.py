"""The database: what `sessiondb.open` returns."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from .backend import Position, TableKind
from .codec import DecHook, EncHook, RecordCodec, check_table_name
from .config import SyncLevel
from .errors import ClosedError, DurabilityUnknownError, UsageError
from .only_table import must_be_only_table
from .opening import close_store
from .planning import indexable
from .stats import RecoveryReport, Stats
from .store import Store
from .table import Table
from .versions import VERSION_FIELD, Upgrade

__all__ = ["Database"]

T = TypeVar("T")
id_of = id  # `id` is also an argument's name


class Database:
    """An open location. Use it in a ``with`` block, or call `close`; any thread may use it.

    The same location opened twice in one process shares one engine; the last one to close ends it.
    """

    def __init__(self, store: Store):
        self._store: Store | None = store
        self._location = str(store.location)
        self._tables: weakref.WeakValueDictionary[int, Table[Any]] = weakref.WeakValueDictionary()

    @property
    def _open(self) -> Store:
        if self._store is None:
            raise ClosedError(f"the database {self._location} is closed; next: open it again")
        return self._store

    @property
    def location(self) -> str:
        """The absolute path, symlinks resolved."""
        return self._location

    @property
    def recovery_report(self) -> RecoveryReport:
        """What opening found and did."""
        return self._open.report

    @overload
    def table(
        self,
        name: str,
        *,
        indexes: Iterable[str] = (),
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
    ) -> Table[Any]: ...
    @overload
    def table(
        self,
        name: str,
        type: type[T],
        *,
        id: str | None = None,
        indexes: Iterable[str] = (),
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
    ) -> Table[T]: ...
    @overload
    def table(
        self,
        name: str,
        type: Any = Any,
        *,
        id: str | None = None,
        indexes: Iterable[str] = (),
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
    ) -> Table[Any]: ...
    def table(
        self,
        name: str,
        type: Any = Any,
        *,
        id: str | None = None,
        indexes: Iterable[str] = (),
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
    ) -> Table[Any]:
        """A table; it comes into being with its first record.

        Args:
            name: printable, at most 200 UTF-8 bytes.
            type: what a record is: a `msgspec.Struct`, dataclass, TypedDict, `dict`, `bytes`; any JSON value when
                left out.
            id: the attribute (or dict key) that holds a record's key.
            indexes: fields that `find` looks for; those without an index get one, which is kept until
                `Table.drop_index`. Ignored when the database was opened read-only.
            version: the version of the records that this program writes.
            upgrades: for each earlier version, what makes a document (plain values) of the next one from it; applied
                when a record is read, and stored when it is written.
            enc_hook: makes an encodable value of one that msgspec does not know.
            dec_hook: makes a value of a type that msgspec does not know.

        Raises:
            UsageError: a bad name, type, index or version, or the table holds the other kind of record (JSON or bytes).
            ValidationError: a record that is there holds what cannot be indexed.
        """
        store = self._open
        name = check_table_name(name)
        must_be_only_table(store.backend, name)
        codec: RecordCodec[Any] = RecordCodec(
            name, type, id=id, enc_hook=enc_hook, dec_hook=dec_hook, version=version, upgrades=upgrades
        )
        fields = _fields_to_index(codec, indexes)
        with store.pin() as view:
            kind = view.kind(name)
            missing = [field for field in fields if field not in view.indexes(name)]
        if kind is not None and kind != codec.kind:
            raise UsageError(f"table {name!r} holds {kind} records, not {codec.kind}")
        if not store.options.read_only:
            for field in missing:
                store.indexes.create(name, field)
        made: Table[Any] = Table(store, name, codec)
        self._tables[id_of(made)] = made
        return made

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind, ``json`` or ``bytes``, in the order of the names."""
        with self._open.pin() as view:
            return view.tables()

    def drop(self, name: str, *, sync: SyncLevel | None = None) -> bool:
        """Remove a table with all its records.

        Returns:
            Whether there was one.
        """
        store = self._open
        name = check_table_name(name)
        store.must_be_writable()
        if name == store.backend.only_table:
            raise UsageError(f"a session file always has its table {name!r}; next: empty it with clear()")
        with store.pin() as view:
            if view.kind(name) is None:
                return False
        store.indexes.drop_table(name, sync)
        return True

    def position(self) -> Position:
        """The last committed transaction; not necessarily durable."""
        store = self._open
        return Position(store.log.epoch, store.views.visible_lsn)

    def sync(self) -> Position:
        """Make everything committed so far durable, and return up to where.

        Raises:
            DurabilityUnknownError: the sync failed.
        """
        return self._open.sync()

    def wait_durable(self, position: Position) -> None:
        """Return when the transaction at the position is on disk.

        Raises:
            UsageError: the position is in the future.
            DurabilityUnknownError: the sync failed, or the position is from before a recovery that may have cut it.
        """
        store = self._open
        poisoned = store.log.failure is not None  # then positions that were handed out may lie behind the end
        if position.epoch > store.log.epoch or (position.lsn > store.views.visible_lsn and not poisoned):
            raise UsageError(f"position {position} is not of this store: it is at {self.position()}")
        if position.epoch < store.log.epoch:
            raise DurabilityUnknownError(
                f"position {position} is from before the recovery that began epoch {store.log.epoch}; whether it was "
                "cut cannot be told; next: read the record"
            )
        store.wait_durable(position.lsn)

    def checkpoint(self) -> None:
        """Move everything committed so far into the backend, and shorten the log.

        Raises:
            StoreFailedError: the log or the backend failed; nothing is lost.
        """
        self._open.checkpoint()

    def check(self) -> list[str]:
        """Have the backend read everything it holds and compare it with its checksums and indexes.

        Returns:
            A sentence for each thing that is wrong; empty when all is well. The log is checked by ``sessiondb check``.
        """
        return self._open.check()

    def stats(self) -> Stats:
        """Counters and states as they are now."""
        return self._open.stats()

    def close(self) -> None:
        """End cleanly; a second call does nothing.

        Raises:
            StoreFailedError: the last sync failed; everything is released all the same.
        """
        store, self._store = self._store, None
        if store is None:
            return
        for opened in list(self._tables.values()):
            opened._disconnect(f"the database {self._location} is closed; next: open it again")
        close_store(store)

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Database {self._location}{' (closed)' if self._store is None else ''}>"


def _fields_to_index(codec: RecordCodec[Any], indexes: Iterable[str]) -> list[str]:
    if isinstance(indexes, str):
        raise UsageError(f"indexes are several: pass a list, as in [{indexes!r}]")
    fields = [indexable(codec, name) for name in indexes]
    if codec.version > 1:
        fields.append(VERSION_FIELD)  # so that records of earlier versions are found without reading all
    return fields
