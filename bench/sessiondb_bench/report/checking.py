"""Whether runs can be shown at all: a file may come from anywhere, and a wrong number must not become a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from sessiondb.errors import UsageError

from ..results import Measurement, Run
from .wording import plain, shortened

__all__ = ["check_runs", "moment"]

MOST_RUNS = 500
MOST_MEASUREMENTS = 5_000
LONGEST_TEXT = 10_000
LONGEST_NAME = 200
LONGEST_US = 1e13  # 115 days
SHORTEST_US = 1e-4
LARGEST = 1e18
ROUNDING = 1.03  # percentiles come from buckets 2.2 % wide, the maximum is exact
_NEXT = "next: measure again, or leave this file out"


def moment(run: Run) -> datetime:
    """When a run began; without a zone it is taken for UTC."""
    time = datetime.fromisoformat(run.started)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def check_runs(runs: Sequence[Run]) -> None:
    """Refuse what cannot be shown honestly.

    Raises:
        UsageError: no run, too many, or a value that no measurement can have: not a number, infinite, negative, zero
            where a logarithm is taken, out of order.
    """
    if not runs:
        raise UsageError("there is no run to report on; next: measure one with `sessiondb bench run`")
    if len(runs) > MOST_RUNS:
        raise UsageError(f"{len(runs):,} runs are more than one report holds ({MOST_RUNS}); next: give fewer files")
    if not any(run.measurements for run in runs):
        raise UsageError("there is no measurement in any of these runs; next: see why they ended, and measure again")
    for number, run in enumerate(runs, 1):
        _check_run(run, f"run {number}")


def _refuse(where: str, what: str) -> UsageError:
    return UsageError(f"{where}: {what}; {_NEXT}")


def _check_run(run: Run, where: str) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(run), Run)
    except (msgspec.MsgspecError, TypeError, OverflowError) as error:
        raise _refuse(where, f"not a benchmark run: {plain(str(error))}") from error
    environment = run.environment
    for name, text in _texts(run).items():
        if len(text) > LONGEST_TEXT:
            raise _refuse(where, f"{plain(name)} has {len(text):,} characters")
    try:
        moment(run).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _refuse(where, f"it started at {_quoted(run.started)}, which is no date as in ISO 8601") from error
    where = f"{where}, started {shortened(plain(run.started), 40)}"
    _between(where, "environment.cores", environment.cores, 1, 1e6)
    _between(where, "environment.memory_bytes", environment.memory_bytes, 0, LARGEST)
    _between(where, "environment.load_before", environment.load_before, 0, 1e6)
    if environment.load_after is not None:
        _between(where, "environment.load_after", environment.load_after, 0, 1e6)
    if len(run.measurements) > MOST_MEASUREMENTS:
        raise _refuse(where, f"it holds {len(run.measurements):,} measurements, more than {MOST_MEASUREMENTS:,}")
    for number, measurement in enumerate(run.measurements, 1):
        name = f"{_quoted(measurement.operation)} on {_quoted(measurement.store)}"
        _check_measurement(measurement, f"{where}, measurement {number} ({name})")


def _texts(run: Run) -> dict[str, str]:
    environment = run.environment
    texts = {name: getattr(run, name) for name in ("command", "suite", "started", "version", "commit", "problem")}
    texts |= {name: getattr(environment, name) for name in ("machine", "cpu", "system", "python", "file_system")}
    texts["left_out"] = " ".join(run.left_out)
    texts["the list of versions"] = " ".join(f"{name} {version}" for name, version in environment.versions.items())
    return texts


def _check_measurement(measurement: Measurement, where: str) -> None:
    for name in ("operation", "store", "sync", "unit", "floor"):
        if len(getattr(measurement, name)) > LONGEST_NAME:
            raise _refuse(where, f"{name} has {len(getattr(measurement, name)):,} characters")
    if not measurement.operation.strip() or not measurement.store.strip():
        raise _refuse(where, "operation or store has no name")
    if len(measurement.note) > LONGEST_TEXT:
        raise _refuse(where, f"note has {len(measurement.note):,} characters")
    timed = any((measurement.median_us, measurement.p95_us, measurement.p99_us, measurement.max_us))
    for name, least in (("operations", int(timed)), ("threads", 1), ("records", 0), ("record_bytes", 0)):
        _between(where, name, getattr(measurement, name), least, LARGEST)
    _between(where, "seconds", measurement.seconds, 0, LONGEST_US / 1e6)
    _between(where, "per_second", measurement.per_second, 0, LARGEST)
    _check_latencies(measurement, where)
    _check_histogram(measurement, where)
    if measurement.ratio is not None:
        _between(where, "ratio", measurement.ratio, 1e-6, 1e9)
        if not measurement.floor.strip():
            raise _refuse(where, "it has a ratio and does not say to which floor")
    if len(measurement.counts) > 100:
        raise _refuse(where, f"it counts {len(measurement.counts):,} things")
    for name, value in measurement.counts.items():
        if len(name) > LONGEST_NAME:
            raise _refuse(where, f"the name of a count has {len(name):,} characters")
        _between(where, f"counts[{_quoted(name)}]", value, -LARGEST, LARGEST)


def _check_latencies(measurement: Measurement, where: str) -> None:
    """All four are there, or none of them where something was only counted."""
    names = ("median_us", "p95_us", "p99_us", "max_us")
    values = [getattr(measurement, name) for name in names]
    if not any(values) and measurement.counts:
        return
    for name, value in zip(names, values, strict=True):
        _between(where, name, value, SHORTEST_US, LONGEST_US)
    for (low, small), (high, large) in pairwise(zip(names, values, strict=True)):
        if small > large * ROUNDING:
            raise _refuse(where, f"{low} is {small:g} and {high} only {large:g}")


def _check_histogram(measurement: Measurement, where: str) -> None:
    before = 0.0
    if len(measurement.histogram) > 10_000:
        raise _refuse(where, f"its histogram has {len(measurement.histogram):,} buckets")
    for bound, count in measurement.histogram:
        _between(where, "a bound of the histogram", bound, SHORTEST_US, LONGEST_US * ROUNDING)
        _between(where, "a count of the histogram", count, 0, LARGEST)
        if bound <= before:
            raise _refuse(where, "the bounds of its histogram do not ascend")
        before = bound
    total = sum(count for _, count in measurement.histogram)
    if total > measurement.operations:
        raise _refuse(where, f"its histogram holds {total:,} operations of {measurement.operations:,}")


def _between(where: str, name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # what is not a number is neither
        shown = f"{value:g}" if isinstance(value, float) else shortened(str(value), 40)
        raise _refuse(where, f"{name} is {shown}, which no measurement can be (from {least:g} to {most:g})")


def _quoted(text: str) -> str:
    return repr(shortened(plain(text), 60))
