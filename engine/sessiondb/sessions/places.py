"""Places: where the sessions are stored, and where their working directories are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import UnsetType

from ..configuration import Config, load_config
from ..errors import UsageError, ValidationError
from ..files import Files
from ..location import Location, parse_location
from ..location_storage import LocationStorage
from ..storage_factory import create_storage
from ..store import Store
from .record import SessionRecord

__all__ = ["absolute_folder", "base_dir_beside", "opener", "own_base_dir", "working_directory"]


class _AnyLocation(LocationStorage[SessionRecord]):
    """Opens a location of any backend."""

    @classmethod
    def _place_of(cls, path: str | os.PathLike[str]) -> Location:
        return parse_location(path)

    def _make_folders(self) -> None:
        if _is_path(self._place):
            super()._make_folders()


def opener(
    location: str | os.PathLike[str] | Config | UnsetType, table: str, files: Files, options: Mapping[str, Any]
) -> LocationStorage[SessionRecord]:
    """What will open the sessions' table: at a location, or where the settings say.

    Raises:
        UsageError: the location or an option is wrong.
        ConfigError: a setting is unknown or bad, or they do not say where the store is.
        TypeError: an unknown option, or one that the settings say already.
    """
    if not isinstance(location, (Config, UnsetType)):
        return _AnyLocation(location, SessionRecord, id="session", table=table, files=files, **options)
    opening = {name: options[name] for name in ("read_only", "create") if name in options}
    said = {name: value for name, value in options.items() if name not in opening}
    if isinstance(location, UnsetType):
        config = load_config(**said)
    elif said:
        raise TypeError(f"the settings say {', '.join(said)}: give them to load_config()")
    else:
        config = location
    return create_storage(config, SessionRecord, id="session", table=table, files=files, **opening)


def absolute_folder(base_dir: str | os.PathLike[str]) -> str:
    """The base directory that a caller gives: of a text ``~`` and variables are expanded, a path object is as it is.

    Raises:
        UsageError: it is empty or no path.
    """
    text = os.fspath(base_dir)
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"base_dir is {base_dir!r:.80}; it must be a path")
    return os.path.abspath(os.path.expanduser(os.path.expandvars(text)) if isinstance(base_dir, str) else text)


def own_base_dir(store: Store) -> str | None:
    """What the file itself says about it, if it is one of those that may."""
    layout = store.backend.layout()
    return None if layout is None else layout.base_dir


def base_dir_beside(location: Location) -> str:
    """The folder that the store is in; empty when it is in none."""
    return os.path.dirname(location.path) if _is_path(location) else ""


def working_directory(base_dir: str, table: str, id: str) -> str:
    """The folder of one session.

    Raises:
        UsageError: there is no base directory.
        ValidationError: the folder would be another one's, or nowhere.
    """
    if not base_dir:
        raise UsageError("these sessions have no base directory; next: make the storage with base_dir=...")
    if any(name in ("", ".", "..") for name in id.split("/")) or "\0" in id:
        raise ValidationError("no folder for working directories has one with this name", table=table, key=id)
    return os.path.join(base_dir, "sessions", id)


def _is_path(location: Location) -> bool:
    return location.path.startswith("/") and not location.path.startswith("//")
