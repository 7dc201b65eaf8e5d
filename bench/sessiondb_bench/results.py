"""A benchmark run as a file: what was measured, on what, and how to do it again.

The file is JSON, UTF-8, one object: `Run`. Files of version 1 stay readable. Times are microseconds in fields that end
in ``_us``, sizes are bytes, rates are per second. Machines differ, and the same machine differs from hour to hour, so
what is compared between files is `Measurement.ratio`, which was taken in one run, and not the times.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from sessiondb.errors import SessionDBError, UnsupportedFormatError, UsageError

from .histogram import Histogram

__all__ = ["GUARANTEES", "Environment", "Guarantee", "Kind", "Measurement", "Run", "load_run", "measured", "save_run"]

FORMAT = "sessiondb-bench"
VERSION = 1

Guarantee = Literal["nothing", "kill", "power"]
"""What an operation has survived when it returns."""
GUARANTEES: dict[str, str] = {
    "nothing": "nothing: it is in the memory of the process",
    "kill": "kill -9 of the process, not a power cut",
    "power": "a power cut, where the device tells the truth about its flush",
}
Kind = Literal["sessiondb", "floor", "peer"]


class Environment(msgspec.Struct, forbid_unknown_fields=True):
    """Where a run took place. No names of people, hosts or folders."""

    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    file_system: str
    versions: dict[str, str]
    load_before: float
    load_after: float | None = None


class Measurement(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One operation on one store, so many times.

    Attributes:
        operation: what was done: ``put``, ``get (cold)``, ``ycsb-a`` …
        store: ``json``, ``sqlite``, ``lmdb``, ``memory``, ``postgres``, or the name of a floor or peer.
        kind: whose store that is.
        guarantee: what an operation that returned survives; never compare across it.
        sync: sessiondb's sync level; for others how they were set.
        record_bytes: size of a record as JSON.
        records: how many were in the store.
        threads: how many worked at the same time.
        operations: how many were measured, by all threads.
        seconds: from the first to the last.
        median_us, p95_us, p99_us, max_us: latency of one operation; of a batch or a checkpoint: of all of it.
        per_second: throughput, in units (records for a batch, a scan or a checkpoint).
        unit: what is counted by `per_second`.
        histogram: upper bound in microseconds and count.
        floor: what the ratio is taken to: the `store` of a floor in the same run.
        ratio: this median divided by the floor's, measured in turns; 1.0 is as fast as the floor.
        counts: what was counted rather than timed: ``syncs_per_commit``, ``written_bytes`` …
        note: what a reader must know.
    """

    operation: str
    store: str
    kind: Kind
    guarantee: Guarantee
    record_bytes: int
    records: int
    operations: int
    seconds: float
    median_us: float
    p95_us: float
    p99_us: float
    max_us: float
    per_second: float
    sync: str = ""
    threads: int = 1
    unit: str = "operations"
    histogram: list[tuple[float, int]] = []
    floor: str = ""
    ratio: float | None = None
    counts: dict[str, float] = {}
    note: str = ""

    @property
    def identity(self) -> tuple[str, str, str, int, int, int]:
        """What must be equal for two measurements to be compared."""
        return (self.operation, self.store, self.sync, self.record_bytes, self.records, self.threads)


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """One run of the benchmarks.

    Attributes:
        command: the command line that reproduces it.
        suite: ``latency`` (the pytest-benchmark suite), ``workloads`` (the command) or ``system``.
        commit: of sessiondb, with ``+`` when the tree was changed; empty when it is not known.
        problem: why the run ended before its end; empty for a whole one.
        left_out: what was not measured and why, a sentence each.
    """

    command: str
    suite: str
    started: str
    version: str
    commit: str
    environment: Environment
    measurements: list[Measurement]
    problem: str = ""
    left_out: list[str] = []
    format: str = FORMAT
    format_version: int = VERSION


def measured(
    operation: str, store: str, kind: Kind, guarantee: Guarantee, histogram: Histogram, *, seconds: float,
    record_bytes: int, records: int, sync: str = "", threads: int = 1, units: int | None = None,
    unit: str = "operations", note: str = "",
) -> Measurement:  # fmt: skip
    """A measurement from its histogram. `units` is what all operations together moved, if that is not their count."""
    return Measurement(
        operation=operation, store=store, kind=kind, guarantee=guarantee, sync=sync, record_bytes=record_bytes,
        records=records, threads=threads, operations=histogram.count, seconds=seconds,
        median_us=histogram.percentile_us(50), p95_us=histogram.percentile_us(95),
        p99_us=histogram.percentile_us(99), max_us=histogram.max_ns / 1000,
        per_second=(histogram.count if units is None else units) / seconds if seconds else 0.0,
        unit=unit, histogram=histogram.buckets_us(), note=note,
    )  # fmt: skip


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a run; a file that is there is replaced as a whole.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.tmp")
    try:
        beside.write_bytes(_as_text(run))
        os.replace(beside, target)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(target)
        raise


def _as_text(run: Run) -> bytes:
    """A measurement a line: small enough to be tracked, and a diff shows which ones changed."""
    head = msgspec.to_builtins(run)
    lines = [msgspec.json.encode(each) for each in head.pop("measurements")]
    front = msgspec.json.format(msgspec.json.encode(head), indent=1).rstrip(b"}\n")
    return front + b',\n "measurements": [\n' + b",\n".join(lines) + b"\n]\n}\n"


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run.

    Raises:
        UsageError: the file cannot be read, or is no benchmark run.
        UnsupportedFormatError: a newer version wrote it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format == FORMAT and head.format_version > VERSION:
            raise UnsupportedFormatError(
                f"{path} is a benchmark run of format version {head.format_version}, this version of sessiondb reads "
                f"{VERSION}; next: upgrade sessiondb"
            )
        if head.format == FORMAT:
            return msgspec.json.decode(data, type=Run)
        problem: object = f"its format is {head.format!r}"
    except SessionDBError:
        raise
    except msgspec.MsgspecError as error:
        problem = error
    raise UsageError(f"{path} is no result of `sessiondb bench run`: {problem}")


class _Head(msgspec.Struct):
    format: str
    format_version: int
