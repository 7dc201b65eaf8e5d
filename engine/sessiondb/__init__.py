"""Durable records for Python programs: a write-ahead log and snapshots on top of a JSON file and other backends.

>>> import sessiondb
>>> with sessiondb.table("state.json") as t:        # doctest: +SKIP
...     t["a"] = {"n": 1}                           # on disk when it returns
"""

from msgspec import UNSET

from .backend import Position
from .database import Database, open, table
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
from .stats import RecoveryReport, Stats
from .storage import DatabaseStorage, TableStorage
from .table import Table

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "BackendError",
    "BackendUnavailableError",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "CorruptionError",
    "Database",
    "DatabaseStorage",
    "DuplicateKeyError",
    "DurabilityUnknownError",
    "FencedError",
    "JsonFileStorage",
    "LmdbStorage",
    "Position",
    "PostgresStorage",
    "ReadOnlyError",
    "RecoveryReport",
    "SessionDBError",
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
    "one_of",
    "open",
    "prefix",
    "table",
]
