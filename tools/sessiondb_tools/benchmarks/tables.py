"""Results as tables for people. What does not survive the same is never in one group, and nothing is ranked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from sessiondb_bench.comparing import FEW, Change, Comparison
from sessiondb_bench.results import Measurement, Run
from sessiondb_bench.workloads import WORKLOADS, is_mixed

from ..output import count, print_table

__all__ = ["label", "print_comparison", "print_run"]

SURVIVES = {"power": "survives a power cut", "kill": "survives kill -9 only", "nothing": "survives nothing"}
LEGEND = """\
Groups say what a write survives once it has returned: compare within a group only. Latencies are of one operation.
x floor: p50 as a multiple of the least that it can cost, a read from a dict or a bare write of a file, in this run.
"""
HEAD = ("", "measured", "p50", "p95", "p99", "max", "per second", "x floor")
HEAD_OF_CHANGES = ("operation", "store", "records", "threads", "by", "before", "now", "times as slow", "p99", "")
UNITS = {"ratio": "x", "median": " us", "throughput": "/s"}

_Row = Sequence[str]


def print_run(run: Run) -> None:
    """Print every workload with its measurements, by what a write survives."""
    print(LEGEND)
    groups: dict[tuple[str, int, int], list[Measurement]] = {}
    for measurement in run.measurements:
        workload = measurement.operation.partition(" (")[0]
        groups.setdefault((workload, measurement.threads, measurement.records), []).append(measurement)
    for (workload, threads, records), measurements in groups.items():
        first = measurements[0]
        summary = f": {WORKLOADS[workload].summary}" if workload in WORKLOADS else ""
        print(f"{workload}{summary}")
        print(f"{count(records, 'record')} of {first.record_bytes:,} bytes, {count(threads, 'thread')}")
        print_table([HEAD, *_rows(measurements)], right=range(1, len(HEAD)))
        print()
    for sentence in run.left_out:
        print(sentence)
    if run.problem:
        print(f"NOT WHOLE: {run.problem}")


def _rows(measurements: list[Measurement]) -> Iterable[_Row]:
    for guarantee, heading in SURVIVES.items():
        of_group = [each for each in measurements if each.guarantee == guarantee]
        if of_group:
            yield (heading, *[""] * (len(HEAD) - 1))
            for before, each in pairwise([None, *of_group]):
                if each is not None:
                    yield _row(each, is_below=before is not None and label(before) == label(each))


def _row(each: Measurement, *, is_below: bool) -> _Row:
    """Of a mix the whole has the throughput, and its kinds have the latencies: a median of both would say nothing."""
    part = each.operation.partition(" (")[2].rstrip(")")
    name = f"    {part}" if part and is_below else f"  {label(each)}{f': {part}' if part else ''}"
    rate = f"{each.per_second:,.0f}{'' if each.unit == 'operations' else f' {each.unit}'}"
    measured = f"{each.operations:,}"
    if is_mixed(each.operation):
        return (name, measured, "", "", "", "", rate, "")
    times = [_us(value) for value in (each.median_us, each.p95_us, each.p99_us, each.max_us)]
    return (name, measured, *times, "" if part else rate, "" if each.ratio is None else f"{each.ratio:.2f}")


def label(each: Measurement) -> str:
    """Whose it is, and how it was set."""
    if each.kind == "sessiondb":
        return f"sessiondb {each.store}" + (f", {each.sync}" if each.sync else "")
    return f"floor: {each.store}" if each.kind == "floor" else each.store


def _us(value: float) -> str:
    return f"{value:,.2f} us" if value < 10 else f"{value:,.1f} us" if value < 1_000 else f"{value:,.0f} us"


# ---- comparisons


def print_comparison(found: Comparison, bound: float, p99_bound: float | None) -> None:
    """Print what sessiondb's own figures became, what is missing, and the verdict."""
    rows = [_change_row(change, bound) for change in found.changes if change.is_ours]
    if rows:
        print_table([HEAD_OF_CHANGES, *rows], right=(2, 3, 5, 6, 7, 8))
        print()
    for name, only in (("OLD", found.only_old), ("NEW", found.only_new)):
        places = [_place(each) for each in only if each.kind == "sessiondb"]
        others = dict.fromkeys(each.store for each in only if each.kind != "sessiondb")
        if places:
            print(f"only in {name}: {'; '.join(places)}")
        if others:
            print(f"only in {name}, of floors and other stores: figures of {'; '.join(others)}")
    few = sum(change.is_ours and change.is_few for change in found.changes)
    unjudged = f"; not judged: {few} of fewer than {FEW} operations" if few else ""
    print(f"{count(len(rows), 'figure')} compared, {_verdict(found, bound, p99_bound)}{unjudged}")


def _verdict(found: Comparison, bound: float, p99_bound: float | None) -> str:
    number = len(found.regressions) or "none"
    p99 = "" if p99_bound is None else f", or {p99_bound:g} times in the 99th percentile"
    return f"{number} more than {bound:g} times as slow as before{p99}"


def _change_row(change: Change, bound: float) -> _Row:
    old, new, unit = change.old, change.new, UNITS[change.basis]
    before, now = {
        "ratio": (old.ratio or 0.0, new.ratio or 0.0), "median": (old.median_us, new.median_us),
        "throughput": (old.per_second, new.per_second),
    }[change.basis]  # fmt: skip
    word = "faster" if change.factor < 1 / bound else ""
    word = "SLOWER" if change.is_regression else "few" if change.is_few else word
    p99 = "" if change.p99_factor is None else f"{change.p99_factor:.2f}"
    basis = "ratio to floor" if change.basis == "ratio" else change.basis
    return (new.operation, label(new), f"{new.records:,}", str(new.threads), basis, f"{before:,.2f}{unit}",
            f"{now:,.2f}{unit}", f"{change.factor:.2f}", p99, word)  # fmt: skip


def _place(each: Measurement) -> str:
    threads = "" if each.threads == 1 else f", {count(each.threads, 'thread')}"
    return f"{each.operation} on {label(each)} ({each.records:,} of {each.record_bytes:,} bytes{threads})"
