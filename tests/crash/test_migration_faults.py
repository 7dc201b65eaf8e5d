"""Each operation of a migration fails once, as on a full or broken disk; and the disk is really full.

Whatever fails, the error is one of ours, both stores are whole, and the next run completes it.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.dying import DyingFiles
from crash.migrating import SCENARIOS, Scenario, must_be_whole, run
from crash.migration_kills import make
from crash.oracle import deterministic
from crash.test_full_disk import fill
from crash.test_full_disk import small_disk as small_disk
from figures import Tell
from sessiondb.errors import SessionDBError, StoreFailedError
from sessiondb.files import Files
from sessiondb.testing import FaultyFiles

FAULTS = 6
"""Of each kind and scenario, in the plain run."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def fail_once(base: Path, folder: Path, scenario: Scenario, number: int, *, after: bool) -> tuple[str, str]:
    """Let the operation with this number fail, and look; what failed, and how that ended. Nothing failed: ""."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(base, folder)
    files = FaultyFiles()
    outcome = "migrated"
    with files.failing_at(number, errno.EIO if number % 2 else errno.ENOSPC, after=after) as failed:
        try:
            run(files, str(folder), scenario)
        except SessionDBError as error:
            outcome = type(error).__name__
    if not failed:
        return "", outcome
    try:
        must_be_whole(FaultyFiles(), str(folder), scenario)
    except AssertionError as error:
        raise AssertionError(f"{scenario}: {failed[0]} failed ({number}, after={after}): {error}") from error
    return failed[0], outcome


def fail_everywhere(folder: Path, scenario: Scenario, faults: int) -> Counter[str]:
    """Let so many operations fail, spread over the whole; how that ended, and how often."""
    base = folder / "base"
    base.mkdir()
    make(base, scenario)
    ends: Counter[str] = Counter()
    for after in (False, True):
        counting = FaultyFiles()
        seen = 0

        def count(_: str, __: str) -> None:
            nonlocal seen
            seen += 1

        setattr(counting, "after" if after else "before", count)
        shutil.copytree(base, folder / f"counted-{after}")
        with deterministic(1):
            run(counting, str(folder / f"counted-{after}"), scenario)
        step = max(1, seen // faults)
        for number in range(seen, 0, -step):
            with deterministic(number):
                what, outcome = fail_once(base, folder / "work", scenario, number, after=after)
            ends[outcome] += bool(what)
    return ends


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_an_operation_that_fails_leaves_both_stores_whole(scenario: Scenario, fast_folder: Path) -> None:
    ends = fail_everywhere(fast_folder, scenario, FAULTS)
    assert ends.total() >= FAULTS
    assert ends["BackendError"] + ends["StoreFailedError"] > ends.total() // 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_operation_that_fails_leaves_both_stores_whole(fast_folder: Path, tell: Tell) -> None:
    ends: Counter[str] = Counter()
    for number, scenario in enumerate(SCENARIOS):
        (fast_folder / f"{number}").mkdir()
        ends += fail_everywhere(fast_folder / f"{number}", scenario, 60)
    tell(f"faults during migrations: {ends.total()} operations failed once: {dict(ends)}, 0 violations")
    assert ends.total() >= 1_000


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_full_disk_refuses_the_migration_and_costs_nothing(scenario: Scenario, small_disk: Path, tell: Tell) -> None:
    base = small_disk / "base"
    base.mkdir()
    make(base, scenario)
    ends: Counter[str] = Counter()
    for left_kb in (*range(0, 40, 4), *range(40, 256, 24)):
        shutil.copytree(base, small_disk / "work")
        ballast = fill(small_disk, left_kb)
        try:
            with deterministic(left_kb):
                run(Files(), str(small_disk / "work"), scenario)
            ends["migrated"] += 1
        except StoreFailedError as error:
            if not re.search("no space|full|failing", str(error).lower()):
                raise
            ends[type(error).__name__] += 1
        ballast.unlink()
        with deterministic(left_kb):
            must_be_whole(DyingFiles(), str(small_disk / "work"), scenario)
        shutil.rmtree(small_disk / "work")
    tell(f"full disk, {scenario}: {dict(ends)}, 0 violations")
    assert ends["BackendError"] + ends["StoreFailedError"] >= 1
    assert ends["migrated"] >= 1
