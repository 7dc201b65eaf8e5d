"""How long a put and a get take here: a quick measurement, one thread, one after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sessiondb

__all__ = ["Latency", "measure"]

OPERATIONS_MAX = 20_000


class Latency(NamedTuple):
    """Times of one kind of operation, in microseconds."""

    what: str
    operations: int
    p50_us: float
    p99_us: float


def measure(location: str, records: Sequence[tuple[str, Any]], seconds: float) -> list[Latency]:
    """Measure in a store of its own, each kind for a third of the time."""
    share = seconds / 3
    with sessiondb.open(location) as db:
        table = db.table("records")
        durable = _time("put, durable", records, share, lambda key, record: table.put(key, record))
        table.put_many(records)
        fast = _time("put, sync='never'", records, share, lambda key, record: table.put(key, record, sync="never"))
        read = _time("get", records, share, lambda key, _: table.get(key))
    return [durable, fast, read]


def _time(what: str, records: Sequence[tuple[str, Any]], seconds: float, call: Callable[[str, Any], object]) -> Latency:
    clock = time.perf_counter_ns
    stop = clock() + int(seconds * 1e9)
    times: list[int] = []
    for key, record in itertools.islice(itertools.cycle(records), OPERATIONS_MAX):
        began = clock()
        call(key, record)
        ended = clock()
        times.append(ended - began)
        if ended >= stop:
            break
    times.sort()
    middle, high = (times[min(len(times) - 1, int(len(times) * share))] / 1000 for share in (0.5, 0.99))
    return Latency(what, len(times), middle, high)
