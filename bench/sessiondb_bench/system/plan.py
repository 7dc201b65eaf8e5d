"""What a run measures: where, on which backends, and how much of everything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

import sessiondb

from ..subjects.engine import location_in

__all__ = ["BACKENDS", "NO_CHECKPOINTS", "Plan"]

BACKENDS = ("json", "sqlite", "lmdb")
"""Those on this machine's disk."""
NO_CHECKPOINTS: dict[str, Any] = {
    "checkpoint_records": 10**9,
    "checkpoint_bytes": 10**12,
    "checkpoint_age_s": 1e9,
}
"""None but those that are asked for."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        folder: where the stores go; each measurement makes folders of its own in it.
        backends: names out of `BACKENDS`, and ``postgres`` when there is a `dsn`.
        dsn: a PostgreSQL database in which the role may make schemas.
        schema: is made there, and removed; another one for each run.
        record_bytes: size of a record as JSON.
        rounds: how often what is timed is repeated; the median counts.
        replayed: records in the log that is replayed.
        replayed_batch: records in each of its transactions, the second time.
        moved: records that a checkpoint moves.
        alone_s: how long writers are watched without a checkpoint, in seconds.
        sizes: records in the stores that are opened to look at memory.
        reads: records that are read there.
        memtable: records in the memtable that is weighed.
        puts: writes of the workload whose bytes are counted; `durable_puts` at level ``always``.
        keys: how many keys it writes to.
        every: writes between its checkpoints.
        threads: how many threads commit at the same time.
        commits: of each thread.
        starts: how often each command is started.
    """

    folder: str
    backends: tuple[str, ...] = BACKENDS
    dsn: str | None = None
    schema: str = msgspec.field(default_factory=lambda: f"sessiondb_bench_{os.urandom(4).hex()}")
    record_bytes: int = 300
    rounds: int = 5
    replayed: int = 50_000
    replayed_batch: int = 100
    moved: int = 50_000
    alone_s: float = 0.5
    sizes: tuple[int, ...] = (100, 10_000, 100_000, 1_000_000)
    reads: int = 10_000
    memtable: int = 50_000
    puts: int = 100_000
    durable_puts: int = 2_000
    keys: int = 20_000
    every: int = 20_000
    threads: tuple[int, ...] = (1, 2, 4, 8)
    commits: int = 300
    starts: int = 15

    @classmethod
    def quick(cls, **values: Any) -> Plan:
        """Half a minute instead of several."""
        short: dict[str, Any] = {
            "rounds": 1, "replayed": 20_000, "moved": 20_000, "sizes": (100, 10_000), "memtable": 20_000,
            "puts": 20_000, "durable_puts": 300, "keys": 4_000, "every": 4_000, "commits": 100, "starts": 3,
        }  # fmt: skip
        return cls(**{**short, **values})

    def new_folder(self) -> str:
        """An empty folder."""
        return tempfile.mkdtemp(dir=self.folder)

    def location(self, backend: str, folder: str) -> str:
        """Where the store of that folder is; on a server, another one at each call."""
        dsn = f"{self.dsn}{'&' if '?' in self.dsn else '?'}schema={self.schema}" if self.dsn else None
        return location_in(folder, backend, dsn)

    @contextmanager
    def database(self, backend: str, **options: Any) -> Iterator[sessiondb.Database]:
        """A new store that checkpoints only when it is told to."""
        location = self.location(backend, self.new_folder())
        with sessiondb.open(location, **{**NO_CHECKPOINTS, **options}) as database:
            yield database

    def drop_schema(self) -> None:
        """Remove what a run left in a PostgreSQL database."""
        import psycopg
        from psycopg import sql

        if self.dsn is None:
            return
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '10s'")
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.schema)))
