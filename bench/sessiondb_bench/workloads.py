"""The workloads, by the names that people know, and the operations that each of them is made of.

From YCSB, the core workloads A to F (github.com/brianfrankcooper/YCSB, folder ``workloads``; Cooper et al., SoCC 2010),
with its mixes, its distributions (`sessiondb_bench.keys`) and its scans of 1 to 100 records. Different here: an update
writes a whole record (YCSB's ``writeallfields=true``), records are session records of a size that is chosen, and keys
are inserted in their order (``insertorder=ordered``).

From db_bench of LevelDB and RocksDB (github.com/google/leveldb, ``benchmarks/db_bench.cc``;
github.com/facebook/rocksdb, ``tools/db_bench_tool.cc``): fillseq, fillrandom, fillsync, overwrite, readrandom, readseq,
readwhilewriting. Different here: whether a write waits for the disk is not the workload's choice but the store's (its
sync level), except for fillsync, in which only stores take part that do wait; and a read that finds nothing is an
error.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count, islice, repeat
from random import Random
from typing import Any, Literal, NamedTuple

from .keys import latest, scrambled_zipfian, uniform
from .records import key_of, session_record

__all__ = ["FAMILIES", "WORKLOADS", "Kind", "Sizes", "Step", "Workload", "is_mixed", "record_pool", "steps"]

Kind = Literal["read", "update", "insert", "modify", "scan", "write", "next"]
"""``modify`` reads a record, changes a field and writes it; ``next`` reads on in the order of keys."""

SCAN_MAX = 100
"""Records of the longest scan, YCSB's ``maxscanlength``; lengths are uniform from 1."""
SEQUENCE = 100
"""Records that ``next`` reads."""
STEPS_MAX = 100_000
"""Of one thread in one turn: they are made before the clock starts, and lie in memory."""
POOL = 500
POOL_BYTES = 16 << 20
"""Different records that are loaded, and others that are written: so many, unless they are so large."""
FIELD = "commitCount"
"""What ``modify`` changes: to a number that no record was loaded with, and to another one each time."""


class Workload(NamedTuple):
    """What is done to a store.

    Attributes:
        summary: in a few words, for tables and the help.
        mix: kinds of operations and how often each, adding up to 1.
        keys: how records are chosen: ``zipfian``, ``latest``, ``uniform`` or ``in order``.
        loaded: the store holds its records before the clock starts, and they were moved to where it reads them from.
        share: how many operations, for each record in the store.
        synced_only: only for stores whose writes survive a power cut.
        has_writer: one more thread overwrites records meanwhile; it is not counted.
    """

    summary: str
    mix: dict[Kind, float]
    keys: Literal["zipfian", "latest", "uniform", "in order"]
    loaded: bool = True
    share: float = 1.0
    synced_only: bool = False
    has_writer: bool = False


WORKLOADS: dict[str, Workload] = {
    "ycsb-a": Workload("50 % reads, 50 % updates, zipfian", {"read": 0.5, "update": 0.5}, "zipfian"),
    "ycsb-b": Workload("95 % reads, 5 % updates, zipfian", {"read": 0.95, "update": 0.05}, "zipfian"),
    "ycsb-c": Workload("reads only, zipfian", {"read": 1.0}, "zipfian"),
    "ycsb-d": Workload("95 % reads of the latest, 5 % inserts", {"read": 0.95, "insert": 0.05}, "latest"),
    "ycsb-e": Workload(f"95 % scans of 1 to {SCAN_MAX} records, 5 % inserts, zipfian",
                       {"scan": 0.95, "insert": 0.05}, "zipfian", share=0.1),
    "ycsb-f": Workload("50 % reads, 50 % read-modify-writes, zipfian", {"read": 0.5, "modify": 0.5}, "zipfian"),
    "fillseq": Workload("writes into an empty store, in the order of keys", {"write": 1.0}, "in order", loaded=False),
    "fillrandom": Workload("writes into an empty store, in any order", {"write": 1.0}, "uniform", loaded=False),
    "fillsync": Workload(
        "fillrandom, a hundredth of it, each write synced", {"write": 1.0}, "uniform", False, 0.01, synced_only=True
    ),
    "overwrite": Workload("replaces records, in any order", {"write": 1.0}, "uniform"),
    "readrandom": Workload("reads, in any order", {"read": 1.0}, "uniform"),
    "readseq": Workload(f"reads all in the order of keys, {SEQUENCE} an operation", {"next": 1.0}, "in order",
                        share=1 / SEQUENCE),
    "readwhilewriting": Workload("reads, in any order, while one more thread overwrites", {"read": 1.0}, "uniform",
                                 has_writer=True),
}  # fmt: skip

FAMILIES: dict[str, list[str]] = {
    "ycsb": [name for name in WORKLOADS if name.startswith("ycsb-")],
    "db_bench": [name for name in WORKLOADS if not name.startswith("ycsb-")],
    "all": list(WORKLOADS),
}
"""Names for several workloads at once."""


def is_mixed(operation: str) -> bool:
    """Whether an operation of a result is a whole workload of several kinds, whose median says nothing."""
    workload = WORKLOADS.get(operation)
    return workload is not None and len(workload.mix) > 1


class Sizes(NamedTuple):
    """How much there is of everything."""

    records: int
    record_bytes: int
    threads: int
    seed: int = 1


class Step(NamedTuple):
    """One operation: what, and with which arguments."""

    kind: Kind
    arguments: tuple[Any, ...]


def steps(name: str, sizes: Sizes, thread: int, turn: int) -> list[Step]:
    """What one of the threads does in a turn: always the same for the same arguments.

    Args:
        name: of the workload; with `Workload.has_writer`, thread number `sizes.threads` is the writer.
        sizes: of the store and the work.
        thread: from 0.
        turn: from 0; another turn has other operations on the same records.
    """
    random = Random(f"{sizes.seed}/{name}/{thread}/{turn}")
    workload = WORKLOADS["overwrite" if thread == sizes.threads else name]
    number = max(1, int(sizes.records // sizes.threads * workload.share))
    make = _in_order if workload.keys == "in order" else _drawn
    return list(islice(make(workload, sizes, thread, random), min(number, STEPS_MAX)))


def _in_order(workload: Workload, sizes: Sizes, thread: int, _: Random) -> Iterator[Step]:
    """Every thread has a part of the keys of its own."""
    part = sizes.records // sizes.threads
    if "next" in workload.mix:
        yield from repeat(Step("next", (key_of(thread * part), part, SEQUENCE)))
    pool = record_pool(sizes.record_bytes)
    for number in range(thread * part, (thread + 1) * part):
        yield Step("write", (key_of(number), pool[number % len(pool)]))


def _drawn(workload: Workload, sizes: Sizes, thread: int, random: Random) -> Iterator[Step]:
    """Kinds and records by chance; endless."""
    pool = record_pool(sizes.record_bytes, others=True)
    kinds, weights = list(workload.mix), list(workload.mix.values())
    inserted = 0

    def number_at(position: int) -> int:
        """What is at a position of the records that this thread knows of: those loaded, then its own, by age."""
        behind = position - sizes.records
        return position if behind < 0 else sizes.records + behind * sizes.threads + thread

    if workload.keys == "latest":
        draw, grow = latest(random, sizes.records)
    else:
        draw, grow = (uniform if workload.keys == "uniform" else scrambled_zipfian)(random, sizes.records), _ignore
    for turn in count():
        kind = kinds[0] if len(kinds) == 1 else random.choices(kinds, weights)[0]
        if kind == "insert":
            yield Step("insert", (key_of(number_at(sizes.records + inserted)), pool[turn % len(pool)]))
            inserted += 1
            grow(sizes.records + inserted)
            continue
        key = key_of(number_at(draw()))
        if kind == "read":
            yield Step("read", (key,))
        elif kind == "scan":
            yield Step("scan", (key, 1 + int(random.random() * SCAN_MAX)))
        elif kind == "modify":
            yield Step("modify", (key, {FIELD: 100 + turn % 900}))
        else:
            yield Step(kind, (key, pool[turn % len(pool)]))


def _ignore(count: int) -> None:
    """More records change nothing about a draw of those that were loaded."""


@cache
def record_pool(record_bytes: int, *, others: bool = False) -> list[dict[str, Any]]:
    """Different records of a size, to be stored in turn.

    A store may notice that it is given what it has, and write nothing (SQLite does): so what is loaded is replaced by
    `others`, and by another one each time.
    """
    size = max(4, min(POOL, POOL_BYTES // record_bytes))
    return [session_record(number, record_bytes) for number in range(size * others, size * (1 + others))]
