"""Storages of one table that open a location themselves, each with one kind of backend."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, TypeVar

from .codec import DecHook, EncHook
from .config import Options
from .configuration import Choice
from .database import Database
from .errors import UsageError
from .files import REAL_FILES, Files
from .location import Location, parse_location
from .opening import make_folders, open_store
from .storage import TableStorage
from .table import Table
from .versions import Upgrade

__all__ = ["JsonFileStorage", "LmdbStorage", "LocationStorage", "PostgresStorage", "SqliteStorage"]

T = TypeVar("T")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class LocationStorage(TableStorage[T]):
    """A storage of one table at a location; subclasses name the backend.

    Making one opens and creates nothing; `initialize` does, or the first call that needs it. A relative path is taken
    from the folder that is the current one now.

    Args:
        path: a path, whatever its suffix, or a URL of this backend.
        type: what an entity is, as for `Database.table`.
        id: the attribute (or dict key) that holds an entity's id.
        table: the table's name.
        indexes: as for `Database.table`.
        version: as for `Database.table`.
        upgrades: as for `Database.table`.
        enc_hook: as for `Database.table`.
        dec_hook: as for `Database.table`.
        files: the file system, for tests.
        options: as for `sessiondb.open`.

    Raises:
        UsageError: the location is of another backend or none, or an option is out of range.
        TypeError: an unknown option.
    """

    scheme: ClassVar[str]
    """The backend's URL scheme."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        type: type[T],
        *,
        id: str = "id",
        table: str = "records",
        indexes: Iterable[str] = (),
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        files: Files = REAL_FILES,
        **options: Any,
    ):
        self._place = self._place_of(path)
        self._location = str(self._place)
        self._options = Options(**options)
        self._files = files
        self._how: dict[str, Any] = {
            "name": table, "type": type, "id": id, "indexes": indexes, "version": version, "upgrades": upgrades,
            "enc_hook": enc_hook, "dec_hook": dec_hook,
        }  # fmt: skip
        self._opening = threading.Lock()
        self._database: Database | None = None
        self._choice: Choice | None = None  # of the settings, if they named the location
        self._is_closed = False
        self._table = None

    @classmethod
    def _place_of(cls, path: str | os.PathLike[str]) -> Location:
        text = os.fspath(path)
        if isinstance(path, str):
            url = _URL.match(path)
            place = parse_location(path if url else f"{cls.scheme}:///{path}")
            if place.scheme == cls.scheme:
                return place
            raise UsageError(
                f"{cls.__name__} opens {cls.scheme} locations, not {place.scheme!r}; next: use the other storage, or "
                "pass pathlib.Path(...) for a file with a colon in its name"
            )
        if not isinstance(text, str) or not text or "\0" in text:
            raise UsageError(f"a location is a path or a URL, not {path!r}")
        return Location(cls.scheme, os.path.realpath(text))

    def initialize(self) -> bool:
        """Open the location, and make the store, and the folders it is in, if they are not there.

        Returns:
            True: it is ready.

        Raises:
            UsageError: a bad type, id, table or index, or it is open in this process with other options; or nothing is
                there and ``create=False`` or ``read_only=True`` was given.
            WrongBackendError: something else is there; it is untouched.
            StoreBusyError: another process has it.
            CorruptionError: acknowledged data is damaged or missing; nothing was changed.
            UnsupportedFormatError: a newer version wrote it.
            StoreFailedError: the operating system refused.
        """
        return super().initialize()

    def _ready(self) -> Table[T]:
        table = self._table
        return self._open() if table is None else table

    def _open(self) -> Table[T]:
        with self._opening:
            if self._is_closed:
                raise self._closed()
            if self._table is None:
                with nullcontext() if self._choice is None else self._choice.explaining():
                    self._make_folders()
                    database = Database(open_store(self._files, self._place, self._options))
                try:
                    self._table = database.table(**self._how)
                except BaseException:
                    database.close()
                    raise
                self._database = database
            return self._table

    def _make_folders(self) -> None:
        path = self._place.path
        if self._options.create and not self._options.read_only and self._files.stat(path) is None:
            make_folders(self._files, os.path.dirname(path))

    def close(self) -> None:
        """Close the location; a second call does nothing.

        Raises:
            StoreFailedError: the last sync failed; everything is released all the same.
        """
        with self._opening:
            self._is_closed = True
            self._table = None
            database, self._database = self._database, None
        if database is not None:
            database.close()


class JsonFileStorage(LocationStorage[T]):
    """A storage of one table in a JSON file."""

    scheme = "json"


class SqliteStorage(LocationStorage[T]):
    """A storage of one table in a SQLite file."""

    scheme = "sqlite"


class LmdbStorage(LocationStorage[T]):
    """A storage of one table in an LMDB folder."""

    scheme = "lmdb"


class PostgresStorage(LocationStorage[T]):
    """A storage of one table on a PostgreSQL server; the location is a URL, ``postgresql://USER@HOST/DATABASE``.

    This host's log makes each change durable; opening takes the store over from the host that had it before.
    """

    scheme = "postgresql"

    @classmethod
    def _place_of(cls, path: str | os.PathLike[str]) -> Location:
        place = parse_location(path) if isinstance(path, str) and _URL.match(path) else None
        if place is None or place.scheme != cls.scheme:
            # The text is not repeated: it may be a URL with a password.
            raise UsageError(f"{cls.__name__} opens URLs like postgresql://USER@HOST:PORT/DATABASE, not this location")
        return place

    def _make_folders(self) -> None:
        """None: opening makes those of the log."""
