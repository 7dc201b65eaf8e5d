"""The package psycopg, or a clear error where it is missing: every other module takes it from here."""

from __future__ import annotations

from sessiondb.errors import ConfigError

try:
    import psycopg
    from psycopg import adapt, pq, sql, waiting
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.types.string import ByteaBinaryLoader
except ImportError as error:
    raise ConfigError(
        "the PostgreSQL backend needs the package psycopg, which is not installed or finds no libpq; "
        'next: pip install "sessiondb[postgres]"'
    ) from error

__all__ = ["ByteaBinaryLoader", "adapt", "conninfo_to_dict", "pq", "psycopg", "sql", "waiting"]
