"""A real file system on which the process dies at the n-th file operation.

`DyingFiles` counts what the engine does to files and ends the process there, before the operation, in the middle of
it (half a write), or after it. What the kernel has at that moment is what the next process finds; that is the
difference to a power cut, so syncs are left out, which makes it fast. SQLite and LMDB do their own I/O: their process
dies around and inside `apply` and `settle`, wherever they let others run, and before each of SQLite's statements.
"""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import msgspec
import portalocker  # noqa: F401 - imported here, so that not every child does it anew

import sessiondb
from sessiondb import opening
from sessiondb.backend import Changes, Pace, Position
from sessiondb.files import Bytes, File, Files, Mapping

from .ops import Op
from .oracle import HUGE, History, Tables, deterministic, forget_everything, read_tables
from .queries import wrong_answer
from .session import Session
from .target import Target, real_target
from .workloads import WORKLOADS

__all__ = [
    "WORKLOADS_OF",
    "DyingFiles",
    "Job",
    "Moment",
    "count_operations",
    "kill_at",
    "kill_everywhere",
    "read_announcements",
]

Moment = Literal["before", "half", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "half", "after")


class _CountedFile(File):
    """A file whose changes are counted."""

    files: DyingFiles

    def pwrite(self, data: Bytes, offset: int) -> None:
        self.files.step("before")
        if self.files.is_turn("half"):
            super().pwrite(bytes(data)[: len(data) // 2], offset)
        self.files.step("half")
        super().pwrite(data, offset)
        self.files.step("after")

    def fdatasync(self) -> None:
        self.files.step_around()

    def fsync(self) -> None:
        self.files.step_around()


class _CountedMapping(Mapping):
    """A mapping whose stores are counted."""

    files: DyingFiles

    def write(self, data: bytes, offset: int) -> None:
        self.files.step("before")
        super().write(data, offset)
        self.files.step("after")

    def sync(self) -> None:
        self.files.step_around()


class DyingFiles(Files):
    """The real file system, as long as it lasts.

    Args:
        pipe: descriptor for announcements; -1: they are dropped.
        fatal: number of the operation that is the last; -1: none.
        moment: where in it the process dies.
    """

    def __init__(self, pipe: int = -1, fatal: int = -1, moment: Moment = "before"):
        self.count = 0
        self._pipe = pipe
        self._fatal = fatal
        self._moment = moment
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    # ---- dying

    def is_turn(self, moment: Moment) -> bool:
        """Whether this is where it ends."""
        return self.count == self._fatal and self._moment == moment

    def step(self, moment: Moment) -> None:
        """Die here if this is the place."""
        if self.is_turn(moment):
            os._exit(9)
        if moment == "after":
            self.count += 1

    def step_around(self) -> None:
        """An operation that does nothing."""
        self.step("before")
        self.step("after")

    # ---- what a session wants of a disk

    def record(self, op: Op) -> None:
        """Tell the parent."""
        if self._pipe >= 0:
            message = _encode((op.kind, op.data))
            os.write(self._pipe, len(message).to_bytes(4, "little") + message)

    def settle(self, history: History) -> None:
        """Nothing: real disks settle by themselves."""

    def kill(self) -> None:
        """As if the process had died: its files are closed, so the locks go."""
        for opened in list(self._open):
            opened.close()

    # ---- the operations that change something

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False,
             mode: int = 0o600) -> File:  # fmt: skip
        changes = create and not os.path.exists(path)
        if changes:
            self.step("before")
        file = super().open(path, create=create, exclusive=exclusive, read_only=read_only, mode=mode)
        counted = _CountedFile(file.descriptor, path)
        counted.files = self
        self._open.add(counted)
        if changes:
            self.step("after")
        return counted

    def map(self, path: str, length: int) -> Mapping:
        mapping = super().map(path, length)
        counted = _CountedMapping(mapping._memory, path)
        counted.files = self
        self._open.add(counted)
        return counted

    def mkdir(self, path: str) -> None:
        self.step("before")
        super().mkdir(path)
        self.step("after")

    def replace(self, source: str, target: str) -> None:
        self.step("before")
        super().replace(source, target)
        self.step("after")

    def link(self, source: str, target: str) -> None:
        self.step("before")
        super().link(source, target)
        self.step("after")

    def unlink(self, path: str) -> None:
        self.step("before")
        super().unlink(path)
        self.step("after")

    def sync_folder(self, path: str) -> None:
        self.step_around()


_encode = msgspec.msgpack.Encoder().encode


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


KILLED = [
    "first_creation", "append_always", "append_never", "append_mixed", "transactions", "group_commit", "checkpoint",
    "checkpoint_of_undurable", "checkpoints", "growth", "close", "clean_open", "drop_table", "close_and_reopen",
    "deletions", "indexes",
]  # fmt: skip
"""Workloads that need nothing of a simulated disk."""
STORING = ["first_creation", "checkpoint", "checkpoints", "drop_table", "bytes_table", "deletions", "indexes"]
"""Those in which the backend works: for SQLite and LMDB."""
WORKLOADS_OF = {"json": KILLED, "sqlite": STORING, "lmdb": STORING}


# ---- backends that do their own file I/O


class _Dying:
    """What makes a backend die: at the beginning and the end of what it does, and whenever it lets others run."""

    _dying: DyingFiles

    @classmethod
    def open(cls, files: DyingFiles, path: str, *, create: bool, read_only: bool = False) -> Any:
        files.step_around()
        opened = super().open(files, path, create=create, read_only=read_only)  # type: ignore[misc]
        opened._dying = files
        files.step_around()
        return opened

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        self._dying.step_around()
        super().apply(changes, expected, position, self._dying.step_around)  # type: ignore[misc]
        self._dying.step_around()

    def settle(self) -> None:
        self._dying.step_around()
        super().settle()  # type: ignore[misc]
        self._dying.step_around()


@functools.cache
def __getattr__(name: str) -> type:
    """``DyingSqlite`` and ``DyingLmdb``, made when they are asked for."""
    if not name.startswith("Dying"):
        raise AttributeError(name)
    return type(name, (_Dying, opening.backend_class(f"real{name.removeprefix('Dying').lower()}")), {})


@contextmanager
def dying_backends(files: DyingFiles) -> Iterator[None]:
    """SQLite and LMDB die with `files`; SQLite also before each of its statements that changes something."""
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda sql: None if sql.startswith("SELECT") else files.step_around())
        return connection

    schemes = {f"real{scheme}": opening.BUILT_IN[scheme] for scheme in ("sqlite", "lmdb")}
    dying = {scheme: f"crash.killing:Dying{scheme.title()}" for scheme in ("sqlite", "lmdb")}
    with mock.patch.dict(opening.BUILT_IN, schemes | dying), mock.patch.object(sqlite3, "connect", traced):
        yield


# ---- children


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
            WORKLOADS[name](Session(1, files, target))

    return in_child(work)


def count_operations(name: str, target: Target) -> int:
    """How many operations the workload makes when nothing stops it."""

    def work(pipe: int) -> None:
        files = DyingFiles()
        with deterministic(1), dying_backends(files):
            WORKLOADS[name](Session(1, files, target))
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
        message = _encode(find())
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
    for fatal in range(job.start, count, job.stride):
        for moment in MOMENTS if fatal % 4 == 0 else MOMENTS[:2]:
            kills += kill_at(job.name, target, fatal, moment, looks=2 if target.name == "json" or fatal % 4 == 0 else 1)
    return kills
