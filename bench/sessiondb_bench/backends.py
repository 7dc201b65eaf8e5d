"""The backends against their floors, in one run: ``python -m sessiondb_bench.backends [--dir DIR] [--rounds N]``.

For SQLite and LMDB, and where it makes sense for the JSON file:

* get: `Table.get` of a record that only the backend has, without cache, against a bare ``SELECT`` or LMDB ``get`` (of
  a table of the same records, in a read transaction that is open) plus decode; and with the record in the cache;
* checkpoint: 50,000 records of about 300 bytes moved into the backend, in records a second: by `Database.checkpoint`,
  and by the background thread with its pauses;
* durable `put` while such a checkpoint runs in the background, against the same without one: the 99th percentile;
* open: a store of so many records, in a process of its own: seconds, and resident memory before and after.

Nothing here judges: it prints what it measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

import sessiondb
from sessiondb.checkpoint import Pacer

from .records import session_record

__all__ = ["main"]

RECORD: dict[str, Any] = session_record(4711)
Timer = Callable[[int], float]
"""Does so many operations and returns the seconds that they took."""

SUFFIXES = {"json": ".json", "sqlite": ".db", "lmdb": ".lmdb"}
MOVED = 50_000


def measure(rounds: int, count: int, timers: dict[str, Timer]) -> dict[str, list[float]]:
    """Microseconds per operation of each timer, a figure a round; the timers take turns."""
    results: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            results[name].append(timer(count) / count * 1e6)
    return results


def _records(count: int, start: int = 0) -> dict[str, Any]:
    return {f"task-{number:07}": RECORD for number in range(start, start + count)}


@contextmanager
def _database(folder: str, scheme: str, **options: Any) -> Iterator[sessiondb.Database]:
    path = tempfile.mkdtemp(dir=folder)
    with sessiondb.open(f"{path}/x{SUFFIXES[scheme]}", checkpoint_records=10**9, checkpoint_bytes=10**12,
                        checkpoint_age_s=1e9, **options) as db:  # fmt: skip
        yield db


# ---- get


def _bare_get(scheme: str, folder: str, records: dict[str, Any]) -> Callable[[str], Any]:
    """The floor: one look-up by the library alone."""
    images = [(key, msgspec.json.encode(record)) for key, record in records.items()]
    if scheme == "sqlite":
        path = os.path.join(folder, "bare.db")
        with sqlite3.connect(path) as filling:
            filling.execute("PRAGMA journal_mode=WAL")
            filling.execute("CREATE TABLE t (key TEXT PRIMARY KEY, record TEXT NOT NULL)")
            filling.executemany("INSERT INTO t VALUES (?, CAST(? AS TEXT))", images)
        filling.close()
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        connection.text_factory = bytes
        connection.execute("BEGIN")
        execute = connection.execute
        return lambda key: execute("SELECT record FROM t WHERE key = ?", (key,)).fetchone()[0]
    import lmdb

    environment = lmdb.open(os.path.join(folder, "bare.lmdb"), map_size=1 << 34, max_dbs=4)
    named = environment.open_db(b"t")
    with environment.begin(write=True) as writing:
        writing.cursor(named).putmulti([(key.encode(), image) for key, image in images])
    get = environment.begin().get
    return lambda key: get(key.encode(), db=named)


def _over(keys: list[str], read: Callable[[str], object]) -> Timer:
    def run(count: int) -> float:
        chosen = keys[:count]
        began = time.perf_counter()
        for key in chosen:
            read(key)
        return time.perf_counter() - began

    return run


def gets(scheme: str, folder: str, rounds: int) -> dict[str, Any]:
    """A get of what only the backend has, and of what the cache has."""
    records = _records(20_000)
    keys = random.Random(1).sample(list(records), 5_000)
    with _database(folder, scheme, cache_bytes=0) as db, _database(folder, scheme) as cached_db:
        for database in (db, cached_db):
            database.table("t").put_many(records)
            database.checkpoint()
        decode = msgspec.json.decode
        timers: dict[str, Timer] = {"get": _over(keys, db.table("t").__getitem__)}
        if scheme == "json":
            plain = {key: msgspec.json.encode(record) for key, record in records.items()}
            timers["bare"] = _over(keys, lambda key: decode(plain[key]))
        else:
            bare = _bare_get(scheme, tempfile.mkdtemp(dir=folder), records)
            timers["bare"] = _over(keys, lambda key: decode(bare(key)))
        timers["cached"] = _over(keys, cached_db.table("t").__getitem__)
        results = measure(rounds, len(keys), timers)
    middle = {name: statistics.median(figures) for name, figures in results.items()}
    ratios = [mine / floor for mine, floor in zip(results["get"], results["bare"], strict=True)]
    return {"get_us": middle["get"], "bare_us": middle["bare"], "cached_us": middle["cached"],
            "get_ratio": statistics.median(ratios)}  # fmt: skip


# ---- checkpoint


def _pacer(db: sessiondb.Database) -> Pacer:
    return Pacer(db._open.backend.slice_s)


def checkpoints(scheme: str, folder: str, rounds: int) -> dict[str, Any]:
    """Records a second into the backend: asked for, and in the background."""
    rates: dict[str, list[float]] = {"asked": [], "background": []}
    for _ in range(rounds):
        for how, seconds in rates.items():
            with _database(folder, scheme) as db:
                db.table("t").put_many(_records(MOVED), sync="never")
                db.sync()
                began = time.perf_counter()
                if how == "asked":
                    db.checkpoint()
                else:
                    db._open.checkpointer.run(_pacer(db))
                seconds.append(MOVED / (time.perf_counter() - began))
    return {f"checkpoint_{how}_per_s": round(statistics.median(figures)) for how, figures in rates.items()}


def _puts_while(db: sessiondb.Database, busy: Callable[[], bool]) -> list[float]:
    table, number, latencies = db.table("u"), 0, []
    while busy():
        began = time.perf_counter()
        table.put(f"k{number % 1_000}", RECORD)
        latencies.append(time.perf_counter() - began)
        number += 1
    return latencies


def _p99(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1e6


def puts_beside(scheme: str, folder: str, rounds: int) -> dict[str, Any]:
    """Durable puts of one thread, alone and while 50,000 records are moved."""
    alone: list[float] = []
    beside: list[float] = []
    pooled: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(rounds):
        with _database(folder, scheme) as db:
            db.table("t").put_many(_records(MOVED), sync="never")
            db.sync()
            end = time.perf_counter() + 0.5
            first = _puts_while(db, lambda end=end: time.perf_counter() < end)  # type: ignore[misc]
            thread = threading.Thread(target=db._open.checkpointer.run, args=(_pacer(db),))
            thread.start()
            second = _puts_while(db, thread.is_alive)
            thread.join()
        pooled["alone"] += first
        pooled["beside"] += second
        alone.append(_p99(first))
        beside.append(_p99(second))
    ratios = [busy / quiet for busy, quiet in zip(beside, alone, strict=True)]
    return {"put_p99_alone_us": _p99(pooled["alone"]), "put_p99_beside_us": _p99(pooled["beside"]),
            "put_p99_ratio": statistics.median(ratios), "put_max_beside_us": max(pooled["beside"]) * 1e6}  # fmt: skip


# ---- open

_OPEN = """
import sys, time
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
import sessiondb
if sys.argv[1].endswith(".lmdb"):
    import lmdb
if sys.argv[1].endswith(".db"):
    import sqlite3
before, began = rss(), time.perf_counter()
db = sessiondb.open(sys.argv[1])
opened = time.perf_counter() - began
assert db.table("t").get("task-0000007")["taskId"] == "#4711"
print(opened, before, rss())
db.close()
"""


def opening(scheme: str, folder: str, count: int) -> dict[str, Any]:
    """A store of `count` records, opened in a process of its own."""
    path = f"{tempfile.mkdtemp(dir=folder)}/x{SUFFIXES[scheme]}"
    with sessiondb.open(path, sync="never") as db:
        for start in range(0, count, MOVED):
            db.table("t").put_many(_records(min(MOVED, count - start), start))
        db.checkpoint()
        size = db.stats().backend_bytes or 0
    answer = subprocess.run([sys.executable, "-c", _OPEN, path], check=True, capture_output=True, text=True).stdout
    seconds, before, after = (float(word) for word in answer.split())
    return {"open_records": count, "open_s": seconds, "open_rss_before_mb": before / 1e6, "open_rss_mb": after / 1e6,
            "backend_mb": size / 1e6}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m sessiondb_bench.backends", description=__doc__)
    parser.add_argument("--dir", help="where the stores go (default: a new folder for temporary files)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the store that is opened")
    parser.add_argument("--backend", choices=list(SUFFIXES), action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    results: dict[str, dict[str, Any]] = {}
    for scheme in options.backend or ["sqlite", "lmdb"]:
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            results[scheme] = {
                **gets(scheme, folder, options.rounds),
                **checkpoints(scheme, folder, options.rounds),
                **puts_beside(scheme, folder, options.rounds),
                **opening(scheme, folder, options.records),
            }
        if not options.json:
            print(scheme)
            for name, figure in results[scheme].items():
                print(f"  {name:28} {figure:>14,.2f}" if isinstance(figure, float) else f"  {name:28} {figure:>14,}")
    if options.json:
        print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
