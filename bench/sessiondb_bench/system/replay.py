"""Replay: opening a store whose program was killed, with everything it wrote still in the log.

A process writes and kills itself with SIGKILL; another one opens a copy of what it left, for writing, and ends
without a checkpoint. Timed are the whole of `sessiondb.open` and, by its own report, the replay: reading the log past
the page cache, checking every checksum, and building the memtable.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time

import msgspec

import sessiondb

from ..records import key_of, session_record
from ..results import Measurement
from .child import run_until_killed
from .counting import sync_all
from .figures import from_latencies, median
from .plan import NO_CHECKPOINTS, Plan

__all__ = ["measure", "replays"]


def fill_and_die(location: str, count: int, batch: int, record_bytes: int) -> None:
    """Write so many records, `batch` in each transaction, and die."""
    database = sessiondb.open(location, sync="never", **NO_CHECKPOINTS)
    table = database.table("records")
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        table.put_many((key_of(number), session_record(number, record_bytes)) for number in numbers)
    database.sync()
    os.kill(os.getpid(), signal.SIGKILL)


def open_again(location: str) -> dict[str, float]:
    """Open it; what that took. What was opened is left as it is, so the process must end by `os._exit`."""
    gc.collect()
    began = time.perf_counter_ns()
    database = sessiondb.open(location, **NO_CHECKPOINTS)
    opened = time.perf_counter_ns() - began
    report = database.recovery_report
    return {
        "open_ns": opened,
        "replay_ns": int(report.duration_ms * 1e6),
        "records": report.records,
        "transactions": report.transactions,
        "bytes": report.bytes,
    }


def open_and_die(location: str, output: str) -> None:
    """Open it in a process that is killed before it can close."""
    answer = open_again(location)
    with open(output, "wb") as file:
        file.write(msgspec.json.encode(answer))
    os.kill(os.getpid(), signal.SIGKILL)


def replays(plan: Plan, backend: str, batch: int) -> list[dict[str, float]]:
    """One answer of `open_again` for each round."""
    folder = plan.new_folder()
    location = plan.location(backend, folder)
    run_until_killed(fill_and_die, location=location, count=plan.replayed, batch=batch, record_bytes=plan.record_bytes)
    answers = []
    for number in range(plan.rounds):
        if backend == "postgres":  # the log stands on the server's state: it is opened where it is
            place = folder
        else:
            place = os.path.join(plan.folder, f"{os.path.basename(folder)}-{number}")
            shutil.copytree(folder, place)
            sync_all(place)  # a program that was killed has left its pages to the kernel: not what is measured
        output = os.path.join(plan.folder, "answer.json")
        target = location if backend == "postgres" else plan.location(backend, place)
        run_until_killed(open_and_die, location=target, output=output)
        with open(output, "rb") as file:
            answers.append(msgspec.json.decode(file.read(), type=dict[str, float]))
        os.unlink(output)
        if place != folder:
            shutil.rmtree(place)
    return answers


def measure(plan: Plan) -> list[Measurement]:
    """Transactions of one record and of many, on each backend."""
    measurements = []
    for backend in plan.backends:
        for batch in (1, plan.replayed_batch):
            answers = replays(plan, backend, batch)
            first = answers[0]
            counts = {
                "records": first["records"],
                "transactions": first["transactions"],
                "log_payload_bytes": first["bytes"],
                "records_per_second": median(one["records"] / one["replay_ns"] * 1e9 for one in answers),
                "transactions_per_second": median(one["transactions"] / one["replay_ns"] * 1e9 for one in answers),
                "open_records_per_second": median(one["records"] / one["open_ns"] * 1e9 for one in answers),
                "open_ms": median(one["open_ns"] / 1e6 for one in answers),
                "replay_ms": median(one["replay_ns"] / 1e6 for one in answers),
            }
            measurements.append(
                from_latencies(
                    f"replay (transactions of {batch})", backend, [int(one["replay_ns"]) for one in answers],
                    guarantee="power", counts=counts, record_bytes=plan.record_bytes, records=plan.replayed,
                    units=int(sum(one["records"] for one in answers)), unit="records",
                )
            )  # fmt: skip
    return measurements
