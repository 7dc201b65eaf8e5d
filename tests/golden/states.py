"""Stores in known states, made the same byte for byte every time.

Everything that differs between two runs is fixed here and nowhere else: random numbers, clocks, the process, the
boot. Each function fills an empty folder with a store and leaves it there as a SIGKILL would (`closed` apart).
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

import sessiondb
from sessiondb import UNSET, Database
from sessiondb.checkpoint import Checkpointer
from sessiondb.errors import DurabilityUnknownError
from sessiondb.files import File, Files
from sessiondb.wal import head

__all__ = ["BOOT_ID", "STATES", "STORE", "UUID", "Expected", "build"]

STORE = "store.json"
UUID = bytes.fromhex("00112233445566778899aabbccddeeff")
BOOT_ID = bytes.fromhex("b0070000000000000000000000000001")
START_US = 1_800_000_000_000_000
HUGE = 1 << 60


class GoldenFiles(Files):
    """The real file system of a machine that was booted once."""

    def boot_id(self) -> bytes:
        return BOOT_ID


class FailingSync(GoldenFiles):
    """A disk whose syncs of segments can be made to fail."""

    failing = False

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        real = super().open(path, create=create, exclusive=exclusive, read_only=read_only, mode=mode)
        files = self

        class FailingFile(File):
            def fdatasync(self) -> None:
                if files.failing:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)
                super().fdatasync()

        return FailingFile(real.descriptor, path)


@contextmanager
def the_same_world() -> Iterator[None]:
    """Random numbers, clocks and the process are always the same, and nothing happens by itself."""
    salts = iter(range(1, 100))
    ticks = iter(range(1_000_000))

    def urandom(count: int) -> bytes:
        return UUID if count == 16 else (0x5A170000 + next(salts)).to_bytes(count, "little")

    def time_ns() -> int:
        return (START_US + 1_000 * next(ticks)) * 1_000

    with (
        mock.patch.object(os, "urandom", urandom),
        mock.patch.object(os, "getpid", return_value=4242),
        mock.patch.object(time, "time_ns", time_ns),
        mock.patch.object(time, "gmtime", return_value=time.struct_time((2027, 1, 15, 8, 0, 0, 4, 15, 0))),
        mock.patch.object(head, "_start_time", return_value=123_456),
        mock.patch.object(sys, "argv", ["golden"]),
        mock.patch.object(Checkpointer, "became_dirty"),  # no checkpoint in the background
    ):
        yield


class Expected(msgspec.Struct, frozen=True):
    """What a reader must find; also stored beside the bytes, as JSON."""

    applied_lsn: int
    last_lsn: int
    epoch: int
    """After opening for writing."""
    torn_bytes: int
    undurable_lost: int
    tables: dict[str, dict[str, Any]]
    """Bytes as text in hex."""


def _open(folder: Path, files: Files) -> Database:
    return sessiondb.open(
        folder / STORE,
        files=files,
        checkpoint_bytes=HUGE,
        checkpoint_records=HUGE,
        checkpoint_age_s=1e9,
    )


@contextmanager
def _killed(folder: Path, files: Files | None = None) -> Iterator[Database]:
    """A database that is killed at the end of the block."""
    db = _open(folder, files or GoldenFiles())
    copy = folder.parent / f"{folder.name}.killed"
    try:
        yield db
        shutil.copytree(folder, copy)
    finally:
        try:
            db.close()
        except DurabilityUnknownError:
            assert isinstance(files, FailingSync)
    shutil.rmtree(folder)
    copy.rename(folder)


def _every_operation(db: Database) -> None:
    sessions, blobs, old = db.table("sessions"), db.table("blobs", bytes), db.table("old")
    sessions["task-1"] = {"branch": "main", "tries": 1}
    blobs["logo"] = b"\x89PNG\r\n\x1a\n"
    sessions.put_many({"task-2": {"branch": None}, "tâche-3": {"note": "é € 😀", "done": False}})
    sessions.patch("task-1", {"branch": "fix", "tries": UNSET}, sync="never")
    sessions.delete_many(["task-2"], sync="never")
    old["x"] = 0
    db.drop("old")


_AFTER_EVERY_OPERATION: dict[str, dict[str, Any]] = {
    "blobs": {"logo": "89504e470d0a1a0a"},
    "sessions": {"task-1": {"branch": "fix"}, "tâche-3": {"note": "é € 😀", "done": False}},
}


def fresh(folder: Path) -> None:
    """Opened for the first time; nothing was ever written to it."""
    with _killed(folder):
        pass


def operations(folder: Path) -> None:
    """A transaction of each kind in the log; the JSON file holds nothing yet."""
    with _killed(folder) as db:
        _every_operation(db)


def torn(folder: Path) -> None:
    """A power cut in the middle of the last append: half of the frame is on the disk, HEAD is ahead of the log."""
    with _killed(folder) as db:
        sessions = db.table("sessions")
        sessions["task-1"] = {"branch": "main"}
        assert db._store is not None
        start = db._store.log.tail.end  # type: ignore[union-attr]
        sessions.put("task-2", {"text": "this record is lost, nobody was told that it is durable"}, sync="never")
        end = db._store.log.tail.end  # type: ignore[union-attr]
    (segment,) = (folder / f"{STORE}.wal").glob("*.seg")
    middle = (start + end) // 2
    with segment.open("r+b") as file:
        file.seek(middle)
        file.write(bytes(end - middle))


def recovered(folder: Path) -> None:
    """The torn store after its recovery and one more transaction: epoch 2, the tail in quarantine."""
    torn(folder)
    with _killed(folder) as db:
        db.table("sessions")["task-3"] = {"branch": "next"}


def sealed(folder: Path) -> None:
    """In the middle of a checkpoint: the first segment is sealed, the second has begun, the JSON file is old."""
    with _killed(folder) as db:
        sessions = db.table("sessions")
        sessions["task-1"] = {"branch": "main"}
        sessions["task-2"] = {"branch": "fix"}
        assert db._store is not None
        db._store.checkpointer._freeze()
        sessions["task-1"] = {"branch": "changed while the checkpoint ran"}


def checkpointed(folder: Path) -> None:
    """After a checkpoint: the JSON file holds everything but the last transaction."""
    with _killed(folder) as db:
        _every_operation(db)
        db.table("empty")["x"] = 0
        del db.table("empty")["x"]
        db.checkpoint()
        db.table("sessions")["task-9"] = [1, -2.5, 1e300, True, None, "", {}, 2**64 - 1]


def closed(folder: Path) -> None:
    """Closed: everything in the JSON file, the log empty, HEAD says CLEAN."""
    with _open(folder, GoldenFiles()) as db:
        _every_operation(db)


def poisoned(folder: Path) -> None:
    """A sync failed: HEAD says POISONED, whether the second transaction survives is unknown (here it did)."""
    files = FailingSync()
    with _killed(folder, files) as db:
        sessions = db.table("sessions")
        sessions["task-1"] = {"branch": "main"}
        files.failing = True
        with pytest.raises(DurabilityUnknownError):
            sessions["task-2"] = {"branch": "fix"}


STATES: dict[str, tuple[Callable[[Path], None], Expected]] = {
    "fresh": (fresh, Expected(0, 0, 1, 0, 0, {})),
    "operations": (operations, Expected(0, 7, 1, 0, 0, _AFTER_EVERY_OPERATION)),
    "torn": (torn, Expected(0, 1, 2, 64, 1, {"sessions": {"task-1": {"branch": "main"}}})),
    "recovered": (
        recovered,
        Expected(0, 2, 2, 0, 0, {"sessions": {"task-1": {"branch": "main"}, "task-3": {"branch": "next"}}}),
    ),
    "sealed": (
        sealed,
        Expected(
            0,
            3,
            1,
            0,
            0,
            {"sessions": {"task-1": {"branch": "changed while the checkpoint ran"}, "task-2": {"branch": "fix"}}},
        ),
    ),
    "checkpointed": (
        checkpointed,
        Expected(
            9,
            10,
            1,
            0,
            0,
            {
                "blobs": _AFTER_EVERY_OPERATION["blobs"],
                "empty": {},
                "sessions": {
                    "task-1": {"branch": "fix"},
                    "task-9": [1, -2.5, 1e300, True, None, "", {}, 2**64 - 1],
                    "tâche-3": {"note": "é € 😀", "done": False},
                },
            },
        ),
    ),
    "closed": (closed, Expected(7, 7, 1, 0, 0, _AFTER_EVERY_OPERATION)),
    "poisoned": (
        poisoned,
        Expected(0, 2, 2, 0, 0, {"sessions": {"task-1": {"branch": "main"}, "task-2": {"branch": "fix"}}}),
    ),
}
"""Name to how it is made and what a reader must find."""


def build(name: str, folder: Path) -> None:
    """Make the store of this name in `folder`, which must not exist."""
    folder.mkdir()
    with the_same_world():
        STATES[name][0](folder)
