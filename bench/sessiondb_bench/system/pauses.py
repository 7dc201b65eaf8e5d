"""What writers see of a checkpoint: durable puts while one runs in the background, and without one.

One thread puts, first alone and then while the checkpoint of `Plan.moved` records runs in another thread, with the
pauses that the background thread makes. Both parts are taken in every round, on the same store, so that the ratio of
their 99th percentiles is of one minute on one machine. The longest wait is not hidden behind the percentile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import sessiondb
from sessiondb.checkpoint import Pacer

from ..histogram import Histogram
from ..records import key_of, session_record
from ..results import Measurement, measured
from .figures import median
from .plan import Plan

__all__ = ["Pauses", "measure", "watch"]

WRITERS_KEYS = 1_000


class Pauses(NamedTuple):
    """One round."""

    alone: list[int]
    """Latencies of puts without a checkpoint, in nanoseconds."""
    beside: list[int]
    """The same while one ran."""
    seconds: float
    """How long it ran."""


def puts_while(database: sessiondb.Database, record_bytes: int, busy: Callable[[], bool]) -> list[int]:
    """Durable puts, one after the other, for as long as it is busy; at least one."""
    latencies: list[int] = []
    table, clock = database.table("others"), time.perf_counter_ns
    keys = [key_of(number) for number in range(WRITERS_KEYS)]
    records = [session_record(number, record_bytes) for number in range(WRITERS_KEYS)]
    number = 0
    while not latencies or busy():
        key, record = keys[number % WRITERS_KEYS], records[number % WRITERS_KEYS]
        began = clock()
        table.put(key, record, sync="always")
        latencies.append(clock() - began)
        number += 1
    return latencies


def watch(plan: Plan, backend: str) -> Pauses:
    """One round on a new store."""
    with plan.database(backend) as database:
        table = database.table("records")
        table.put_many(
            ((key_of(number), session_record(number, plan.record_bytes)) for number in range(plan.moved)), sync="never"
        )
        database.sync()
        end = time.perf_counter() + plan.alone_s
        alone = puts_while(database, plan.record_bytes, lambda: time.perf_counter() < end)
        checkpointer, slice_s = database._open.checkpointer, database._open.backend.slice_s
        took: list[float] = []
        errors: list[BaseException] = []

        def checkpoint() -> None:
            began = time.perf_counter()
            try:
                checkpointer.run(Pacer(slice_s))
                took.append(time.perf_counter() - began)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
                errors.append(error)

        thread = threading.Thread(target=checkpoint)
        thread.start()
        beside = puts_while(database, plan.record_bytes, thread.is_alive)
        thread.join()
        if errors:
            raise errors[0]
        return Pauses(alone, beside, took[0])


def checkpoint_rates(plan: Plan, backend: str) -> list[float]:
    """Records per second moved by `Database.checkpoint`, nobody writing, one figure a round."""
    rates = []
    for _ in range(plan.rounds):
        with plan.database(backend) as database:
            database.table("records").put_many(
                ((key_of(number), session_record(number, plan.record_bytes)) for number in range(plan.moved)),
                sync="never",
            )
            database.sync()
            began = time.perf_counter()
            database.checkpoint()
            rates.append(plan.moved / (time.perf_counter() - began))
    return rates


def _histogram(latencies: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add_all(latencies)
    return histogram


def _counts(histogram: Histogram, latencies: list[int]) -> dict[str, float]:
    return {
        "p999_us": histogram.percentile_us(99.9),
        "over_1_ms": sum(latency > 1_000_000 for latency in latencies),
        "over_5_ms": sum(latency > 5_000_000 for latency in latencies),
        "over_20_ms": sum(latency > 20_000_000 for latency in latencies),
    }


def measure(plan: Plan) -> list[Measurement]:
    """Puts alone, puts beside a checkpoint, and the checkpoint's own rate, on each backend."""
    measurements = []
    for backend in plan.backends:
        rounds = [watch(plan, backend) for _ in range(plan.rounds)]
        ratios = [
            _histogram(each.beside).percentile_us(99) / _histogram(each.alone).percentile_us(99) for each in rounds
        ]
        for name, parts in {
            "put without a checkpoint": [each.alone for each in rounds],
            "put beside a checkpoint": [each.beside for each in rounds],
        }.items():
            latencies = [latency for part in parts for latency in part]
            histogram = _histogram(latencies)
            one = measured(
                name, backend, "sessiondb", "power", histogram, seconds=histogram.total_ns / 1e9, sync="always",
                record_bytes=plan.record_bytes, records=plan.moved,
            )  # fmt: skip
            one.counts = _counts(histogram, latencies)
            if "beside" in name:
                one.counts["p99_ratio_to_without"] = median(ratios)
            measurements.append(one)
        measurements.append(_rates(plan, backend, [each.seconds for each in rounds]))
    return measurements


def _rates(plan: Plan, backend: str, beside_writers: list[float]) -> Measurement:
    """The checkpoint itself: in the background beside a writer, and asked for."""
    histogram = _histogram([int(seconds * 1e9) for seconds in beside_writers])
    one = measured(
        "checkpoint", backend, "sessiondb", "power", histogram, seconds=histogram.total_ns / 1e9,
        record_bytes=plan.record_bytes, records=plan.moved, units=plan.moved * len(beside_writers), unit="records",
        note="in the background, with its pauses, beside one thread that puts durably",
    )  # fmt: skip
    one.counts = {
        "records_per_second_beside_a_writer": median(plan.moved / seconds for seconds in beside_writers),
        "records_per_second_asked_for": median(checkpoint_rates(plan, backend)),
    }
    return one
