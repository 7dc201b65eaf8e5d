"""A real file system on which the process dies at the n-th file operation.

`DyingFiles` counts what the engine does to files and ends the process there, before the operation, in the middle of
it (half a write), or after it. What the kernel has at that moment is what the next process finds; that is the
difference to a power cut, so syncs are left out, which makes it fast.
"""

from __future__ import annotations

import os
import shutil
import weakref
from pathlib import Path
from typing import Any, Literal

import msgspec

import sessiondb
from sessiondb.files import Bytes, File, Files, Mapping

from .atomic import real_target
from .ops import Op
from .oracle import HUGE, History, deterministic, forget_everything, read_tables
from .session import Session
from .workloads import WORKLOADS

__all__ = ["KILLED", "DyingFiles", "Moment", "count_operations", "kill_at", "kill_everywhere", "read_announcements"]

Moment = Literal["before", "half", "after"]


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
]  # fmt: skip
"""Workloads that need nothing of a simulated disk."""


def run_child(name: str, folder: Path, fatal: int, moment: Moment) -> tuple[int, bytes]:
    """Fork, run the workload there until it dies; returns the exit status and what it announced."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with deterministic(1):
                WORKLOADS[name](Session(1, DyingFiles(writing, fatal, moment), real_target("json", folder)))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    parts = []
    while part := os.read(reading, 1 << 16):
        parts.append(part)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), b"".join(parts)


def count_operations(name: str, folder: Path) -> int:
    """How many file operations the workload makes when nothing stops it."""
    files = DyingFiles()
    with deterministic(1):
        session = Session(1, files, real_target("json", folder))
        WORKLOADS[name](session)
        session.kill()
    shutil.rmtree(folder)
    return files.count


def kill_at(name: str, folder: Path, fatal: int, moment: Moment) -> bool:
    """Kill the workload there, then look; False when it never came to that."""
    folder.mkdir()
    status, announced = run_child(name, folder, fatal, moment)
    assert status in (0, 9), f"{name}: the child failed at operation {fatal} ({moment})"
    history = read_announcements(announced)
    where = f"{name}, {moment} operation {fatal}"
    for attempt in ("first", "second"):
        files = DyingFiles()
        with deterministic(2):
            db = sessiondb.open(folder / "store.json", files=files, lock_timeout=0.0, checkpoint_bytes=HUGE)
            lsn, tables = db.position().lsn, read_tables(db._open)
            files.kill()
            forget_everything()
        assert history.returned <= lsn <= history.issued, f"{where}: LSN {lsn} after the {attempt} recovery"
        assert tables == history.states[lsn], f"{where}: wrong state at LSN {lsn} after the {attempt} recovery"
    shutil.rmtree(folder)
    return status == 9


def kill_everywhere(name: str, folder: str) -> int:
    """Kill the workload before and after each operation, and in the middle of each write; returns how often."""
    base = Path(folder)
    (base / "count").mkdir(parents=True)
    count = count_operations(name, base / "count")
    moments: tuple[Moment, ...] = ("before", "half", "after")
    return sum(kill_at(name, base / "store", fatal, moment) for fatal in range(count) for moment in moments)
