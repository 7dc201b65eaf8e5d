"""A run of workloads over subjects: who takes part, in which order, for how long, and what comes out.

Of one workload and one number of threads, all subjects are measured in turns: each turn of each subject has a fresh
store, which is closed and removed before the next one's turn begins, so that nobody pays for another's background work,
and an hour in which the machine is busy falls on all alike. Turn for turn all do the very same operations.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import NamedTuple

from .driver import Measured, TooSlowError, drive, load
from .histogram import Histogram
from .records import key_of
from .results import Guarantee, Measurement, measured
from .subjects.floors import CODED, UNSYNCED, ZEROED
from .subjects.subject import Subject
from .workloads import SEQUENCE, WORKLOADS, Kind, Sizes, Step, Workload, record_pool, steps

__all__ = ["FLOORS", "Candidate", "Plan", "Running", "WorkloadFailedError"]

FLOORS: dict[Guarantee, str] = {"nothing": CODED, "kill": UNSYNCED, "power": ZEROED}
"""The floor under a write that survives so much. Under a read it is the first, whatever the store's writes survive."""
SLICE_S_MIN = 0.02
"""A turn is that long at least, even when the time is up: otherwise it measures nothing."""
LOAD_S_MIN = 2.0
LOAD_SHARE = 0.1
"""To fill its store a subject may take so much of the whole time, and `LOAD_S_MIN` in any case."""
LATE = 1.5
"""When a run takes so many times as long as it should, subjects have fewer turns."""

_READING: frozenset[Kind] = frozenset({"read", "scan", "next"})
_PARTS: dict[Kind, str] = {"modify": "read-modify-write"}


class WorkloadFailedError(Exception):
    """A subject failed in the middle of a workload: the run is over. The cause says why.

    Attributes:
        where: the workload and the subject.
    """

    def __init__(self, where: str, cause: Exception):
        super().__init__(f"{where} failed: {type(cause).__name__}: {cause}")
        self.where = where


class Candidate(NamedTuple):
    """What may take part: its name for people, and what makes one in an empty folder."""

    name: str
    make: Callable[[str], Subject]


class Plan(NamedTuple):
    """What is to be run.

    Attributes:
        seconds: about how long all of it takes; every turn is at least `SLICE_S_MIN` long.
        turns: how often every subject has its turn in each workload; fewer when stores take too long to make and fill.
        turns_max: so many when there is time: more turns are more alike from run to run.
    """

    workloads: Sequence[str]
    threads: Sequence[int]
    records: Sequence[int]
    record_bytes: int
    seconds: float
    turns: int = 3
    turns_max: int = 20
    seed: int = 1


class _Cell:
    """All turns of one subject in one workload."""

    def __init__(self, subject: Subject, workload: Workload):
        self.name, self.kind, self.guarantee, self.sync = subject.name, subject.kind, subject.guarantee, subject.sync
        self.histograms: dict[Kind, Histogram] = {}
        self.is_whole = not _only_writes(subject)
        self.medians: dict[Kind, list[float | None]] = {kind: [] for kind in workload.mix}
        self.seconds = 0.0
        self.records = 0

    def add(self, turn: Measured) -> None:
        for kind, histogram in turn.histograms.items():
            self.histograms.setdefault(kind, Histogram()).merge(histogram)
        for kind, medians in self.medians.items():
            medians.append(turn.histograms[kind].percentile_us(50) if kind in turn.histograms else None)
        self.seconds += turn.seconds
        self.records += turn.records


class _LeftOutError(Exception):
    """A subject takes no part in a workload: it cannot."""


class Running:
    """One run. When it ends early, by whatever is raised, what was finished until then is there.

    Args:
        plan: what.
        candidates: with whom; floors among them give the ratios.
        folder: an empty one; every store has a folder of its own in it, which is removed again.
        watch: is told at each turn what is being done, how many workloads are done, and of how many.

    Attributes:
        measurements: of the workloads that are done.
    """

    def __init__(
        self, plan: Plan, candidates: Sequence[Candidate], folder: str,
        watch: Callable[[str, int, int], None] = lambda what, done, total: None,
    ):  # fmt: skip
        self.measurements: list[Measurement] = []
        self._plan = plan
        self._candidates = candidates
        self._folder = folder
        self._watch = watch
        self._absent: dict[tuple[str, str], list[tuple[str, Sizes]]] = {}
        self._too_slow: dict[tuple[str, int], str] = {}
        self._stores = self._takes = 0
        self._began = time.monotonic()
        self._driven = 0.0

    @property
    def left_out(self) -> list[str]:
        """Who took no part in what, and why."""
        groups: dict[tuple[str, str], list[str]] = {}
        for (name, why), places in self._absent.items():
            groups.setdefault((", ".join(self._told(places)), why), []).append(name)
        return [f"left out of {what}: {'; '.join(names)}: {why}" for (what, why), names in groups.items()]

    def _told(self, places: Sequence[tuple[str, Sizes]]) -> Iterator[str]:
        """Workloads; with the numbers of threads where it was not in all that they are missing."""
        plan = self._plan
        for name in plan.workloads:
            absent = {(sizes.threads, sizes.records) for workload, sizes in places if workload == name}
            everywhere = set(product(plan.threads, plan.records))
            if absent >= everywhere:
                yield name
            elif absent:
                told = []
                if len(plan.threads) > 1:
                    told.append(f"threads {'/'.join(map(str, sorted({threads for threads, _ in absent})))}")
                if len(plan.records) > 1:
                    told.append(f"records {'/'.join(map(str, sorted({records for _, records in absent})))}")
                yield f"{name} ({', '.join(told)})" if told else f"{name} (in part)"

    def run(self) -> None:
        """Run everything.

        Raises:
            WorkloadFailedError: a subject failed.
        """
        self._began = time.monotonic()
        plan = self._plan
        parts = list(product(plan.records, plan.threads, plan.workloads))
        for number, (records, threads, name) in enumerate(parts):
            share = (plan.seconds - (time.monotonic() - self._began)) / (len(parts) - number)
            sizes = Sizes(records, plan.record_bytes, threads, plan.seed)
            self._run_workload(name, sizes, max(share, 0.0), (number, len(parts)))

    def _run_workload(self, name: str, sizes: Sizes, share: float, part: tuple[int, int]) -> None:
        workload, threads = WORKLOADS[name], sizes.threads
        what = f"{name}, {threads} threads" if threads > 1 else name
        if len(self._plan.records) > 1:
            what += f", {sizes.records:,} records"
        cells: dict[str, _Cell] = {}
        taking_part = list(self._candidates)
        began, turn = time.monotonic(), 0
        while taking_part and self._has_time(turn, time.monotonic() - began, share):
            work = [steps(name, sizes, thread, turn) for thread in range(threads + workload.has_writer)]
            slice_s = share / self._plan.turns / len(taking_part)
            for candidate in taking_part[:: 1 if turn % 2 == 0 else -1]:
                self._watch(f"{what}: {candidate.name}", *part)
                try:
                    self._take_turn(candidate, workload, sizes, work, slice_s, cells)
                except _LeftOutError as reason:
                    self._absent.setdefault((candidate.name, str(reason)), []).append((name, sizes))
                    taking_part.remove(candidate)
                    cells.pop(candidate.name, None)
                except Exception as error:
                    raise WorkloadFailedError(f"{what} on {candidate.name}", error) from error
            turn += 1
        for cell in cells.values():
            self.measurements += _measurements(name, cell, sizes, cells.values())

    def _has_time(self, turn: int, spent: float, share: float) -> bool:
        """Whether there is to be a turn of this number: all that are planned, unless the run is late, and then more."""
        plan = self._plan
        if turn == 0:
            return True
        if turn < plan.turns:
            return spent <= LATE * share * turn / plan.turns
        return turn < plan.turns_max and spent + spent / turn <= share

    def _take_turn(
        self,
        candidate: Candidate,
        workload: Workload,
        sizes: Sizes,
        work: list[list[Step]],
        slice_s: float,
        cells: dict[str, _Cell],
    ) -> None:
        if workload.loaded and (why := self._too_slow.get((candidate.name, sizes.records))):
            raise _LeftOutError(why)
        with self._store(candidate) as subject:
            if workload.synced_only and subject.guarantee != "power":
                raise _LeftOutError("it does not wait for the disk")
            if sizes.threads + workload.has_writer > 1 and not subject.threads_safe:
                raise _LeftOutError("several threads may not use it at the same time")
            if workload.loaded:
                self._fill(candidate, subject, sizes)
            beside = work[sizes.threads] if workload.has_writer else None
            plans = work[: sizes.threads]
            if _only_writes(subject):
                plans = _without_reads(plans)
                subject.put(key_of(0), record_pool(sizes.record_bytes)[0])  # what it writes from now on has that size
            try:
                turn = drive(subject, plans, max(SLICE_S_MIN, slice_s - self._around()), beside=beside)
            except NotImplementedError as error:
                why = str(error).replace(f"{candidate.name} ", "it ", 1) or "it cannot read in the order of keys"
                raise _LeftOutError(why) from error
            self._driven += turn.seconds
            self._takes += 1
            cells.setdefault(candidate.name, _Cell(subject, workload)).add(turn)

    def _fill(self, candidate: Candidate, subject: Subject, sizes: Sizes) -> None:
        try:
            load(subject, sizes, max(LOAD_S_MIN, self._plan.seconds * LOAD_SHARE))
        except TooSlowError as error:
            self._too_slow[candidate.name, sizes.records] = str(error)
            raise _LeftOutError(str(error)) from error
        subject.settle()

    @contextmanager
    def _store(self, candidate: Candidate) -> Iterator[Subject]:
        """A fresh one, closed and removed at the end."""
        self._stores += 1
        place = os.path.join(self._folder, str(self._stores))
        os.mkdir(place, 0o700)
        try:
            subject = candidate.make(place)
            try:
                yield subject
            except BaseException:
                with suppress(Exception):  # a store that failed may not close well either: the first error counts
                    subject.close()
                raise
            subject.close()
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _around(self) -> float:
        """How long making, filling and closing a store takes on average, until now."""
        return (time.monotonic() - self._began - self._driven) / max(1, self._takes)


def _only_writes(subject: Subject) -> bool:
    """Whether it is a floor that is a file: of a mix it does the writes, so that there is a ratio for them."""
    return subject.kind == "floor" and subject.guarantee != "nothing"


def _without_reads(plans: list[list[Step]]) -> list[list[Step]]:
    """The writes of a mix; of what only reads, everything, for whoever cannot is to be left out of it."""
    writes = [[step for step in plan if step.kind not in _READING] for plan in plans]
    return writes if all(writes) else plans


def _measurements(name: str, cell: _Cell, sizes: Sizes, cells: Iterable[_Cell]) -> Iterator[Measurement]:
    """That of the whole; if it is mixed, those of its kinds too, and only they have ratios."""
    kinds = list(WORKLOADS[name].mix)
    whole = Histogram()
    for histogram in cell.histograms.values():
        whole.merge(histogram)
    operations: list[tuple[str, Histogram, Kind | None]] = []
    if cell.is_whole or len(kinds) == 1:
        operations.append((name, whole, kinds[0] if len(kinds) == 1 else None))
    if len(kinds) > 1:
        operations += [
            (f"{name} ({_PARTS.get(kind, kind)})", cell.histograms[kind], kind)
            for kind in kinds
            if kind in cell.histograms
        ]
    for operation, histogram, kind in operations:
        measurement = measured(
            operation, cell.name, cell.kind, cell.guarantee, histogram, seconds=cell.seconds, sync=cell.sync,
            record_bytes=sizes.record_bytes, records=sizes.records, threads=sizes.threads,
            units=cell.records or None, unit="records" if cell.records else "operations",
            note=f"an operation reads {SEQUENCE} records" if cell.records else "" if cell.is_whole else "writes only",
        )  # fmt: skip
        if kind is not None:
            measurement.floor, measurement.ratio = _ratio(cell, kind, cells)
        yield measurement


def _ratio(cell: _Cell, kind: Kind, cells: Iterable[_Cell]) -> tuple[str, float | None]:
    """The floor, and how many times its median; the median of that over the turns, for both had the same troubles."""
    name = FLOORS["nothing" if kind in _READING else cell.guarantee]
    for floor in cells:
        if floor.kind == "floor" and floor.name == name:
            pairs = zip(cell.medians[kind], floor.medians[kind], strict=True)
            ratios = [mine / least for mine, least in pairs if mine is not None and least]
            if ratios:
                return name, statistics.median(ratios)
    return "", None
