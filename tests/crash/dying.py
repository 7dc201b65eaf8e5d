"""A real file system, and backends on it, on which the process dies at the n-th operation.

`DyingFiles` counts what the engine does to files and ends the process there, before the operation, in the middle of
it (half a write), or after it. What the kernel has at that moment is what the next process finds; that is the
difference to a power cut, so syncs are left out, which makes it fast. SQLite and LMDB do their own I/O: their process
dies around and inside `apply` and `settle`, wherever they let others run, and before each of SQLite's statements.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from unittest import mock

import msgspec

from sessiondb import opening
from sessiondb.backend import Changes, Pace, Position
from sessiondb.files import Bytes, File, Files, Mapping

from .ops import Op
from .oracle import History

__all__ = ["MOMENTS", "DyingFiles", "Moment", "dying_backends", "encode"]

encode = msgspec.msgpack.Encoder().encode

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
            message = encode((op.kind, op.data))
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

    def rmdir(self, path: str) -> None:
        self.step("before")
        super().rmdir(path)
        self.step("after")

    def sync_folder(self, path: str) -> None:
        self.step_around()


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
    dying = {scheme: f"crash.dying:Dying{scheme.title()}" for scheme in ("sqlite", "lmdb")}
    with mock.patch.dict(opening.BUILT_IN, schemes | dying), mock.patch.object(sqlite3, "connect", traced):
        yield
