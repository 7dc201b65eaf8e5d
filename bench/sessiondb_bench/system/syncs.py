"""Syncs for each commit, counted: by the engine, and by a file system that counts."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import sessiondb

from ..records import key_of, session_record
from ..results import Measurement
from .counting import CountingFiles
from .figures import from_latencies
from .plan import Plan

__all__ = ["commits", "measure"]


def commits(plan: Plan, backend: str, threads: int, sync: sessiondb.SyncLevel) -> Measurement:
    """So many threads put at the same time, each so often."""
    files, latencies = CountingFiles(), [[] for _ in range(threads)]  # type: tuple[CountingFiles, list[list[int]]]
    errors: list[BaseException] = []
    with plan.database(backend, files=files, sync=sync) as database:
        table = database.table("records")
        table.put(key_of(0), session_record(0, plan.record_bytes), sync="always")
        ready = threading.Barrier(threads + 1)

        def work(thread: int) -> None:
            try:
                _work(table, thread, plan, ready, latencies[thread])
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
                errors.append(error)
                ready.abort()

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        before, files_before = database.stats(), files.syncs["log"]
        with suppress(threading.BrokenBarrierError):  # one of them failed before it began
            ready.wait()
        began = time.perf_counter()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - began
        if errors:
            raise errors[0]
        after, files_after = database.stats(), files.syncs["log"]
    done = after.commits - before.commits
    counts = {
        "commits": done,
        "syncs": after.syncs - before.syncs,
        "syncs_of_files": files_after - files_before,
        "syncs_per_commit": (after.syncs - before.syncs) / done,
    }
    return from_latencies(
        "put (syncs counted)", backend, (latency for part in latencies for latency in part),
        guarantee="power" if sync == "always" else "kill", counts=counts, seconds=seconds, sync=sync, threads=threads,
        record_bytes=plan.record_bytes, records=threads * plan.commits,
    )  # fmt: skip


def _work(table: Any, thread: int, plan: Plan, ready: threading.Barrier, latencies: list[int]) -> None:
    records = [
        (key_of(thread * plan.commits + number), session_record(number, plan.record_bytes))
        for number in range(plan.commits)
    ]
    clock = time.perf_counter_ns
    ready.wait()
    for key, record in records:
        began = clock()
        table.put(key, record)
        latencies.append(clock() - began)


def measure(plan: Plan) -> list[Measurement]:
    """Each number of threads on each backend: the log is the same for all, so the figures should be too."""
    return [commits(plan, backend, threads, "always") for backend in plan.backends for threads in plan.threads]
