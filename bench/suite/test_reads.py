"""Reads: of what the memtable has, the cache, or only the backend; a scan; a query with and without an index.

"Cold" is a read that goes to the backend, whose pages the kernel has in memory. What a read costs does not depend on
the sync level: it stands under ``always``.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sessiondb_bench.records import EXACT_BYTES_MIN, REPOSITORIES, key_of, session_record
from sessiondb_bench.subjects import BACKENDS, Subject
from sessiondb_bench.subjects.floors import CODED
from sessiondb_bench.subjects.peers import PEERS
from sessiondb_bench.suite import BATCH, Sizes, Task, fill, label_of

CACHED = ("sqlite", "postgres")
"""The backends whose reads are dear enough for a record cache."""
OTHERS = [pytest.param(name, id=re.sub(r"[^\w]+", "-", name)) for name in ("dict", CODED, *PEERS)]


@pytest.fixture
def some_keys(sizes: Sizes) -> Callable[[int], tuple[str]]:
    """Keys that are there, in no order."""
    numbers = random.Random(3).sample(range(sizes.records), min(sizes.records, 2_000))
    keys = [(key_of(number),) for number in numbers]
    return lambda number: keys[number % len(keys)]


@pytest.fixture
def coded(open_other: Callable[[str], Subject], sizes: Sizes) -> Subject:
    """The floor of every read: a dict look-up and a decode."""
    floor = open_other(CODED)
    fill(floor, sizes)
    return floor


def get_task(subject: Subject, operation: str, keys: Any, floor: Subject, note: str = "") -> Task:
    """One look-up by key."""
    below = None if subject.name == CODED else (CODED, floor.get)
    return Task(label_of(subject), operation, subject.get, keys, below, repeatable=True, note=note)


@pytest.mark.parametrize("backend", BACKENDS)
def test_get_memtable(
    backend: str, open_engine: Any, coded: Subject, some_keys: Any, sizes: Sizes, measured: Any
) -> None:
    subject = open_engine(backend)
    subject.settle = lambda: None
    fill(subject, sizes)
    measured(*get_task(subject, "get (memtable)", some_keys, coded))


@pytest.mark.parametrize("backend", CACHED)
def test_get_cached(
    backend: str, open_engine: Any, coded: Subject, some_keys: Any, sizes: Sizes, measured: Any
) -> None:
    subject = open_engine(backend, cache=1 << 30)
    fill(subject, sizes)
    for number in range(sizes.records):
        subject.get(key_of(number))
    before = subject.db.stats()
    measured(*get_task(subject, "get (cached)", some_keys, coded))
    after = subject.db.stats()
    assert after.cache_hits > before.cache_hits
    assert after.cache_misses == before.cache_misses


@pytest.mark.parametrize("backend", BACKENDS)
def test_get_cold(backend: str, open_engine: Any, coded: Subject, some_keys: Any, sizes: Sizes, measured: Any) -> None:
    subject = open_engine(backend, cache=0)
    fill(subject, sizes)
    measured(*get_task(subject, "get (cold)", some_keys, coded, "the kernel has the pages"))
    assert subject.db.stats().log_records == 0


@pytest.mark.parametrize("name", OTHERS)
def test_get(name: str, open_other: Any, coded: Subject, some_keys: Any, sizes: Sizes, measured: Any) -> None:
    subject = open_other(name)
    fill(subject, sizes)
    measured(*get_task(subject, "get", some_keys, coded, "with whatever cache it has"))


def scan_task(subject: Subject, floor: Subject, sizes: Sizes) -> Task:
    """A hundred records from a key on."""
    room = max(1, sizes.records - BATCH)
    starts = [(key_of(number),) for number in random.Random(4).sample(range(room), min(room, 500))]

    def scanning(scan: Callable[[str, int], Any]) -> Callable[[str], object]:
        return lambda start: deque(scan(start, BATCH), maxlen=0)

    below = None if subject.name == CODED else (CODED, scanning(floor.scan))
    return Task(
        label_of(subject), "scan of 100", scanning(subject.scan), lambda number: starts[number % len(starts)], below,
        repeatable=True, units=min(BATCH, sizes.records), unit="records",
    )  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_scan_of_100(backend: str, open_engine: Any, coded: Subject, sizes: Sizes, measured: Any) -> None:
    subject = open_engine(backend)
    fill(subject, sizes)
    measured(*scan_task(subject, coded, sizes))


@pytest.mark.parametrize("name", OTHERS)
def test_scan_of_100_others(name: str, open_other: Any, coded: Subject, sizes: Sizes, measured: Any) -> None:
    subject = open_other(name)
    fill(subject, sizes)
    measured(*scan_task(subject, coded, sizes))


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no-index"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_find(backend: str, indexed: bool, open_engine: Any, sizes: Sizes, measured: Any) -> None:
    if sizes.record_bytes < EXACT_BYTES_MIN:
        pytest.skip("records so small have no field to look for")
    subject = open_engine(backend, indexes=["repoName"] if indexed else [])
    fill(subject, sizes)
    encode = msgspec.json.encode
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(Any).decode
    records: list[dict[str, Any]] = [session_record(number, sizes.record_bytes) for number in range(sizes.records)]
    images = [encode(record) for record in records]
    names = [(record["repoName"],) for record in records[:REPOSITORIES]]
    of_name = {name: [images[n] for n in range(sizes.records) if records[n]["repoName"] == name] for (name,) in names}

    def find(name: str) -> int:
        return sum(1 for _ in subject.table.find({"repoName": name}))

    def look_up(name: str) -> object:
        return [decode(image) for image in of_name[name]]

    def look_at_all(name: str) -> object:
        return [record for record in map(decode, images) if record["repoName"] == name]

    found = find(names[0][0])
    assert found == len(of_name[names[0][0]]) > 0
    measured(
        label_of(subject), "find (index)" if indexed else "find (no index)", find,
        lambda number: names[number % len(names)], (CODED, look_up if indexed else look_at_all),
        units=found, unit="records", note=f"{found} of the records satisfy it",
    )  # fmt: skip
