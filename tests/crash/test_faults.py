"""One file operation fails, then the next one, until the program runs through: every error is a documented one.

Each run of the program meets one fault: EIO, ENOSPC, half a write, EINTR, EACCES, or a sync that fails, drops the
pages and says OK the next time. Or the fault stays until the store is opened again (a full disk). With SQLite and
LMDB, whose own I/O is one step here, the step fails before or after it has done its work. After each:

* what was raised is a `SessionDBError`; what failed without `DurabilityUnknownError` left nothing behind;
* the store is usable or says that it is poisoned, and shows a state that was committed;
* a later open needs no kill in between (locks are free), and what was acknowledged is there; after a power cut too.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from crash.faulting import ALL_FAULTS, FAULTS, STEP_FAULTS, run_everywhere, run_once, run_pairs, run_until_it_succeeds
from crash.workers import spread
from figures import Tell

SEEDS = (1, 2)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_some_operations_is_named_and_loses_nothing(name: str) -> None:
    """A part for the plain run."""
    assert run_until_it_succeeds(FAULTS[name], seed=1, start=len(name) % 7, stride=7) > 1


@pytest.mark.parametrize("target", ["json", "memory"])
def test_a_sync_that_fails_in_an_open_is_not_forgotten_by_the_next_one(target: str) -> None:
    """It succeeds the next time, though the bytes are in the page cache only; what is built on them would be lost."""
    runs = [run_once([(FAULTS["sync fails once"], index)], 1, target) for index in range(12)]
    assert all(runs)


@pytest.mark.parametrize("name", ALL_FAULTS)
def test_a_fault_at_some_operations_of_a_backend_with_its_own_files_loses_nothing(name: str) -> None:
    assert run_until_it_succeeds(ALL_FAULTS[name], seed=1, target="memory", start=len(name) % 3, stride=11) >= (
        1 if name in FAULTS else 0
    )


@pytest.mark.parametrize("name", STEP_FAULTS)
@pytest.mark.parametrize("target", ["memory", "sqlite", "lmdb"])
def test_a_step_that_fails_after_its_work_loses_nothing(target: str, name: str) -> None:
    """Told that it failed, the engine makes the same changes again; the store is at their position already."""
    assert run_until_it_succeeds(STEP_FAULTS[name], seed=1, target=target) > 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fault_at_every_operation_is_named_and_loses_nothing(tell: Tell) -> None:
    kinds = [*product(["json"], FAULTS, SEEDS), *product(["sqlite", "lmdb"], ALL_FAULTS, SEEDS)]
    runs: Counter[str] = Counter()
    for (target, name, seed), count in zip(kinds, spread(run_everywhere, kinds), strict=True):
        assert count > 1, (target, name, seed)
        runs[target] += count
    tell(f"faults at every operation, {len(ALL_FAULTS)} kinds: {dict(runs)} runs, 0 violations")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_fault_soon_after_the_first_is_no_worse(tell: Tell) -> None:
    """In the clean-up, in the retry, in the recovery: a sample of pairs."""
    runs = sum(spread(run_pairs, range(6)))
    tell(f"faults, in pairs: {runs} runs, 0 violations")
