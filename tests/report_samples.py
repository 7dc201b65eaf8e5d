"""Runs as the suite would write them, with numbers like real ones, the same for the same seed."""

from __future__ import annotations

import random
from typing import Any

from sessiondb_bench.histogram import Histogram
from sessiondb_bench.results import Environment, Guarantee, Kind, Measurement, Run, measured

ENVIRONMENT = Environment(
    machine="x86_64",
    cpu="Intel(R) Xeon(R) Processor @ 2.80GHz",
    cores=2,
    memory_bytes=8 * 1024**3,
    system="Linux 6.18",
    python="CPython 3.11.7",
    file_system="ext4 (data=ordered)",
    versions={"sqlite": "3.51.3", "sessiondb": "0.1.0", "msgspec": "0.22", "lmdb": "2.1.1", "matplotlib": "3.11.2"},
    load_before=0.21,
    load_after=1.4,
)
Store = tuple[str, Kind, Guarantee, str, float]
"""Name, whose, guarantee, sync, and how many times the floor's time it takes."""
ENGINE: list[Store] = [
    ("json", "sessiondb", "power", "always", 1.08),
    ("sqlite", "sessiondb", "power", "always", 1.09),
    ("lmdb", "sessiondb", "power", "always", 1.07),
    ("postgres", "sessiondb", "power", "always", 8.3),
    ("json", "sessiondb", "kill", "interval", 0.066),
    ("sqlite", "sessiondb", "kill", "interval", 0.067),
    ("lmdb", "sessiondb", "kill", "interval", 0.068),
    ("memory", "sessiondb", "nothing", "", 0.05),
]
FLOORS: list[Store] = [
    ("pwrite + fdatasync, zero-filled", "floor", "power", "", 1.0),
    ("pwrite + fdatasync, growing", "floor", "power", "", 1.42),
    ("pwrite", "floor", "kill", "", 0.03),
    ("dict + msgspec", "floor", "nothing", "", 0.008),
]
PEERS: list[Store] = [
    ("sqlite3 WAL FULL", "peer", "power", "synchronous=FULL", 2.4),
    ("sqlite3 WAL NORMAL", "peer", "kill", "synchronous=NORMAL", 0.19),
    ("lmdb sync", "peer", "power", "sync=True, metasync=True", 2.1),
    ("rocksdict sync", "peer", "power", "WriteOptions(sync=True)", 1.25),
    ("rocksdict", "peer", "kill", "WriteOptions(sync=False), raw mode, msgspec JSON", 0.035),
    ("plyvel", "peer", "kill", "sync=False", 0.045),
    ("diskcache with its default settings of SQLite", "peer", "kill", "WAL, synchronous=NORMAL", 0.9),
    ("sqlitedict autocommit", "peer", "power", "journal_mode=DELETE, synchronous=FULL", 9.5),
    ("TinyDB", "peer", "nothing", "", 40.0),
    ("ZODB FileStorage", "peer", "power", "", 4.5),
]
OPERATIONS = {
    "put": 115.0, "get (memtable)": 0.4, "get (cold)": 4.2, "patch": 118.0, "delete": 112.0, "scan": 260.0,
    "batch of 100": 410.0, "query (index)": 190.0, "query (no index)": 9400.0, "checkpoint": 310_000.0,
}  # fmt: skip


def histogram_of(median_us: float, count: int, chance: random.Random, tail: float = 0.01) -> Histogram:
    histogram = Histogram()
    for _ in range(count):
        latency = chance.lognormvariate(0, 0.16) * median_us
        histogram.add(int(1000 * latency * (chance.uniform(2, 30) if chance.random() < tail else 1)) + 1)
    return histogram


def measurement(
    operation: str = "put", store: str = "json", kind: Kind = "sessiondb", guarantee: Guarantee = "power",
    median_us: float = 118.0, *, count: int = 400, seed: int = 1, **fields: Any,
) -> Measurement:  # fmt: skip
    """One, with a histogram of its own; fields of `Measurement` may be given."""
    histogram = histogram_of(median_us, count, random.Random(f"{seed}{operation}{store}{fields}"))
    given = {
        name: fields.pop(name) for name in ("records", "record_bytes", "threads", "sync", "unit") if name in fields
    }
    seconds = histogram.total_ns / 1e9 / given.get("threads", 1)
    made = measured(
        operation, store, kind, guarantee, histogram, seconds=seconds,
        **{"records": 100_000, "record_bytes": 300, "sync": "always" if kind == "sessiondb" else "", **given},
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def run_of(measurements: list[Measurement], **fields: Any) -> Run:
    given: dict[str, Any] = {
        "command": "pytest bench", "suite": "latency", "started": "2026-11-22T21:52:00+00:00", "version": "0.1.0",
        "commit": "47f875c0a1b2", "environment": ENVIRONMENT,
    }  # fmt: skip
    return Run(**{**given, **fields}, measurements=measurements)


def small_run(**fields: Any) -> Run:
    """One backend, two operations."""
    floor = {"floor": "pwrite + fdatasync, zero-filled", "ratio": 1.07}
    return run_of(
        [measurement("put", **floor), measurement("get (cold)", median_us=1.3)],  # type: ignore[arg-type]
        **fields,
    )


def large_run(seed: int = 1, *, count: int = 400, **fields: Any) -> Run:
    """Five backends, floors and ten peers; every operation, threads, sizes, pauses and counts."""
    chance = random.Random(seed)
    made = []
    for operation, base in OPERATIONS.items():
        for store, kind, guarantee, sync, times in ENGINE + FLOORS + PEERS:
            wobble = chance.uniform(0.93, 1.08)
            reads = "get" in operation or "query" in operation
            median = base * wobble * (times if not reads else 1 + times**0.3 / 4)
            has_ratio = kind == "sessiondb" and store != "postgres"
            floor, least = next((name, least) for name, _, same, _, least in FLOORS if same == guarantee)
            below = base if reads else base * least
            extra: dict[str, Any] = {"ratio": median / below, "floor": floor} if has_ratio else {}
            if store == "TinyDB":
                extra |= {"records": 1_000, "note": "with 1,000 records: it rewrites its file at every put"}
            made.append(
                measurement(operation, store, kind, guarantee, median, sync=sync, count=count, seed=seed, **extra)
            )
    made += _threads(seed, count) + _sizes(seed, count) + _pauses(seed, count)
    return run_of(made, **fields)


def _threads(seed: int, count: int) -> list[Measurement]:
    return [
        measurement(
            "ycsb-a", store, kind, guarantee, 115 * times * threads ** (0.35 if guarantee == "power" else 0.8),
            threads=threads, sync=sync, count=count, seed=seed,
        )
        for store, kind, guarantee, sync, times in ENGINE + FLOORS[:1] + PEERS[:8]
        for threads in (1, 2, 4, 8)
    ]  # fmt: skip


def _sizes(seed: int, count: int) -> list[Measurement]:
    return [
        measurement(
            "readrandom", store, kind, guarantee, 2 * times**0.2 * (1 + records / 400_000), records=records, sync=sync,
            count=count, seed=seed, counts={"resident_bytes": 25e6 + 60 * records * times**0.1},
        )
        for store, kind, guarantee, sync, times in ENGINE + PEERS[:3]
        for records in (100, 1_000, 10_000, 100_000, 1_000_000)
    ]  # fmt: skip


def _pauses(seed: int, count: int) -> list[Measurement]:
    made = []
    for store in ("json", "sqlite", "lmdb"):
        made.append(measurement("put without a checkpoint", store, count=count, seed=seed))
        beside = measurement("put beside a checkpoint", store, median_us=190, count=count, seed=seed)
        beside.counts = {"p99_ratio_to_without": 2.1, "over_5_ms": 3, "p999_us": 9_400}
        made.append(beside)
    return made
