"""How long a put and a get take here: a quick measurement, one thread, one call after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sessiondb

__all__ = ["Latency", "measure", "table_rows"]

OPERATIONS_MAX = 20_000
KINDS = 4


class Latency(NamedTuple):
    """Times of one kind of operation, in microseconds."""

    what: str
    operations: int
    p50_us: float
    p99_us: float


def measure(location: str, records: Sequence[tuple[str, Any]], seconds: float) -> list[Latency]:
    """Measure in a store of its own, each kind for its share of the time.

    The cache is off: a few records, read again and again, would come from nowhere else.
    """
    share = seconds / KINDS
    with sessiondb.open(location, cache_bytes=0) as db:
        table = db.table("records")
        durable = _time("put, durable", records, share, lambda key, record: table.put(key, record))
        fast = _time("put, sync='never'", records, share, lambda key, record: table.put(key, record, sync="never"))
        table.put_many(records)
        written = _time("get, just written", records, share, lambda key, _: table.get(key))
        db.checkpoint()
        read = _time("get, checkpointed", records, share, lambda key, _: table.get(key))
    return [durable, fast, written, read]


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


def table_rows(measured: Sequence[tuple[str, Sequence[Latency]]]) -> list[tuple[str, ...]]:
    """A table for people: of each kind of operation a line for each backend, so that they can be compared.

    Args:
        measured: what was measured of each backend.
    """
    rows: list[tuple[str, ...]] = [("", "", "p50", "p99", "calls")]
    for kind in zip(*(latencies for _, latencies in measured), strict=True):
        for index, (what, number, p50, p99) in enumerate(kind):
            backend = measured[index][0]
            rows.append(("" if index else what, backend, f"{p50:,.1f} us", f"{p99:,.1f} us", f"{number:,}"))
    return rows
