"""The engine against its floors, in one run: ``python -m sessiondb_bench.ratios [--dir DIR] [--rounds N] [--json]``.

Machines are shared and noisy, so every figure is a ratio to a floor that was measured in the same run, round by
round in turn; the median round counts. Nothing here judges: it prints what it measured.

* durable put: `Table.put` at level ``always`` against pwrite + fdatasync of a frame's bytes into a zero-filled file;
* unsynced put: at level ``never``, in microseconds, beside RocksDB through rocksdict with encoding;
* get: `Table.get` against a dict look-up and msgspec decode;
* JSON put against the number of records in the file: 100,000 against 100;
* replay: transactions a second while opening after a kill;
* group commit: syncs per commit with 8 threads (counted, not timed).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

import sessiondb
from sessiondb.wal.format import encode_frame
from sessiondb.wal.operations import Put, encode_operations

__all__ = ["main"]

RECORD: dict[str, Any] = {
    "session": "task-4711",
    "repoName": "local/example",
    "repoUrl": "https://example.org/local/example.git",
    "branch": "task-4711-storage-engine",
    "createdAt": "2025-06-23T16:46:12.144Z",
    "taskId": "#4711",
    "backendType": "markdown",
    "prState": {"exists": True, "number": 17, "lastChecked": "2025-06-24T08:00:00.000Z"},
    "tags": ["storage", "wal"],
}
"""A session record of about 300 bytes."""

Timer = Callable[[int], float]
"""Does so many operations and returns the seconds that they took."""


class Record(msgspec.Struct, rename="camel"):
    """The same record with a type."""

    session: str
    repo_name: str
    repo_url: str
    branch: str
    created_at: str
    task_id: str
    backend_type: str
    pr_state: dict[str, Any]
    tags: list[str]


def measure(rounds: int, count: int, timers: dict[str, Timer]) -> dict[str, list[float]]:
    """Microseconds per operation of each timer, a figure a round; the timers take turns."""
    results: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            results[name].append(timer(count) / count * 1e6)
    return results


def timed(operation: Callable[[int], object]) -> Timer:
    """A timer of an operation that is called with a running number."""
    number = 0

    def run(count: int) -> float:
        nonlocal number
        numbers = range(number, number + count)
        number += count
        began = time.perf_counter()
        for each in numbers:
            operation(each)
        return time.perf_counter() - began

    return run


def bare_durable(path: str) -> Callable[[int], object]:
    """Pwrite + fdatasync of a frame into a zero-filled file, as the floor of a durable put."""
    payload = encode_operations([Put("records", "k0000000", msgspec.json.encode(RECORD))])
    frame, _ = encode_frame(1, 1, payload, 0, 0, 0, 1)
    size = 64 << 20
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for offset in range(0, size, 1 << 20):
        os.pwrite(descriptor, bytes(1 << 20), offset)
    os.fsync(descriptor)
    position = 0

    def write(_: int) -> None:
        nonlocal position
        os.pwrite(descriptor, frame, position)
        os.fdatasync(descriptor)
        position = (position + len(frame)) % (size - len(frame))

    return write


def rocks_puts(folder: str) -> dict[str, Timer]:
    """RocksDB through its Python binding: bytes encoded by msgspec, and its own encoding; empty where not installed."""
    try:
        from rocksdict import Options, Rdict
    except ImportError:
        return {}
    raw, own = Rdict(f"{folder}/rocks", Options(raw_mode=True)), Rdict(f"{folder}/rocks-own")
    encode = msgspec.json.encode

    def put_raw(number: int) -> None:
        raw[b"k%07d" % (number % 20_000)] = encode(RECORD)

    def put_own(number: int) -> None:
        own[f"k{number % 20_000:07}"] = RECORD

    return {"rocksdict, raw mode and msgspec": timed(put_raw), "rocksdict, its own encoding": timed(put_own)}


def puts(rounds: int, folder: str) -> dict[str, Any]:
    """Durable and unsynced puts against their floors."""
    with (
        sessiondb.open(f"{folder}/durable.json", checkpoint_age_s=1e6) as durable,
        sessiondb.open(f"{folder}/unsynced.json", sync="never", checkpoint_age_s=1e6) as unsynced,
    ):
        table, typed = durable.table("records"), unsynced.table("typed", Record)
        fast = unsynced.table("records")
        record = msgspec.convert(RECORD, Record)
        synced = measure(
            rounds,
            400,
            {
                "bare": timed(bare_durable(f"{folder}/bare")),
                "put": timed(lambda n: table.put(f"k{n % 20_000:07}", RECORD)),
            },
        )
        timers = {
            "dict": timed(lambda n: fast.put(f"k{n % 20_000:07}", RECORD)),
            "struct": timed(lambda n: typed.put(f"k{n % 20_000:07}", record)),
        }
        quick = measure(rounds, 2_000, timers | rocks_puts(folder))
    ratios = [mine / floor for mine, floor in zip(synced["put"], synced["bare"], strict=True)]
    return {
        "durable put, ratio to bare pwrite + fdatasync": statistics.median(ratios),
        "durable put, us": statistics.median(synced["put"]),
        "bare pwrite + fdatasync, us": statistics.median(synced["bare"]),
        **{f"unsynced put ({name}), us": statistics.median(figures) for name, figures in quick.items()},
    }


def gets(rounds: int, folder: str) -> dict[str, Any]:
    """Gets against a dict look-up and decode, from the memtable and from the backend's state."""
    encoded = {f"k{n:07}": msgspec.json.encode(RECORD) for n in range(20_000)}
    keys = list(encoded)
    decode = msgspec.json.Decoder(Any).decode
    decode_typed = msgspec.json.Decoder(Record).decode
    with sessiondb.open(f"{folder}/get.json", sync="never", checkpoint_age_s=1e6) as database:
        table, typed = database.table("records"), database.table("records", Record)
        table.put_many((key, RECORD) for key in keys)
        floors: dict[str, Timer] = {
            "floor": timed(lambda n: decode(encoded[keys[n % 20_000]])),
            "floor typed": timed(lambda n: decode_typed(encoded[keys[n % 20_000]])),
        }
        fresh = {"get": timed(lambda n: table[keys[n % 20_000]]), "typed": timed(lambda n: typed[keys[n % 20_000]])}
        memtable = measure(rounds, 5_000, {**floors, **fresh})
        database.checkpoint()
        backend = measure(rounds, 5_000, {**floors, **fresh})
    return {
        "get from the memtable, ratio to dict + decode": _ratio(memtable["get"], memtable["floor"]),
        "get from the JSON backend, ratio to dict + decode": _ratio(backend["get"], backend["floor"]),
        "typed get from the memtable, ratio to dict + decode": _ratio(memtable["typed"], memtable["floor typed"]),
        "dict + decode, us": statistics.median(memtable["floor"]),
    }


def sizes(rounds: int, folder: str) -> dict[str, Any]:
    """Puts into a small and into a large JSON store."""
    timers = {}
    databases = []
    for count in (100, 100_000):
        database = sessiondb.open(f"{folder}/size{count}.json", sync="never", checkpoint_age_s=1e6)
        table = database.table("records")
        for start in range(0, count, 10_000):
            table.put_many((f"k{n:07}", RECORD) for n in range(start, min(start + 10_000, count)))
        database.checkpoint()
        timers[str(count)] = timed(lambda n, t=table, c=count: t.put(f"k{n % c:07}", RECORD))  # type: ignore[misc]
        databases.append(database)
    figures = measure(rounds, 1_000, timers)
    for database in databases:
        database.close()
    return {"JSON put with 100,000 records, ratio to 100": _ratio(figures["100000"], figures["100"])}


def replay(folder: str) -> dict[str, Any]:
    """Opening a log of 50,000 single puts, as after a kill."""
    path = f"{folder}/replay.json"
    child = os.fork()
    if child == 0:
        database = sessiondb.open(path, sync="never", checkpoint_bytes=1 << 30, checkpoint_records=1 << 30)
        table = database.table("records")
        for number in range(50_000):
            table.put(f"k{number:07}", RECORD)
        os._exit(0)
    os.waitpid(child, 0)
    rates = []
    for _ in range(5):
        with sessiondb.open(path, read_only=True) as database:
            report = database.recovery_report
        rates.append(report.transactions / (report.duration_ms / 1000))
    return {
        "replay, transactions/s (median of 5 openings)": statistics.median(rates),
        "replay, transactions": report.transactions,
    }


def group_commit(folder: str) -> dict[str, Any]:
    """Syncs per commit with eight threads."""
    with sessiondb.open(f"{folder}/group.json") as database:
        table = database.table("records")

        def work(thread: int) -> None:
            for number in range(200):
                table.put(f"{thread}-{number}", RECORD)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        stats = database.stats()
    return {"8 threads, syncs per commit": stats.syncs / stats.commits, "8 threads, commits/s": stats.commits / seconds}


def _ratio(mine: list[float], floor: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, floor, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m sessiondb_bench.ratios", description=__doc__.split("\n")[0])
    parser.add_argument("--dir", help="where to work; a temporary folder on the default disk when left out")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        results = {**replay(folder), **puts(options.rounds, folder), **gets(options.rounds, folder)}
        results |= sizes(options.rounds, folder) | group_commit(folder)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(f"{value:14,.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
