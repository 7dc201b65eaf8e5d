"""The process dies at every file operation: nothing that had returned is missing, nothing is half there.

A forked child runs a workload and ends at operation n, before it, after it, or with half of a write done. The
parent then opens the store. The kernel lives on, so whatever had returned must be there, at any sync level. Syncs are
stubbed. And a busy process with threads and background checkpoints is killed for real, with SIGKILL.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sessiondb
from crash.killing import DyingFiles, Moment, read_announcements
from crash.oracle import HUGE, deterministic, forget_everything, read_tables
from crash.workloads import WORKLOADS, Session

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
                WORKLOADS[name](Session(1, DyingFiles(writing, fatal, moment), str(folder / "store.json")))
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
        session = Session(1, files, str(folder / "store.json"))
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


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_at_some_operations_loses_nothing_that_had_returned(name: str, fast_folder: Path) -> None:
    """A sample for the plain run."""
    (fast_folder / "count").mkdir()
    count = count_operations(name, fast_folder / "count")
    for number, fatal in enumerate(random.Random(name).sample(range(count), 4)):
        moment: Moment = ("before", "half", "after", "before")[number]
        assert kill_at(name, fast_folder / "store", fatal, moment) or moment == "half"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_every_operation_loses_nothing_that_had_returned(
    fast_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after each operation, and in the middle of each write: at least 2,000 kills."""
    kills = 0
    moments: tuple[Moment, ...] = ("before", "half", "after")
    for name in KILLED:
        (fast_folder / "count").mkdir()
        for fatal in range(count_operations(name, fast_folder / "count")):
            for moment in moments:
                kills += kill_at(name, fast_folder / "store", fatal, moment)
    with capsys.disabled():
        print(f"\nkills at file operations: {kills}, in {len(KILLED)} workloads, 0 violations")
    assert kills >= 2_000


BUSY = """
import os, sys, threading
import sessiondb

def work(number):
    handle = db.table("t")
    count = handle.get(f"w{number}-a", {"n": 0})["n"]
    while True:
        count += 1
        record = {"n": count, "text": "x" * (count * 7919 % 700)}
        handle.put_many({f"w{number}-{letter}": record for letter in "abc"})
        os.write(1, b"%d %d\\n" % (number, count))

db = sessiondb.open(sys.argv[1], checkpoint_records=40)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
"""


def kill_busy_process(path: Path, acknowledged: dict[int, int], after: int) -> int:
    """Start a busy process, SIGKILL it when it has acknowledged `after` transactions, and look what is there.

    Returns:
        The number of acknowledgements.
    """
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = 0
    try:
        for line in process.stdout:
            seen += 1
            if seen == after:
                process.send_signal(signal.SIGKILL)
            if line.endswith(b"\n"):
                number, count = line.split()
                acknowledged[int(number)] = int(count)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    with sessiondb.table(path, "t", checkpoint_records=40) as table:
        for number in range(4):
            found = [table.get(f"w{number}-{letter}") for letter in "abc"]
            assert found[0] == found[1] == found[2], f"half a transaction of thread {number}: {found}"
            count = 0 if found[0] is None else found[0]["n"]
            expected = acknowledged.get(number, 0)
            assert count in (expected, expected + 1), f"thread {number} was told {expected}, the store has {count}"
            acknowledged[number] = count
    return seen


def test_a_sigkill_of_a_busy_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: dict[int, int] = {}
    for after in (1, 60):
        kill_busy_process(tmp_path / "store.json", acknowledged, after)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_sigkills_of_a_busy_process_lose_nothing_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledged: dict[int, int] = {}
    rng = random.Random(50)
    seen = sum(kill_busy_process(tmp_path / "store.json", acknowledged, rng.randrange(1, 600)) for _ in range(50))
    with capsys.disabled():
        print(f"\nSIGKILLs of a busy process: 50, {seen} acknowledged transactions, 0 missing")
