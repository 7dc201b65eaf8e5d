"""Memory against data: what a process takes that opens a store of so many records and reads; a memtable's weight.

Each store is opened by a process of its own that has imported everything before the first look. Pages of files that
are mapped (LMDB) are counted apart: the kernel takes them back when it needs them.
"""

from __future__ import annotations

import gc
import random
import time
from importlib import import_module

import sessiondb
from sessiondb.opening import backend_class

from ..records import key_of, session_record
from ..results import Measurement
from .child import run_in_child
from .counting import Resident, resident
from .figures import counted
from .plan import NO_CHECKPOINTS, Plan

__all__ = ["measure"]

DRIVERS = {"sqlite": ("sqlite3",), "lmdb": ("lmdb",), "postgres": ("psycopg",)}
FILLED_AT_ONCE = 20_000


def fill(location: str, count: int, record_bytes: int) -> dict[str, float]:
    """Make a store of so many records, all in the backend."""
    with sessiondb.open(location, sync="never") as database:
        table = database.table("records")
        for start in range(0, count, FILLED_AT_ONCE):
            numbers = range(start, min(start + FILLED_AT_ONCE, count))
            table.put_many((key_of(number), session_record(number, record_bytes)) for number in numbers)
        database.checkpoint()
        return {"backend_bytes": database.stats().backend_bytes or 0}


def _look() -> Resident:
    gc.collect()
    found = resident()
    if found is None:
        raise RuntimeError("this system does not tell the resident memory of a process: there is no /proc/self/status")
    return found


def read_store(backend: str, location: str, count: int, reads: int) -> dict[str, float]:
    """Open, read some records, then all; how long opening took, and what the process had resident after each."""
    backend_class("postgresql" if backend == "postgres" else backend)
    for name in ("portalocker", *DRIVERS.get(backend, ())):  # imported when the first store is opened
        import_module(name)
    before = _look()
    began = time.perf_counter()
    database = sessiondb.open(location)
    open_s = time.perf_counter() - began
    opened = _look()
    table, rng = database.table("records"), random.Random(1)
    for _ in range(reads):
        if table.get(key_of(rng.randrange(count))) is None:
            raise RuntimeError("a record is missing")
    some = _look()
    seen = sum(1 for _ in table.scan())
    everything = _look()
    database.close()
    return {
        "python_and_imports_bytes": before.own + before.mapped,
        "open_ms": open_s * 1000,
        "open_bytes": opened.own - before.own,
        "open_mapped_bytes": opened.mapped - before.mapped,
        "read_some_bytes": some.own - before.own,
        "scanned_bytes": everything.own - before.own,
        "scanned_mapped_bytes": everything.mapped - before.mapped,
        "resident_bytes": some.own + some.mapped,
        "peak_bytes": everything.peak,
        "scanned_records": seen,
    }


def weigh_memtable(location: str, count: int, record_bytes: int) -> dict[str, float]:
    """How much grows when so many records wait for a checkpoint."""
    with sessiondb.open(location, sync="never", **NO_CHECKPOINTS) as database:
        table = database.table("records")
        table.put(key_of(count), session_record(count, record_bytes))  # whatever the first put brings
        before = _look()
        for number in range(count):
            table.put(key_of(number), session_record(number, record_bytes))
        after = _look()
        keys = sum(len(key_of(number)) for number in range(count))
    grown = after.own - before.own
    return {
        "memtable_bytes": grown,
        "memtable_bytes_per_record": grown / count,
        "memtable_bytes_beyond_the_record": (grown - keys) / count - record_bytes,
    }


def measure(plan: Plan) -> list[Measurement]:
    """Each backend at each size; a memtable, which is the same for all."""
    measurements = []
    for backend in plan.backends:
        for count in plan.sizes:
            folder = plan.new_folder()
            location = plan.location(backend, folder)
            counts = run_in_child(fill, location=location, count=count, record_bytes=plan.record_bytes)
            counts["data_bytes"] = count * plan.record_bytes
            counts |= run_in_child(read_store, backend=backend, location=location, count=count, reads=plan.reads)
            measurements.append(
                counted(
                    "memory of a process that reads", backend, counts, guarantee="power",
                    record_bytes=plan.record_bytes, records=count, operations=plan.reads,
                )
            )  # fmt: skip
    location = plan.location("json", plan.new_folder())
    weight = run_in_child(weigh_memtable, location=location, count=plan.memtable, record_bytes=plan.record_bytes)
    measurements.append(
        counted(
            "memory of the memtable", "json", weight, guarantee="kill", sync="never",
            record_bytes=plan.record_bytes, records=plan.memtable, operations=plan.memtable,
        )
    )  # fmt: skip
    return measurements
