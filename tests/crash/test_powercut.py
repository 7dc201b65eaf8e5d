"""Real power cuts: a file system is shut down under a busy process, without a log flush, and mounted again.

``FS_IOC_SHUTDOWN`` with ``NOLOGFLUSH`` on a loop mount loses everything that was not synced, as pulling the plug does
(torn sectors inside a device are the simulator's business). Needs root, loop devices and ``SESSIONDB_TEST_POWERCUT=1``.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import sessiondb
from crash.target import real_target
from figures import Tell
from sessiondb.errors import SessionDBError

CUTS = int(os.environ.get("SESSIONDB_TEST_CUTS", "50"))
"""Power cuts of each backend on each file system."""
KINDS = ("ext4", "xfs")
TARGETS = ("json", "lmdb", "sqlite")
CHECKPOINT_RECORDS = (15, 60, 300, 10**6)
"""Checkpoints are due after so many records: mostly so often that a cut comes in the middle of one."""
FS_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
IMAGE_BYTES = 400 << 20
SETUP_TIMEOUT_S = 60

pytestmark = [
    pytest.mark.powercut,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("SESSIONDB_TEST_POWERCUT") != "1", reason="SESSIONDB_TEST_POWERCUT=1 is not set"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting takes root"),
]

BUSY = """
import os, sys, threading
import sessiondb

def work(number):
    handle = db.table("t", indexes=["n"])
    count = handle.get(f"w{number}-a", {"n": 0})["n"]
    while True:
        count += 1
        record = {"n": count, "text": "x" * (count * 7919 % 900)}
        handle.put_many({f"w{number}-{letter}": record for letter in "abc"})
        os.write(1, b"%d %d\\n" % (number, count))

exec(sys.argv[3])
try:
    db = sessiondb.open(sys.argv[1], checkpoint_records=int(sys.argv[2]))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
except BaseException as error:
    os.write(2, repr(error).encode())
    raise
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=SETUP_TIMEOUT_S)


class Machine:
    """A file system in a file, mounted by loop."""

    def __init__(self, folder: Path, kind: str):
        self.image = folder / f"{kind}.img"
        self.mount_point = folder / f"{kind}.mnt"
        self.mount_point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run(f"mkfs.{kind}", "-q", str(self.image))
        self.mounted = False

    def target(self, name: str) -> Path:
        """Where the store is."""
        return Path(real_target(name, self.mount_point).path)

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.mount_point))
        self.mounted = True

    def cut_power(self) -> None:
        """Everything that no sync has made durable is gone."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        if self.mounted:
            run("umount", str(self.mount_point))
            self.mounted = False


@contextmanager
def machine(folder: Path, kind: str) -> Iterator[Machine]:
    """A machine with a fresh file system; whatever happens, nothing stays mounted."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is missing")
    made = Machine(folder, kind)
    try:
        try:
            made.mount()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{kind} cannot be mounted here: {error.stderr.decode().strip()}")
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            made.unmount()
        if made.mounted:
            subprocess.run(["umount", "-l", str(made.mount_point)], check=False, timeout=SETUP_TIMEOUT_S)
        made.image.unlink()


def cut_under_a_busy_process(
    made: Machine, store: Path, acknowledged: dict[int, int], after: int, checkpoint_records: int, planted: str = ""
) -> int:
    """Run the busy program, cut the power when it has acknowledged `after` transactions, mount again and look."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(store), str(checkpoint_records), planted],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    seen = 0
    try:
        for line in process.stdout:
            seen += 1
            number, count = line.split()
            acknowledged[int(number)] = int(count)
            if seen == after:
                # When the power goes, no program runs on: stopped first, whoever is in the kernel never comes back to
                # acknowledge. The shutdown itself takes time, and on ext4 a sync that it overtakes may say OK: a
                # program of bare pwrite + fdatasync, without the engine, lost 4 of 163,054 acknowledgements that way.
                process.send_signal(signal.SIGSTOP)
                made.cut_power()
                process.kill()  # what it still had to say is in the pipe
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert seen >= after, "the process ended by itself"
    made.unmount()
    made.mount()
    with sessiondb.table(store, "t", checkpoint_records=10**6) as table:
        assert table.database.check() == []
        for number in range(3):
            found = [table.get(f"w{number}-{letter}") for letter in "abc"]
            assert found[0] == found[1] == found[2], f"half a transaction of thread {number}"
            count = 0 if found[0] is None else found[0]["n"]
            expected = acknowledged.get(number, 0)
            assert count in (expected, expected + 1), f"thread {number} was told {expected}, the store has {count}"
            acknowledged[number] = count
            assert {key for key, _ in table.find({"n": count})} >= {f"w{number}-{letter}" for letter in "abc" if count}
    return seen


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_power_cut_takes_an_acknowledged_write(kind: str, target: str, tmp_path: Path, tell: Tell) -> None:
    rng = random.Random(f"{kind} {target}")
    acknowledged: dict[int, int] = {}
    with machine(tmp_path, kind) as made:
        store = made.target(target)
        seen = sum(
            cut_under_a_busy_process(made, store, acknowledged, rng.randrange(1, 300), rng.choice(CHECKPOINT_RECORDS))
            for _ in range(CUTS)
        )
    tell(f"power cuts, {target} on {kind}: {CUTS}, {seen} acknowledged transactions, 0 missing")


PLANTED = {
    "sqlite": """
from sessiondb_backends import sqlite_connection
set_pragma = sqlite_connection._set
def mutated(connection, place, pragma, value, wanted):
    set_pragma(connection, place, pragma, *(("OFF", 0) if pragma == "synchronous" else (value, wanted)))
sqlite_connection._set = mutated
""",
    "lmdb": """
import lmdb
environment = lmdb.Environment
lmdb.Environment = lambda *a, **options: environment(*a, **{**options, "sync": False, "metasync": False})
""",
}
"""The library is told not to sync, behind the backend's back."""


@pytest.mark.parametrize("target", PLANTED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_that_does_not_sync_is_caught(kind: str, target: str, tmp_path: Path, tell: Tell) -> None:
    """The cuts do hit checkpoints: what the log has let go and the backend did not sync is missed."""
    rng = random.Random(f"{kind} {target}")
    acknowledged: dict[int, int] = {}

    def cut_until_it_shows(made: Machine) -> None:
        for _ in range(30):
            after = rng.randrange(20, 300)
            cut_under_a_busy_process(made, made.target(target), acknowledged, after, 15, PLANTED[target])

    with machine(tmp_path, kind) as made, pytest.raises((AssertionError, SessionDBError)) as caught:
        cut_until_it_shows(made)
    assert "ended by itself" not in str(caught.value)
    tell(f"power cuts, {target} without its syncs on {kind}: {str(caught.value)[:100]}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_cut_is_a_real_one(kind: str, tmp_path: Path) -> None:
    """What nobody synced does not survive it: else the other test would prove nothing."""
    with machine(tmp_path, kind) as made:
        (made.mount_point / "synced").write_bytes(b"x" * 5000)
        run("sync", str(made.mount_point / "synced"))
        run("sync", str(made.mount_point))
        (made.mount_point / "unsynced").write_bytes(b"x" * 5000)
        made.cut_power()
        made.unmount()
        made.mount()
        assert (made.mount_point / "synced").read_bytes() == b"x" * 5000
        unsynced = made.mount_point / "unsynced"
        assert not unsynced.exists() or unsynced.read_bytes() != b"x" * 5000
