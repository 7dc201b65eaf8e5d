"""PostgreSQL against its floors, in one run: ``python -m sessiondb_bench.postgres --dsn URL [--rounds N]``.

The URL is that of a database in which the role may make schemas; the schema ``sessiondb_bench`` is made and removed.
Engine and floor take turns, so that a busy machine disturbs both, and each operation is timed by itself: the medians
count, which say little of operations that another program got in the way of.

* durable put: `Table.put` of a store on the server against one in a SQLite file: the log is the same;
* checkpoint: 10,000 changed records moved by `Database.checkpoint`, against bare ``INSERT .. SELECT .. FROM unnest``
  of 1,000 records each in one transaction, into a table of its own of the same shape;
* get: `Table.get` of a record that only the server has, without cache, against a bare prepared ``SELECT`` plus decode;
* multi-get: `Table.get_many` of 100 such records against a bare prepared ``= ANY`` plus decode.

The floors use psycopg as it comes, at its best: binary arrays and results, prepared statements, one connection. Nothing
here judges: it prints what it measured.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

import sessiondb

from .records import session_record

__all__ = ["main"]

SCHEMA = "sessiondb_bench"
RECORD = session_record(4711)
RECORDS = 20_000
MOVED = 10_000
MANY = 100
CHUNK = 1_000


def _records(count: int, mark: int = 0) -> dict[str, Any]:
    return {f"task-{number:07}": {**RECORD, "number": mark} for number in range(count)}


@contextmanager
def _store(dsn: str, folder: str, namespace: str, **options: Any) -> Iterator[sessiondb.Database]:
    separator = "&" if "?" in dsn else "?"
    url = f"{dsn}{separator}schema={SCHEMA}&namespace={namespace}&log_dir={folder}"
    with sessiondb.open(url, checkpoint_records=10**9, checkpoint_bytes=10**12, checkpoint_age_s=1e9, **options) as db:
        yield db


class Bare:
    """A table of the same shape, asked by psycopg alone."""

    def __init__(self, dsn: str):
        import psycopg

        self.connection = psycopg.connect(dsn, autocommit=True)
        self.cursor = self.connection.cursor(binary=True)
        self.cursor.execute(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE'.encode())
        self.cursor.execute(f'CREATE SCHEMA "{SCHEMA}"'.encode())
        self.cursor.execute(
            f'CREATE TABLE "{SCHEMA}".bare (ns text COLLATE "C", tbl text COLLATE "C", key text COLLATE "C", '
            "record json, blob bytea, expires_at timestamptz, version bigint NOT NULL, "
            "PRIMARY KEY (ns, tbl, key))".encode()
        )
        self._get = f"SELECT record::text FROM \"{SCHEMA}\".bare WHERE ns = 'n' AND tbl = %s AND key = %s".encode()
        self._get_many = (
            f"SELECT key, record::text FROM \"{SCHEMA}\".bare WHERE ns = 'n' AND tbl = %s AND key = ANY(%b)".encode()
        )
        self._put = (
            f'INSERT INTO "{SCHEMA}".bare (ns, tbl, key, record, version) '
            "SELECT 'n', %s, k, v::json, %s FROM unnest(%b::text[], %b::text[]) AS new(k, v) "
            "ON CONFLICT (ns, tbl, key) DO UPDATE SET record = EXCLUDED.record, version = EXCLUDED.version".encode()
        )

    def put_all(self, images: dict[str, bytes]) -> None:
        """Sorted, in chunks, in one transaction: as dense as it gets."""
        keys = sorted(images)
        self.cursor.execute("BEGIN")
        for start in range(0, len(keys), CHUNK):
            piece = keys[start : start + CHUNK]
            texts = [images[key].decode() for key in piece]
            self.cursor.execute(self._put, ("t", 1, piece, texts), prepare=True)
        self.cursor.execute("COMMIT")

    def begin(self) -> None:
        """One transaction for all that follows, as a view has it."""
        self.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def get(self, key: str) -> Any:
        """One record."""
        row = self.cursor.execute(self._get, ("t", key), prepare=True).fetchone()
        return msgspec.json.decode(row[0]) if row else None

    def get_many(self, keys: list[str]) -> dict[str, Any]:
        """Some records."""
        rows = self.cursor.execute(self._get_many, ("t", keys), prepare=True).fetchall()
        return {key: msgspec.json.decode(text) for key, text in rows}

    def close(self) -> None:
        """Remove the schema."""
        self.cursor.execute("ROLLBACK")
        self.cursor.execute("SET lock_timeout = '10s'")  # after an error a view may still be held by its traceback
        self.cursor.execute(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE'.encode())
        self.connection.close()


def turns(rounds: int, arguments: list[Any], works: dict[str, Callable[[Any], object]]) -> dict[str, list[float]]:
    """Microseconds of each operation; they take turns with each argument, the first one now this, now that."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        names = list(works)[:: 1 if number % 2 else -1]
        for argument in arguments:
            for name in names:
                began = time.perf_counter()
                works[name](argument)
                taken[name].append((time.perf_counter() - began) * 1e6)
    return taken


def puts(dsn: str, folder: str, rounds: int) -> dict[str, Any]:
    """Durable puts, beside those of SQLite."""
    options: dict[str, Any] = {"checkpoint_records": 10**9, "checkpoint_bytes": 10**12, "checkpoint_age_s": 1e9}
    with (
        sessiondb.open(f"{folder}/x.db", **options) as file,
        _store(dsn, folder, "puts") as server,
    ):
        mine, floor = server.table("t"), file.table("t")
        keys = [f"k{number:07}" for number in range(100)]
        taken = turns(
            rounds, keys, {"mine": lambda key: mine.put(key, RECORD), "floor": lambda key: floor.put(key, RECORD)}
        )
    return _compared("durable put", "SQLite's", taken)


def checkpoints(dsn: str, folder: str, rounds: int, bare: Bare) -> dict[str, Any]:
    """10,000 records that are there already are replaced, each round."""
    taken: dict[str, list[float]] = {"mine": [], "floor": []}
    with _store(dsn, folder, "checkpoints") as db:
        for mark in range(rounds + 1):
            records = _records(MOVED, mark)
            images = {key: msgspec.json.encode(record) for key, record in records.items()}
            db.table("t").put_many(records, sync="never")
            db.sync()
            works: dict[str, Callable[[Any], object]] = {
                "floor": lambda _, images=images: bare.put_all(images),  # type: ignore[misc]
                "mine": lambda _: db.checkpoint(),
            }
            for name, figures in turns(1, [None], dict(list(works.items())[:: 1 if mark % 2 else -1])).items():
                taken[name] += figures if mark else []  # the first one inserts, and finds nothing prepared
            bare.cursor.execute(f'VACUUM "{SCHEMA}".bare, "{SCHEMA}".sessiondb_records'.encode())
    mine, floor = (MOVED / statistics.median(taken[name]) * 1e6 for name in ("mine", "floor"))
    return {
        "checkpoint of 10,000, rate: bare unnest's": mine / floor,
        "checkpoint of 10,000, records/s": mine,
        "bare unnest, records/s": floor,
    }


def reads(dsn: str, folder: str, rounds: int, bare: Bare) -> dict[str, Any]:
    """Records that only the server has."""
    records = _records(RECORDS)
    keys = random.Random(1).sample(list(records), 1_000)
    groups = [random.Random(number).sample(list(records), MANY) for number in range(50)]
    with _store(dsn, folder, "reads", cache_bytes=0) as db:
        table = db.table("t")
        table.put_many(records)
        db.checkpoint()
        bare.cursor.execute(f'TRUNCATE "{SCHEMA}".bare'.encode())
        bare.put_all({key: msgspec.json.encode(record) for key, record in records.items()})
        bare.cursor.execute(f'VACUUM ANALYZE "{SCHEMA}".bare, "{SCHEMA}".sessiondb_records'.encode())
        bare.begin()
        assert table[keys[0]] == bare.get(keys[0])
        assert table.get_many(groups[0]) == bare.get_many(groups[0])
        single = turns(rounds, keys, {"mine": table.__getitem__, "floor": bare.get})
        many = turns(rounds, groups, {"mine": table.get_many, "floor": bare.get_many})
    return {
        **_compared("get", "bare prepared SELECT", single),
        **_compared("multi-get of 100", "bare = ANY", many),
    }


def _compared(what: str, floor: str, taken: dict[str, list[float]]) -> dict[str, Any]:
    mine, below = statistics.median(taken["mine"]), statistics.median(taken["floor"])
    return {f"{what}: {floor}": mine / below, f"{what}, us": mine, f"{floor}, us": below}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m sessiondb_bench.postgres", description=__doc__)
    parser.add_argument("--dsn", required=True, metavar="URL", help="postgresql://... where schemas may be made")
    parser.add_argument("--dir", help="where the logs go (default: a new folder for temporary files)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    bare = Bare(options.dsn)
    try:
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            results = puts(options.dsn, folder, options.rounds)
            results |= checkpoints(options.dsn, folder, options.rounds, bare)
            results |= reads(options.dsn, folder, options.rounds, bare)
    finally:
        bare.close()
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(f"{value:14,.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
