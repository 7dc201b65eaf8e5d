"""The disk is full while a checkpoint moves records into the store: real files on a small tmpfs.

SQLite and LMDB do their own I/O, so no faulty `Files` can refuse them space: a file system of a few MiB does, with a
ballast that leaves them less and less. After each failure: the error names the cause, everything acknowledged is
there, and when there is space again the store goes on.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import sessiondb
from crash.target import real_target
from figures import Tell
from sessiondb.errors import StoreFailedError

MOUNT_MB = 4
LEFT_KB = (*range(0, 64, 4), *range(64, 320, 16))
"""How much the ballast leaves free, one after the other."""
SETUP_TIMEOUT_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting takes root"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = f"size={MOUNT_MB}m,mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True, check=False, timeout=SETUP_TIMEOUT_S,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=SETUP_TIMEOUT_S)


def fill(folder: Path, left_kb: int) -> Path:
    """Write a ballast that leaves so much free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 << 10))
    size = ballast.stat().st_size - (left_kb << 10)
    os.truncate(ballast, max(size, 0))
    return ballast


class Program:
    """A program that stores records and knows what it was told."""

    def __init__(self, path: str):
        self.path = path
        self.rng = random.Random(path)
        self.acknowledged: dict[str, object] = {}
        self.uncertain: dict[str, object] = {}
        """What a failed put would have stored: it may not be there, for nothing was written."""
        self.errors: Counter[str] = Counter()
        self.open()

    def open(self) -> None:
        self.db = sessiondb.open(self.path, checkpoint_records=10**6, checkpoint_bytes=10**9, checkpoint_age_s=1e9)
        self.table = self.db.table("t", indexes=["n"])

    def put(self, size: int) -> None:
        key = f"k{self.rng.randrange(40)}"
        record = {"n": self.rng.randrange(1 << 30), "text": self.rng.choice("abc") * size}
        if self.attempt(lambda: self.table.put(key, record)):
            self.acknowledged[key] = record

    def attempt(self, call: object) -> bool:
        """Whether it worked; a failure must say that there is no space."""
        try:
            call()  # type: ignore[operator]
        except StoreFailedError as error:
            failure = error
        else:
            return True
        assert re.search("no space|full|enospc", str(failure).lower()), failure
        self.errors[type(failure).__name__] += 1
        return False

    def look(self) -> None:
        assert dict(self.table.items()) == self.acknowledged


@pytest.mark.parametrize("name", ["json", "lmdb", "sqlite"])
def test_a_full_disk_is_named_and_loses_nothing(name: str, small_disk: Path, tell: Tell) -> None:
    program = Program(real_target(name, small_disk).path)
    for number, left_kb in enumerate(LEFT_KB):
        for _ in range(5):
            program.put(program.rng.randrange(12_000))
        ballast = fill(small_disk, left_kb)
        program.put(100)
        program.attempt(program.db.checkpoint)
        program.put(3_000)
        program.attempt(program.db.checkpoint)
        program.look()
        if number % 3 == 0:
            program.db.close()  # a log that cannot be moved stays where it is
            ballast.unlink()
            program.open()
        else:
            ballast.unlink()
        assert program.db.stats().state == "open"
        program.look()
        program.db.checkpoint()
        assert program.db.check() == []
        program.look()
    program.db.close()
    program.open()
    program.look()
    program.db.close()
    tell(f"full disk, {name}: {len(LEFT_KB)} times full, refused {dict(program.errors)}, 0 missing")
    assert program.errors["BackendError"] > 3  # LMDB writes to pages that are free already, where it can
