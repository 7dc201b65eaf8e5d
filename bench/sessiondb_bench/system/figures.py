"""Measurements of what was counted, and how measurements are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..histogram import Histogram
from ..results import Guarantee, Kind, Measurement, measured

__all__ = ["counted", "from_latencies", "lines", "median"]


def counted(
    operation: str, store: str, counts: Mapping[str, float], *, guarantee: Guarantee, record_bytes: int, records: int,
    kind: Kind = "sessiondb", operations: int = 1, sync: str = "", threads: int = 1, note: str = "",
) -> Measurement:  # fmt: skip
    """A measurement that holds no times: all of them are 0, the figures are in `counts`."""
    return Measurement(
        operation=operation, store=store, kind=kind, guarantee=guarantee, record_bytes=record_bytes, records=records,
        operations=operations, seconds=0, median_us=0, p95_us=0, p99_us=0, max_us=0, per_second=0, sync=sync,
        threads=threads, counts=dict(counts), note=note,
    )  # fmt: skip


def from_latencies(
    operation: str, store: str, latencies_ns: Iterable[int], *, guarantee: Guarantee, counts: Mapping[str, float],
    kind: Kind = "sessiondb", **fields: Any,
) -> Measurement:  # fmt: skip
    """A measurement of single latencies in nanoseconds; `fields` as `measured` has them, seconds are their sum."""
    histogram = Histogram()
    histogram.add_all(latencies_ns)
    seconds = fields.pop("seconds", histogram.total_ns / 1e9)
    made = measured(operation, store, kind, guarantee, histogram, seconds=seconds, **fields)
    made.counts = dict(counts)
    return made


def median(values: Iterable[float]) -> float:
    """The middle one, the mean of the two in the middle; of none: 0."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return 0.0
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def lines(measurements: Iterable[Measurement]) -> list[str]:
    """Each measurement as text: what, where, times if there are any, counts below."""
    printed = []
    for one in measurements:
        how = [one.store, *([f"sync {one.sync}"] if one.sync else []), f"{one.records:,} records"]
        how += [f"{one.threads} threads"] if one.threads > 1 else []
        printed.append(f"{one.operation}: {', '.join(how)}")
        if one.operations and one.max_us:
            printed.append(
                f"    median {one.median_us:,.0f} us, p95 {one.p95_us:,.0f}, p99 {one.p99_us:,.0f}, "
                f"max {one.max_us:,.0f}; {one.per_second:,.0f} {one.unit}/s"
            )
        if one.ratio is not None:
            printed.append(f"    {one.ratio:.2f} times {one.floor}")
        printed += [f"    {name:32} {_number(value):>16}" for name, value in one.counts.items()]
        printed += [f"    {one.note}"] if one.note else []
    return printed


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 or value == int(value) else f"{value:,.3f}"
