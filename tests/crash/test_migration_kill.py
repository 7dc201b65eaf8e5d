"""The process dies at every operation of a migration: both stores are whole, and running it again completes it.

As `crash.killing` does it: a forked child migrates and ends at operation n, before it, after it, or with half of a
write done; another one looks. SQLite and LMDB do their own I/O: with them it dies before SQLite's statements, and where
LMDB's transactions let others run.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from crash.dying import MOMENTS, Moment
from crash.migrating import SCENARIOS, Scenario
from crash.migration_kills import kill_at, kill_everywhere, prepared
from crash.workers import spread

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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_every_operation_leaves_both_stores_whole(
    fast_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [(scenario, str(fast_folder / f"{number}")) for number, scenario in enumerate(SCENARIOS)]
    kills = Counter[str]()
    for (scenario, _), (count, replaced) in zip(jobs, spread(kill_everywhere, jobs), strict=True):
        kills[str(scenario)] += count
        assert 0 < replaced < count, scenario
    with capsys.disabled():
        print(f"\nkills during migrations: {kills.total()}, 0 violations; {dict(kills)}")
    assert min(kills.values()) >= 30
