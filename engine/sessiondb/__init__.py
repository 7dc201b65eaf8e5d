"""Durable records for Python programs: a write-ahead log and snapshots on top of a JSON file and other backends.

>>> import sessiondb
>>> with sessiondb.table("state.json") as t:        # doctest: +SKIP
...     t["a"] = {"n": 1}                           # on disk when it returns
"""

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .backend import Position
from .configuration import Config, load_config
from .database import Database
from .entry import open, table
from .errors import (
    BackendError,
    BackendUnavailableError,
    ClosedError,
    ConfigError,
    ConflictError,
    CorruptionError,
    DuplicateKeyError,
    DurabilityUnknownError,
    FencedError,
    ReadOnlyError,
    SessionDBError,
    StoreBusyError,
    StoreFailedError,
    TransactionTooLargeError,
    UnsupportedFormatError,
    UsageError,
    ValidationError,
    WrongBackendError,
)
from .location_storage import JsonFileStorage, LmdbStorage, PostgresStorage, SqliteStorage
from .query import absent, between, one_of, prefix
from .stats import LayoutStats, RecoveryReport, Stats
from .storage import DatabaseStorage, TableStorage
from .storage_factory import create_storage
from .table import Table

if TYPE_CHECKING:
    from .migration.run import MigrationResult, migrate
    from .sessions import SessionDbState, SessionMisfit, SessionRecord, SessionStorage

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "BackendError",
    "BackendUnavailableError",
    "ClosedError",
    "Config",
    "ConfigError",
    "ConflictError",
    "CorruptionError",
    "Database",
    "DatabaseStorage",
    "DuplicateKeyError",
    "DurabilityUnknownError",
    "FencedError",
    "JsonFileStorage",
    "LayoutStats",
    "LmdbStorage",
    "MigrationResult",
    "Position",
    "PostgresStorage",
    "ReadOnlyError",
    "RecoveryReport",
    "SessionDBError",
    "SessionDbState",
    "SessionMisfit",
    "SessionRecord",
    "SessionStorage",
    "SqliteStorage",
    "Stats",
    "StoreBusyError",
    "StoreFailedError",
    "Table",
    "TableStorage",
    "TransactionTooLargeError",
    "UnsupportedFormatError",
    "UsageError",
    "ValidationError",
    "WrongBackendError",
    "absent",
    "between",
    "create_storage",
    "load_config",
    "migrate",
    "one_of",
    "open",
    "prefix",
    "table",
]


def __getattr__(name: str) -> Any:
    """The names of sessions and of migration, imported when they are first used: most programs have neither."""
    if name in ("SessionDbState", "SessionMisfit", "SessionRecord", "SessionStorage"):
        from . import sessions

        return globals().setdefault(name, getattr(sessions, name))
    if name in ("MigrationResult", "migrate"):
        from .migration import run

        return globals().setdefault(name, getattr(run, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
