"""Running the steps of a workload against an open subject, by one thread or by several, with every latency taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

from .histogram import Histogram
from .records import key_of
from .subjects.subject import Subject
from .workloads import Kind, Sizes, Step, record_pool

__all__ = ["AbsentRecordError", "Measured", "TooSlowError", "drive", "load"]

BATCH = 1_000
"""Records that `load` stores in one transaction."""
STEPS_MIN = 10
"""A thread does so many, if it has them, also when the time is up: one or two would say nothing."""
JOIN_S = 30.0
"""How long a thread may take to end after it was told to."""

_clock = time.perf_counter_ns
_Call = tuple[Callable[..., object], tuple[Any, ...], Callable[[int], None], object]
"""What to call with what, where its latency goes, and what it must not return."""
_ANYTHING = object()


class TooSlowError(Exception):
    """The subject could not be filled in time: it is left out."""


class AbsentRecordError(Exception):
    """A record that was stored was not found: the subject is wrong, and its figures would be, too."""


class Measured(NamedTuple):
    """What one turn gave.

    Attributes:
        histograms: the latencies of each kind of operation.
        seconds: from the first operation to the end of the last.
        records: how many ``next`` has read.
    """

    histograms: dict[Kind, Histogram]
    seconds: float
    records: int


def load(subject: Subject, sizes: Sizes, seconds: float) -> None:
    """Store all records of a loaded workload, in batches where the subject has them.

    Raises:
        TooSlowError: it takes longer than so many seconds.
    """
    pool = record_pool(sizes.record_bytes)
    deadline = time.monotonic() + seconds
    in_batches = True
    for start in range(0, sizes.records, BATCH):
        numbers = range(start, min(start + BATCH, sizes.records))
        records = [(key_of(number), pool[number % len(pool)]) for number in numbers]
        if in_batches:
            try:
                subject.put_many(records)
            except NotImplementedError:
                in_batches = False
        if not in_batches:
            _put_each(subject, records, deadline)
        if time.monotonic() > deadline and numbers.stop < sizes.records:
            raise TooSlowError(f"only {numbers.stop:,} of {sizes.records:,} records could be stored in {seconds:.1f} s")


def _put_each(subject: Subject, records: list[tuple[str, dict[str, Any]]], deadline: float) -> None:
    for key, record in records:
        subject.put(key, record)
        if time.monotonic() > deadline:
            return


def drive(
    subject: Subject, plans: Sequence[list[Step]], seconds: float, *, beside: list[Step] | None = None
) -> Measured:
    """Do each plan in a thread of its own until all is done or the time is up; one plan alone is done here.

    Args:
        subject: open, and filled if the plans need it.
        plans: the steps of each thread; every one does `STEPS_MIN` at least.
        seconds: how long.
        beside: what one more thread does, over and over, until the others have ended; it is not measured.

    Raises:
        AbsentRecordError: a record that is there was not found.
        NotImplementedError: the subject has no such operation.
        Exception: whatever the subject raised.
    """
    workers = [_Worker(subject, plan) for plan in plans]
    if len(workers) == 1 and beside is None:
        workers[0].run(_clock() + int(seconds * 1e9), _Halt())
    else:
        _run_threads(workers, seconds, None if beside is None else _Worker(subject, beside))
    histograms: dict[Kind, Histogram] = {}
    for worker in workers:
        for kind, latencies in worker.latencies.items():
            if latencies:
                histograms.setdefault(kind, Histogram()).add_all(latencies)
    taken = max(worker.ended for worker in workers) - min(worker.began for worker in workers)
    return Measured(histograms, taken / 1e9, sum(worker.sequence.records for worker in workers))


class _Halt:
    """Tells all threads to end; keeps what went wrong first."""

    def __init__(self) -> None:
        self.is_set = False
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.is_set = True


class _Sequence:
    """Reads on and on: one iteration over the subject, a piece at a time."""

    def __init__(self, subject: Subject):
        self._subject = subject
        self._found: Iterator[object] | None = None
        self.records = 0

    def __call__(self, start: str, length: int, count: int) -> int | None:
        if self._found is None:
            self._found = iter(self._subject.scan(start, length))
        found = len(list(islice(self._found, count)))
        self.records += found
        return found or None


class _Worker:
    """One thread's steps, bound to the subject's methods before the clock starts.

    Attributes:
        latencies: in nanoseconds, of each kind.
        began, ended: of its work, on the clock in nanoseconds.
        sequence: what ``next`` reads from.
    """

    def __init__(self, subject: Subject, plan: list[Step]):
        self.sequence = _Sequence(subject)
        self.latencies: dict[Kind, list[int]] = {}
        self.began = self.ended = 0
        put, scan = subject.put, subject.scan

        def scanned(start: str, count: int) -> int | None:
            return len(list(scan(start, count))) or None

        calls: dict[Kind, tuple[Callable[..., object], object]] = {
            "read": (subject.get, None), "scan": (scanned, None), "next": (self.sequence, None),
            "modify": (subject.patch, _ANYTHING), "update": (put, _ANYTHING), "insert": (put, _ANYTHING),
            "write": (put, _ANYTHING),
        }  # fmt: skip
        self._plan: list[_Call] = []
        for kind, arguments in plan:
            call, wrong = calls[kind]
            self._plan.append((call, arguments, self.latencies.setdefault(kind, []).append, wrong))

    def run(self, deadline: int, halt: _Halt) -> None:
        """Do the steps until all are done, the time is up, or another thread failed."""
        clock = _clock
        self.began = clock()
        for done, (call, arguments, add, wrong) in enumerate(self._plan, 1):
            began = clock()
            result = call(*arguments)
            ended = clock()
            add(ended - began)
            if result is wrong:
                raise AbsentRecordError(f"{arguments[0]!r} was stored, and was not found")
            if (ended >= deadline and done >= STEPS_MIN) or halt.is_set:
                break
        self.ended = clock()

    def run_over_and_over(self, halt: _Halt) -> None:
        """Do the steps until told to end."""
        for call, arguments, _, _ in cycle(self._plan):
            if halt.is_set:
                return
            call(*arguments)


def _run_threads(workers: list[_Worker], seconds: float, beside: _Worker | None) -> None:
    halt, end = _Halt(), _Halt()
    deadline = 0

    def start_clock() -> None:
        nonlocal deadline
        deadline = _clock() + int(seconds * 1e9)

    barrier = threading.Barrier(len(workers) + (beside is not None), start_clock)

    def work(worker: _Worker) -> None:
        try:
            barrier.wait()
            worker.run(deadline, halt)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            halt.fail(error)

    def work_beside(worker: _Worker) -> None:
        try:
            barrier.wait()
            worker.run_over_and_over(end)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            halt.fail(error)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    writer = None if beside is None else threading.Thread(target=work_beside, args=(beside,), daemon=True)
    try:
        for thread in [*threads, *([] if writer is None else [writer])]:
            thread.start()
        for thread in threads:
            thread.join()
    finally:  # also after Ctrl-C: nobody works on a store that is being closed
        halt.is_set = end.is_set = True
        barrier.abort()
        for thread in [*threads, *([] if writer is None else [writer])]:
            if thread.ident is not None:
                thread.join(JOIN_S)
    if halt.error is not None:
        raise halt.error
