"""The ways to a database: a location, the settings, or one table of a location."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec
from msgspec import UNSET, UnsetType

from .codec import DecHook, EncHook
from .config import Options, SyncLevel
from .configuration import Config, load_config
from .database import Database
from .errors import ConfigError, UsageError
from .files import REAL_FILES, Files
from .location import parse_location
from .opening import make_folders, open_store
from .table import Table
from .versions import Upgrade

__all__ = ["open", "open_configured", "table"]

T = TypeVar("T")


def open(
    location: str | os.PathLike[str] | UnsetType = UNSET,
    *,
    sync: SyncLevel | UnsetType = UNSET,
    sync_interval_ms: int | UnsetType = UNSET,
    lock_timeout: float | UnsetType = UNSET,
    checkpoint_bytes: int | UnsetType = UNSET,
    checkpoint_records: int | UnsetType = UNSET,
    checkpoint_age_s: float | UnsetType = UNSET,
    cache_bytes: int | UnsetType = UNSET,
    read_only: bool = False,
    create: bool = True,
    layout: str | None = None,
    files: Files = REAL_FILES,
) -> Database:
    """Open a location, recovering it if its last user did not close it.

    With a location nothing but the arguments counts: no environment variable and no file. Without one, what is not said
    here comes from the configuration, as `load_config` reads it.

    Args:
        location: a path (JSON unless the suffix says otherwise) or a URL: ``json:///relative.json``,
            ``sqlite:////absolute.db``, ``lmdb:///folder``, ``memory:``.
        sync: when a commit returns: ``always`` (on disk: survives power loss), ``interval`` (synced within
            `sync_interval_ms`: survives ``kill -9``), ``never`` (``kill -9`` only). Default: ``always``.
        sync_interval_ms: for ``interval``, in milliseconds. Default: 1,000.
        lock_timeout: longest wait for another process or for room in the log, in seconds. Default: 10.
        checkpoint_bytes: checkpoint when the log holds so many bytes. Default: 16 MiB.
        checkpoint_records: checkpoint when the log holds so many changes. Default: 50,000.
        checkpoint_age_s: checkpoint so long after the first change since the last one, in seconds. Default: 60.
        cache_bytes: budget for records kept in memory after they were read from SQLite; 0 for none. Default: 32 MiB.
        read_only: change nothing, not even after a crash.
        create: make the store when nothing is there.
        layout: for a new JSON file ``native`` (the default), or ``array`` or ``sessions``: a session file, as the
            program that sessiondb succeeds had it. For one that is there: what it must have; it is kept as it is.
        files: the file system, for tests.

    Raises:
        UsageError: a bad option or location, nothing there that may be opened, or open here with other options.
        ConfigError: without a location: a setting is unknown or bad, or the settings do not say where the store is.
        WrongBackendError: something else is at the location; it is untouched.
        StoreBusyError: another process has it.
        CorruptionError: acknowledged data is damaged or missing; nothing was changed.
        UnsupportedFormatError: a newer version wrote it.
        StoreFailedError: the operating system refused.
    """
    said = {
        "sync": sync, "sync_interval_ms": sync_interval_ms, "lock_timeout": lock_timeout,
        "checkpoint_bytes": checkpoint_bytes, "checkpoint_records": checkpoint_records,
        "checkpoint_age_s": checkpoint_age_s, "cache_bytes": cache_bytes,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in said.items() if value is not UNSET}
    if isinstance(location, UnsetType):
        return open_configured(load_config(**options), read_only=read_only, create=create, layout=layout, files=files)
    place = parse_location(location)
    return Database(open_store(files, place, Options(**options, read_only=read_only, create=create, layout=layout)))


def open_configured(
    config: Config,
    *,
    read_only: bool = False,
    create: bool = True,
    layout: str | None = None,
    wait_s: float | None = None,
    files: Files = REAL_FILES,
) -> Database:
    """Open what the settings say; errors name the setting that the location comes from.

    Args:
        config: the settings.
        read_only: as for `open`.
        create: as for `open`.
        layout: as for `open`.
        wait_s: the ``lock_timeout`` when nobody says one.
        files: the file system, for tests.
    """
    choice = config.choose()
    place = choice.place
    is_missing = choice.in_default_folder and files.stat(place.path) is None
    if is_missing and create and not read_only:
        make_folders(files, os.path.dirname(place.path))
    try:
        with choice.explaining():
            options = config.options(read_only=read_only, create=create, wait_s=wait_s)
            return Database(open_store(files, place, msgspec.structs.replace(options, layout=layout)))
    except UsageError as error:
        if is_missing and choice.is_default:
            raise ConfigError(choice.missing()) from error
        raise


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
