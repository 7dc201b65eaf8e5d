"""The process dies at every file operation: nothing that had returned is missing, nothing is half there.

A forked child runs a workload and ends at operation n, before it, after it, or with half of a write done. Another
one then opens the store. The kernel lives on, so whatever had returned must be there, at any sync level. Syncs are
stubbed. And a busy process with threads and background checkpoints is killed for real, with SIGKILL.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sessiondb
from crash.dying import Moment
from crash.killing import WORKLOADS_OF, Job, count_operations, kill_at, kill_everywhere
from crash.target import real_target
from crash.workers import spread
from figures import Tell

TARGETS = sorted(WORKLOADS_OF)
STRIDES = {"json": 1, "sqlite": 3, "lmdb": 2}
ALL_OPERATIONS = int(os.environ.get("SESSIONDB_TEST_STATES", "0")) > 50_000
SIGKILLS = 18
"""On each backend."""


@pytest.mark.parametrize(("target", "name"), [(target, name) for target in TARGETS for name in WORKLOADS_OF[target]])
def test_a_kill_at_some_operations_loses_nothing_that_had_returned(target: str, name: str, fast_folder: Path) -> None:
    """A sample for the plain run."""
    (fast_folder / "store").mkdir()
    store = real_target(target, fast_folder / "store")
    count = count_operations(name, store)
    for number, fatal in enumerate(random.Random(name).sample(range(count), 4)):
        moment: Moment = ("before", "half", "after", "before")[number]
        assert kill_at(name, store, fatal, moment) or moment == "half"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_every_operation_loses_nothing_that_had_returned(fast_folder: Path, tell: Tell) -> None:
    """At each operation, and in the middle of each write: at least 2,000 kills.

    SQLite's and LMDB's processes take longer to look; of their operations, which all workloads have alike, a part.
    """
    jobs = []
    for target in TARGETS:
        stride = 1 if ALL_OPERATIONS else STRIDES[target]
        for number, name in enumerate(WORKLOADS_OF[target]):
            jobs.append(Job(name, target, str(fast_folder), number % stride, stride))
    kills: Counter[str] = Counter()
    # In workers: the fork of a process with little memory is quick.
    for job, count in zip(jobs, spread(kill_everywhere, jobs), strict=True):
        kills[job.target] += count
    tell(f"kills at operations: {kills.total()} {dict(kills)}, 0 violations")
    assert kills["json"] >= 2_000
    assert min(kills.values()) >= 300


BUSY = """
import os, sys, threading
import sessiondb

def work(number):
    handle = db.table("t", indexes=["n"])
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
        assert table.database.check() == []
        for number in range(4):
            found = [table.get(f"w{number}-{letter}") for letter in "abc"]
            assert found[0] == found[1] == found[2], f"half a transaction of thread {number}: {found}"
            count = 0 if found[0] is None else found[0]["n"]
            expected = acknowledged.get(number, 0)
            assert count in (expected, expected + 1), f"thread {number} was told {expected}, the store has {count}"
            acknowledged[number] = count
            assert {key for key, _ in table.find({"n": count})} >= {f"w{number}-{letter}" for letter in "abc" if count}
    return seen


@pytest.mark.parametrize("target", TARGETS)
def test_a_sigkill_of_a_busy_process_loses_nothing_acknowledged(target: str, tmp_path: Path) -> None:
    acknowledged: dict[int, int] = {}
    for after in (1, 60):
        kill_busy_process(Path(real_target(target, tmp_path).path), acknowledged, after)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_sigkills_of_a_busy_process_lose_nothing_acknowledged(tmp_path: Path, tell: Tell) -> None:
    """In turn on each backend: fifty in all and a few."""
    rng = random.Random(50)
    seen: Counter[str] = Counter()
    for target in TARGETS:
        path, acknowledged = Path(real_target(target, tmp_path).path), dict[int, int]()
        for _ in range(SIGKILLS):
            seen[target] += kill_busy_process(path, acknowledged, rng.randrange(1, 600))
    tell(f"SIGKILLs of a busy process: {SIGKILLS} on each backend; acknowledged {dict(seen)}, 0 missing")
