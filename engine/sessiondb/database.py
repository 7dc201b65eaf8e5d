"""The database: what `sessiondb.open` returns, and the two ways to open one."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from .backend import Position, TableKind
from .codec import DecHook, EncHook, RecordCodec, check_table_name
from .config import Options, SyncLevel
from .errors import ClosedError, DurabilityUnknownError, UsageError
from .files import Files
from .location import parse_location
from .opening import close_store, open_store
from .planning import indexable
from .stats import RecoveryReport, Stats
from .store import Store
from .table import Table
from .versions import VERSION_FIELD, Upgrade

__all__ = ["Database", "open", "table"]

T = TypeVar("T")
_REAL_FILES = Files()
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


def open(
    location: str | os.PathLike[str],
    *,
    sync: SyncLevel = "always",
    sync_interval_ms: int = 1_000,
    lock_timeout: float = 10.0,
    checkpoint_bytes: int = 16 * 1024 * 1024,
    checkpoint_records: int = 50_000,
    checkpoint_age_s: float = 60.0,
    cache_bytes: int = 32 * 1024 * 1024,
    read_only: bool = False,
    create: bool = True,
    files: Files = _REAL_FILES,
) -> Database:
    """Open a location, recovering it if its last user did not close it.

    Args:
        location: a path (JSON unless the suffix says otherwise) or a URL: ``json:///relative.json``,
            ``sqlite:////absolute.db``, ``lmdb:///folder``, ``memory:``.
        sync: when a commit returns: ``always`` (on disk: survives power loss), ``interval`` (synced within
            `sync_interval_ms`: survives ``kill -9``), ``never`` (``kill -9`` only).
        sync_interval_ms: for ``interval``, in milliseconds.
        lock_timeout: longest wait for another process or for room in the log, in seconds.
        checkpoint_bytes: checkpoint when the log holds so many bytes.
        checkpoint_records: checkpoint when the log holds so many changes.
        checkpoint_age_s: checkpoint so long after the first change since the last one, in seconds.
        cache_bytes: budget for records kept in memory after they were read from SQLite; 0 for none.
        read_only: change nothing, not even after a crash.
        create: make the store when nothing is there.
        files: the file system, for tests.

    Raises:
        UsageError: a bad option or location, nothing there that may be opened, or open here with other options.
        WrongBackendError: something else is at the location; it is untouched.
        StoreBusyError: another process has it.
        CorruptionError: acknowledged data is damaged or missing; nothing was changed.
        UnsupportedFormatError: a newer version wrote it.
        StoreFailedError: the operating system refused.
    """
    options = Options(
        sync=sync,
        sync_interval_ms=sync_interval_ms,
        lock_timeout=lock_timeout,
        checkpoint_bytes=checkpoint_bytes,
        checkpoint_records=checkpoint_records,
        checkpoint_age_s=checkpoint_age_s,
        cache_bytes=cache_bytes,
        read_only=read_only,
        create=create,
    )
    return Database(open_store(files, parse_location(location), options))


@overload
def table(
    location: str | os.PathLike[str],
    name: str = "records",
    *,
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    **options: Any,
) -> Table[Any]: ...
@overload
def table(
    location: str | os.PathLike[str],
    name: str,
    type: type[T],
    *,
    id: str | None = None,
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    **options: Any,
) -> Table[T]: ...
@overload
def table(
    location: str | os.PathLike[str],
    name: str = "records",
    type: Any = Any,
    *,
    id: str | None = None,
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    **options: Any,
) -> Table[Any]: ...
def table(
    location: str | os.PathLike[str],
    name: str = "records",
    type: Any = Any,
    *,
    id: str | None = None,
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    **options: Any,
) -> Table[Any]:
    """Open a location and one table of it, in one line; the table's ``with`` block closes both.

    Args:
        location: as for `open`.
        name: the table.
        type: as for `Database.table`.
        id: as for `Database.table`.
        indexes: as for `Database.table`.
        version: as for `Database.table`.
        upgrades: as for `Database.table`.
        enc_hook: as for `Database.table`.
        dec_hook: as for `Database.table`.
        options: as for `open`.
    """
    database = open(location, **options)
    try:
        opened = database.table(
            name, type, id=id, indexes=indexes, version=version, upgrades=upgrades, enc_hook=enc_hook, dec_hook=dec_hook
        )
    except BaseException:
        database.close()
        raise
    opened._owner = database
    return opened


def _fields_to_index(codec: RecordCodec[Any], indexes: Iterable[str]) -> list[str]:
    if isinstance(indexes, str):
        raise UsageError(f"indexes are several: pass a list, as in [{indexes!r}]")
    fields = [indexable(codec, name) for name in indexes]
    if codec.version > 1:
        fields.append(VERSION_FIELD)  # so that records of earlier versions are found without reading all
    return fields
