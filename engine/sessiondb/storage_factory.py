"""The storage that the settings mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec

from .codec import DecHook, EncHook
from .configuration import Config, load_config
from .files import REAL_FILES, Files
from .location import Location, parse_location
from .location_storage import JsonFileStorage, LmdbStorage, LocationStorage, PostgresStorage, SqliteStorage
from .versions import Upgrade

__all__ = ["create_storage"]

T = TypeVar("T")
_CLASSES: tuple[type[LocationStorage[Any]], ...] = (JsonFileStorage, SqliteStorage, LmdbStorage, PostgresStorage)


class _OtherStorage(LocationStorage[T]):
    """A storage in memory, or in a backend of a stranger's."""

    @classmethod
    def _place_of(cls, path: str | os.PathLike[str]) -> Location:
        return parse_location(path)

    def _make_folders(self) -> None:
        """None: what is made where is the backend's business."""


@overload
def create_storage(
    config: Config | None = None,
    *,
    id: str = "id",
    table: str = "records",
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    read_only: bool = False,
    create: bool = True,
    files: Files = REAL_FILES,
) -> LocationStorage[dict[str, Any]]: ...
@overload
def create_storage(
    config: Config | None,
    type: type[T],
    *,
    id: str = "id",
    table: str = "records",
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    read_only: bool = False,
    create: bool = True,
    files: Files = REAL_FILES,
) -> LocationStorage[T]: ...
def create_storage(
    config: Config | None = None,
    type: Any = dict[str, Any],
    *,
    id: str = "id",
    table: str = "records",
    indexes: Iterable[str] = (),
    version: int = 1,
    upgrades: Mapping[int, Upgrade] | None = None,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    read_only: bool = False,
    create: bool = True,
    files: Files = REAL_FILES,
) -> LocationStorage[Any]:
    """A storage of one table where the settings say; what it is comes from them, what it holds from the caller.

    Nothing is opened yet: `DatabaseStorage.initialize` does that, or the first call that needs it. If the backend that
    is meant cannot be used, that is an error; there is no other one to fall back on.

    Args:
        config: the settings; read as by `load_config` when left out.
        type: what an entity is, as for `Database.table`.
        id: the attribute (or dict key) that holds an entity's id.
        table: the table's name.
        indexes: as for `Database.table`.
        version: as for `Database.table`.
        upgrades: as for `Database.table`.
        enc_hook: as for `Database.table`.
        dec_hook: as for `Database.table`.
        read_only: as for `sessiondb.open`.
        create: as for `sessiondb.open`.
        files: the file system, for tests.

    Raises:
        ConfigError: a setting is unknown or bad, or they do not say where the store is.
    """
    from pathlib import Path  # not for those who only import sessiondb

    config = load_config() if config is None else config
    choice = config.choose()
    place = choice.place
    kind = next((each for each in _CLASSES if each.scheme == place.scheme), _OtherStorage)
    is_file = place.path.startswith("/") and not place.path.startswith("//")
    options = msgspec.structs.asdict(config.options(read_only=read_only, create=create))
    storage: LocationStorage[Any] = kind(
        Path(place.path) if is_file and kind is not _OtherStorage else f"{place.scheme}:{place.path}",
        type,
        id=id,
        table=table,
        indexes=indexes,
        version=version,
        upgrades=upgrades,
        enc_hook=enc_hook,
        dec_hook=dec_hook,
        files=files,
        **options,
    )
    storage._choice = choice
    return storage
