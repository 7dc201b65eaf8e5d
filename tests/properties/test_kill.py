"""Real processes, real SIGKILLs: what was acknowledged is there, whole, and nothing else is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sessiondb
from properties import writer_process
from properties.writer_process import THREADS, state_after
from sessiondb.files import Files
from sessiondb.recovery import survey

ROUNDS = [
    pytest.param(3, id="plain"),
    pytest.param(150, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
]


def write_until_killed(location: Path, steps: list[int], acknowledgements: int) -> list[tuple[int, int, int]]:
    """Kill a writer once it has acknowledged so much; everything that it acknowledged: (thread, step, LSN)."""
    reading, writing = os.pipe()
    arguments = [sys.executable, writer_process.__file__, str(location), str(writing), *map(str, steps)]
    with subprocess.Popen(arguments, pass_fds=[writing], stderr=subprocess.PIPE) as child:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = [line for _, line in zip(range(acknowledgements), pipe, strict=False)]
            child.send_signal(signal.SIGKILL)
            lines += pipe  # what it had said before it died
        assert child.wait() == -signal.SIGKILL, child.stderr and child.stderr.read().decode()
    return [(int(thread), int(step), int(lsn)) for thread, step, lsn in map(str.split, lines)]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_killed_writer_loses_nothing_that_it_acknowledged_and_leaves_no_half_batch(
    rounds: int, tmp_path: Path
) -> None:
    """At every sync level: what the kernel has survives the process. Each round goes on where the last one ended."""
    chance = random.Random(rounds)
    location = tmp_path / "store.json"
    done = [0] * THREADS
    lsn_before = 0
    for _ in range(rounds):
        told = write_until_killed(location, done, chance.choice([1, 5, 40, 150, 400]) + chance.randrange(40))
        last_lsn, tables = look_without_changing(location)
        with sessiondb.open(location) as db:
            report = db.recovery_report
            assert (report.last_lsn, {name: dict(db.table(name).items()) for name in db.tables()}) == (last_lsn, tables)
            assert not report.undurable_lost
            assert db._store is not None
            assert db._store.backend.check() == []
        acknowledged = [
            max((step for who, step, _ in told if who == thread), default=-1) + 1 for thread in range(THREADS)
        ]
        for thread in range(THREADS):
            found = tables.get(f"t{thread}", {})
            least = max(acknowledged[thread], done[thread])
            # One more transaction may have been on its way: all of it is there, or nothing.
            candidates = [steps for steps in (least, least + 1) if state_after(thread, steps) == found]
            assert candidates, f"thread {thread} acknowledged {least} steps, and its table is not as after any of them"
            done[thread] = candidates[0] if candidates == [least] else candidates[-1]
        # Every step was one transaction and got one LSN: dense, none lost, none given twice.
        assert last_lsn == sum(done)
        lsns = {lsn for _, _, lsn in told}
        assert all(lsn_before < lsn <= last_lsn for lsn in lsns)
        lsn_before = last_lsn


def look_without_changing(location: Path) -> tuple[int, dict[str, dict[str, object]]]:
    """What a read-only opening sees; it and a bare survey of the log agree, and not a byte is changed."""
    folder = Path(f"{location}.wal")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with sessiondb.open(location, read_only=True) as db:
        report = db.recovery_report
        tables = {name: dict(db.table(name).items()) for name in db.tables()}
        uuid = bytes.fromhex(db.stats().uuid)
    found = survey(Files(), str(folder), uuid, report.applied_lsn)
    assert found.contents.last_lsn == report.last_lsn
    assert found.contents.transactions == report.transactions
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return report.last_lsn, tables


def test_the_steps_of_the_writer_do_what_the_parent_expects() -> None:
    """The ruler is checked before anything is measured with it."""
    with sessiondb.open("memory:") as db:
        for thread in range(THREADS):
            for step in range(120):
                before = db.position().lsn
                assert writer_process.act(db, thread, step).lsn == before + 1
                assert dict(db.table(f"t{thread}").items()) == state_after(thread, step + 1)
