"""Kills a migration at each of its operations, in forked children, and looks what the next process finds."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

from sessiondb import opening

from .dying import MOMENTS, DyingFiles, Moment, dying_backends
from .killing import in_child
from .migrating import Scenario, make_stores, must_be_whole, run
from .oracle import deterministic

__all__ = ["kill_at", "kill_everywhere", "prepared"]


def make(folder: Path, scenario: Scenario) -> None:
    """Both stores, whose process was killed."""

    def work(_: int) -> None:
        files = DyingFiles()
        with deterministic(1):
            make_stores(files, str(folder), scenario)
            os._exit(9)

    for name in (scenario.source, scenario.target):  # imported before the forks
        opening.backend_class({".json": "json", ".db": "sqlite", ".lmdb": "lmdb"}[os.path.splitext(name)[1]])
    status, _ = in_child(work)
    assert status == 9


def migrate_in_child(folder: Path, scenario: Scenario, fatal: int, moment: Moment) -> tuple[int, int]:
    """Exit status, and how many operations there were when it came to its end."""

    def work(pipe: int) -> None:
        files = DyingFiles(-1, fatal, moment)
        with deterministic(2), dying_backends(files):
            run(files, str(folder), scenario)
        os.write(pipe, b"%d" % files.count)

    status, count = in_child(work)
    assert status in (0, 9), f"{scenario}: it failed when it should have died"
    return status, int(count or 0)


def look_in_child(folder: Path, scenario: Scenario) -> bool:
    """What must be true is true; whether the target had been replaced."""

    def work(pipe: int) -> None:
        with deterministic(3):
            os.write(pipe, b"%d" % must_be_whole(DyingFiles(), str(folder), scenario))

    status, answer = in_child(work)
    assert status == 0
    return answer == b"1"


def kill_at(base: Path, folder: Path, scenario: Scenario, fatal: int, moment: Moment) -> bool | None:
    """Kill it there and look; whether the target had been replaced, ``None`` when it never came to that."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(base, folder)
    status, _ = migrate_in_child(folder, scenario, fatal, moment)
    try:
        replaced = look_in_child(folder, scenario)
    except AssertionError as error:
        raise AssertionError(f"{scenario}: killed {moment} operation {fatal}: {error}") from error
    assert replaced or status == 9
    return replaced if status == 9 else None


def prepared(folder: Path, scenario: Scenario) -> tuple[Path, int]:
    """A folder with both stores, and the number of operations of a migration that nothing stops."""
    base = folder / "base"
    base.mkdir()
    make(base, scenario)
    shutil.copytree(base, folder / "whole")
    status, count = migrate_in_child(folder / "whole", scenario, -1, "before")
    assert status == 0
    assert look_in_child(folder / "whole", scenario)
    return base, count


def kill_everywhere(job: tuple[Scenario, str]) -> tuple[int, int]:
    """Kill it at every operation, and in the middle of each write; how often, and how often it was replaced already."""
    scenario, name = job
    folder = Path(name)
    folder.mkdir()
    base, count = prepared(folder, scenario)
    seen: Counter[bool | None] = Counter()
    for fatal in range(count):
        for moment in MOMENTS if fatal % 4 == 0 else MOMENTS[:2]:
            seen[kill_at(base, folder / "work", scenario, fatal, moment)] += 1
    return seen[True] + seen[False], seen[True]
