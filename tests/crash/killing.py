"""Kills a workload at each of its operations, and looks what the next process finds.

Everything happens in forked children (see `crash.dying` for how they die), so that nothing of a dead process lives on
in the one that looks.
"""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import portalocker  # noqa: F401 - imported here, so that not every child does it anew

import sessiondb
from sessiondb import opening

from .dying import MOMENTS, DyingFiles, Moment, dying_backends, encode
from .ops import Op
from .oracle import HUGE, History, Tables, deterministic, forget_everything, read_tables
from .queries import wrong_answer
from .session import Session
from .target import Target, real_target
from .workloads import WORKLOADS

__all__ = ["WORKLOADS_OF", "Job", "count_operations", "in_child", "kill_at", "kill_everywhere", "read_announcements"]

KILLED = [
    "first_creation", "append_always", "append_never", "append_mixed", "transactions", "group_commit", "checkpoint",
    "checkpoint_of_undurable", "checkpoints", "growth", "close", "clean_open", "drop_table", "close_and_reopen",
    "deletions", "indexes",
]  # fmt: skip
"""Workloads that need nothing of a simulated disk."""
OPERATIONS_MAX = 200
"""Of a workload with more operations, so many."""
STORING = [
    "first_creation",
    "checkpoint",
    "checkpoints",
    "drop_table",
    "bytes_table",
    "deletions",
    "indexes",
    "many_records",
]
"""Those in which the backend works: for SQLite and LMDB."""


def many_records(session: Session) -> None:
    """Checkpoints that take their time: they let others run, and are killed there."""
    session.open()
    session.index("t", "n")
    session.put_many("t", {f"k{number:04}": session.record(60) for number in range(1_500)})
    session.checkpoint()
    session.put_many("t", {f"k{number:04}": session.record(60) for number in range(700, 2_500)})
    session.index("t", "text")
    session.checkpoint()
    session.drop("t")
    session.some_puts(1)
    session.checkpoint()


_WORKLOADS = {**WORKLOADS, "many_records": many_records}
WORKLOADS_OF = {"json": KILLED, "sqlite": STORING, "lmdb": STORING}


def read_announcements(data: bytes) -> History:
    """What a child announced before it died."""
    history = History()
    unpacked = _split(data)
    for kind, what in unpacked:
        history.apply(Op(kind, "", data=tuple(what) if isinstance(what, list) else what))
    return history


def _split(data: bytes) -> list[tuple[str, Any]]:
    """The messages in a row of MessagePack values: each was written at once, behind its length."""
    messages = []
    while data:
        length = int.from_bytes(data[:4], "little")
        messages.append(msgspec.msgpack.decode(data[4 : 4 + length]))
        data = data[4 + length :]
    return messages


def in_child(call: Callable[[int], None]) -> tuple[int, bytes]:
    """Fork and call with the descriptor of a pipe; returns the exit status and what was written into it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            call(writing)
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    os.close(writing)
    parts = []
    while part := os.read(reading, 1 << 16):
        parts.append(part)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), b"".join(parts)


def run_child(name: str, target: Target, fatal: int, moment: Moment) -> tuple[int, bytes]:
    """Run the workload in a child until it dies; returns the exit status and what it announced."""

    def work(pipe: int) -> None:
        files = DyingFiles(pipe, fatal, moment)
        with deterministic(1), dying_backends(files):
            _WORKLOADS[name](Session(1, files, target))

    return in_child(work)


def count_operations(name: str, target: Target) -> int:
    """How many operations the workload makes when nothing stops it."""

    def work(pipe: int) -> None:
        files = DyingFiles()
        with deterministic(1), dying_backends(files):
            _WORKLOADS[name](Session(1, files, target))
        os.write(pipe, b"%d" % files.count)

    opening.backend_class(target.scheme)  # imported before the forks
    status, count = in_child(work)
    assert status == 0, f"{name} on {target.name} does not run through"
    _empty(Path(target.path).parent)
    return int(count)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def look(target: Target) -> tuple[int, Tables, str]:
    """What another process finds there: the LSN, everything, and what is wrong with it by itself."""
    files = DyingFiles()

    def find() -> tuple[int, Tables, str]:
        with deterministic(2):
            store = sessiondb.open(target.path, files=files, lock_timeout=0.0, checkpoint_bytes=HUGE)._open
            tables = read_tables(store)
            return store.views.visible_lsn, tables, wrong_answer(store, tables) or "; ".join(store.backend.check())

    if target.name == "json":  # nothing but `files` has to die with the process
        found = find()
        files.kill()
        forget_everything()
        return found

    def work(pipe: int) -> None:
        message = encode(find())
        while message:
            message = message[os.write(pipe, message) :]
        os._exit(9)  # nothing is closed

    status, message = in_child(work)
    assert status == 9, "it cannot be opened"
    lsn, tables, wrong = msgspec.msgpack.decode(message)
    return lsn, tables, wrong


def kill_at(name: str, target: Target, fatal: int, moment: Moment, looks: int = 2) -> bool:
    """Kill the workload there, then look, so often; False when it never came to that."""
    status, announced = run_child(name, target, fatal, moment)
    assert status in (0, 9), f"{name} on {target.name}: the child failed at operation {fatal} ({moment})"
    history = read_announcements(announced)
    for attempt in ("first", "second")[:looks]:
        where = f"{name} on {target.name}, {moment} operation {fatal}, after the {attempt} recovery"
        try:
            lsn, tables, wrong = look(target)
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
        assert history.returned <= lsn <= history.issued, f"{where}: LSN {lsn}"
        assert tables == history.states[lsn], f"{where}: wrong state at LSN {lsn}"
        assert not wrong, f"{where}: {wrong}"
    _empty(Path(target.path).parent)
    return status == 9


class Job(NamedTuple):
    """A part of all kills of one workload on one backend."""

    name: str
    target: str
    folder: str
    start: int = 0
    stride: int = 1


def kill_everywhere(job: Job) -> int:
    """Kill the workload at each `stride`-th operation, and in the middle of each write; returns how often.

    The kill *after* an operation finds what the one before the next operation finds, so every fourth is enough.
    """
    folder = Path(job.folder) / f"{job.target}-{job.name}-{job.start}"
    folder.mkdir()
    target = real_target(job.target, folder)
    count = count_operations(job.name, target)
    kills = 0
    for fatal in range(job.start, count, max(job.stride, count // OPERATIONS_MAX)):
        for moment in MOMENTS if fatal % 4 == 0 else MOMENTS[:2]:
            kills += kill_at(job.name, target, fatal, moment, looks=2 if target.name == "json" or fatal % 4 == 0 else 1)
    return kills
