"""The process dies at every operation of a migration: both stores are whole, and running it again completes it.

As `crash.killing` does it: a forked child migrates and ends at operation n, before it, after it, or with half of a
write done; another one looks. SQLite and LMDB do their own I/O: with them it dies before SQLite's statements, and where
LMDB's transactions let others run.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sessiondb
from crash.dying import MOMENTS, Moment
from crash.migrating import SCENARIOS, Scenario
from crash.migration_kills import kill_at, kill_everywhere, prepared
from crash.workers import spread
from figures import Tell

SAMPLES = 5


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_kill_at_some_operations_leaves_both_stores_whole(scenario: Scenario, fast_folder: Path) -> None:
    """A sample for the plain run: the end, where the stores change places, and some of the rest."""
    base, count = prepared(fast_folder, scenario)
    assert count >= 20
    rng = random.Random(str(scenario))
    chosen = [*rng.sample(range(count // 2), SAMPLES - 2), *rng.sample(range(count // 2, count), SAMPLES)]
    for number, fatal in enumerate(chosen):
        moment: Moment = MOMENTS[number % 3]
        assert kill_at(base, fast_folder / "work", scenario, fatal, moment) is not None or moment == "half"


BUSY = """
import os, sys
import sessiondb
from sessiondb.migration import building

building.BATCH_RECORDS = 100

def tell(step):
    os.write(1, b".\\n")

sessiondb.migrate(sys.argv[1], sys.argv[2], execute=True, replace=True, progress=tell)
os.write(1, b"done\\n")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", ["json", "db", "lmdb"])
def test_a_sigkill_of_a_migration_leaves_both_stores_whole(suffix: str, tmp_path: Path) -> None:
    """With all the I/O that SQLite and LMDB do by themselves, and wherever it hits."""
    source, target = tmp_path / "source.db", tmp_path / f"target.{suffix}"
    wanted = {f"k{n:05}": {"n": n, "text": "x" * (n % 300)} for n in range(4_000)}
    with sessiondb.table(source, "t", indexes=["n"]) as table:
        table.put_many(wanted)
    rng = random.Random(suffix)
    ends: Counter[str] = Counter()
    for number in range(10):
        old = {"old": {"n": number}}
        with sessiondb.table(target, "t") as table:
            table.clear()
            table.update(old)
        process = subprocess.Popen(
            [sys.executable, "-c", BUSY, str(source), str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        after, said = rng.randrange(1, 90), []
        for line in process.stdout:
            said.append(line)
            if len(said) == after or line == b"done\n":
                process.send_signal(signal.SIGKILL)
        process.communicate()
        with sessiondb.table(target, "t") as table:
            assert table.database.check() == []
            found = dict(table.items())
            assert found in (old, wanted)
            ends["new" if found == wanted else "old"] += 1
        with sessiondb.table(source, "t", read_only=True) as table:
            assert dict(table.items()) == wanted
        sessiondb.migrate(source, target, execute=True, replace=True)
        with sessiondb.table(target, "t") as table:
            assert dict(table.items()) == wanted
        assert not list(tmp_path.rglob("*migrating*"))
        for copy in tmp_path.glob("target-before-*"):
            with sessiondb.table(copy, "t", read_only=True) as table:
                assert dict(table.items()) in (old, wanted)
            if copy.is_dir():
                shutil.rmtree(copy)
            else:
                copy.unlink()
    assert ends["old"] >= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_every_operation_leaves_both_stores_whole(fast_folder: Path, tell: Tell) -> None:
    jobs = [(scenario, str(fast_folder / f"{number}")) for number, scenario in enumerate(SCENARIOS)]
    kills = Counter[str]()
    for (scenario, _), (count, replaced) in zip(jobs, spread(kill_everywhere, jobs), strict=True):
        kills[str(scenario)] += count
        assert 0 < replaced < count, scenario
    tell(f"kills during migrations: {kills.total()}, 0 violations; {dict(kills)}")
    assert min(kills.values()) >= 30
