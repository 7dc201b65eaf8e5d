"""The power is cut at every moment of a migration into a JSON file: both stores are whole, and it can be completed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random

import pytest

from crash.disk import SimulatedDisk
from crash.migrating import SCENARIOS, Scenario, make_stores, must_be_whole, run
from crash.oracle import deterministic, forget_everything
from crash.states import Replay, possible_disks
from figures import Tell
from sessiondb.files import Files
from sessiondb.migration.target import Target

FOLDER = "/sim"
JSON = [scenario for scenario in SCENARIOS if (scenario.source, scenario.target) == ("source.json", "target.json")]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What recoveries report is right, and not wanted here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def cut_everywhere(scenario: Scenario, seed: int, budget: int) -> tuple[int, int]:
    """Cut the power after each operation, with so many disks that it may leave.

    Returns:
        How many disks were looked at, and on how many of them the target had been replaced.
    """
    rng = Random(seed)
    with deterministic(seed):
        disk = SimulatedDisk()
        abandoned = make_stores(disk, FOLDER, scenario)
        disk.kill()
        forget_everything()
        disk.settle(None)
        run(disk, FOLDER, scenario)
        assert disk.log is not None
        replay = Replay.before(disk)
        looked = replaced = 0
        seen: set[int] = set()
        known: dict[int, tuple[bytes, bytes]] = {}
        for number, op in enumerate(disk.log):
            replay.apply(op)
            for state in possible_disks(replay, rng, budget):
                digest = state.digest(known)
                if digest in seen:
                    continue
                seen.add(digest)
                forget_everything()
                try:
                    replaced += must_be_whole(state.disk(keep_log=False), FOLDER, scenario)
                except Exception as error:
                    raise AssertionError(f"{scenario}, seed {seed}: cut behind operation {number} ({op})") from error
                looked += 1
        for state in possible_disks(replay, rng, budget):
            forget_everything()
            assert must_be_whole(state.disk(keep_log=False), FOLDER, scenario), f"{scenario}: it was not durable"
        del abandoned
        return looked, replaced


@pytest.mark.parametrize("scenario", JSON, ids=str)
def test_a_power_cut_at_any_moment_leaves_both_stores_whole(scenario: Scenario) -> None:
    looked, replaced = cut_everywhere(scenario, 1, 2)
    assert looked >= 40
    assert 0 < replaced < looked


def unsynced_copy(files: Files, source: str, target: str) -> None:
    reading, writing = files.open(source, read_only=True), files.open(target, create=True, exclusive=True)
    writing.pwrite(reading.pread(1 << 20, 0), 0)
    reading.close()
    writing.close()


def unsynced_removal(target: Target) -> None:
    for name in target.files.names(target.folder):
        if name == "HEAD" or name.endswith(".seg"):
            target.files.unlink(f"{target.folder}/{name}")


@pytest.mark.parametrize(
    ("what", "instead", "scenario"),
    [
        ("sessiondb_backends.file_replacement.copy_file", unsynced_copy, JSON[0]),
        ("sessiondb.migration.target.Target.remove_log", unsynced_removal, JSON[2]),
    ],
)
def test_a_migration_without_one_of_its_steps_is_noticed(
    what: str, instead: object, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, instead)
    with pytest.raises(AssertionError, match="cut behind operation"):
        cut_everywhere(scenario, 1, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_more_disks_that_a_power_cut_may_leave(tell: Tell) -> None:
    looked = sum(cut_everywhere(scenario, 2, 25)[0] for scenario in JSON)
    tell(f"power cuts during migrations: {looked} disks, 0 violations")
    assert looked >= 5_000
