"""The tests bite: each planted protocol bug is caught, and a report says by what.

Catchers are tried in this order: the crash-state simulator on the workloads that the bug's author would think of;
faults; damage; the simulator with more disks for each moment, then on all workloads. The first that complains has
caught it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

import pytest

import crash.mutants_atomic  # noqa: F401 - its bugs are in MUTANTS
from crash.damage import damage_at, judge, places, prepare
from crash.mutants import MUTANTS
from crash.oracle import deterministic, forget_everything
from crash.simulate import Job, run_job
from crash.test_faults import ALL_FAULTS, FAULTS, run_until_it_succeeds
from crash.workloads import WORKLOADS


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    forget_everything()


def caught_by_states(names: tuple[str, ...], target: str, seeds: int, budget: int) -> str:
    """The first workload whose crash states are not right."""
    for seed in range(seeds):
        for name in names:
            try:
                violations = run_job(Job(name, seed, budget, target=target)).violations
            except Exception as error:  # noqa: BLE001 - whatever it is, it was noticed
                violations = [f"{name} seed {seed}: {type(error).__name__}: {error}"]
            if violations:
                return f"crash states: {violations[0]}"
    return ""


def caught_by_faults(target: str) -> str:
    """The first fault after which something is not right."""
    for name, fault in (FAULTS if target == "json" else ALL_FAULTS).items():
        try:
            run_until_it_succeeds(fault, 1, target, stride=3)
        except Exception as error:  # noqa: BLE001 - as above
            return f"faults, {name}: {type(error).__name__}: {error}"
    return ""


def caught_by_damage() -> str:
    """The first damaged bit that is served."""
    with deterministic(7):
        for kind in ("killed", "rolled"):
            store = prepare(kind)
            for path in store.files:
                for number, place in enumerate(places(store, "bits", path)):
                    if number % 3:
                        continue
                    try:
                        judge(store, damage_at(store, "bits", path, place))
                    except Exception as error:  # noqa: BLE001 - as above
                        return f"damage: {type(error).__name__}: {error}"
    return ""


CATCHERS: tuple[Callable[[tuple[str, ...], str], str], ...] = (
    lambda likely, target: caught_by_states(likely, target, seeds=3, budget=12),
    lambda likely, target: caught_by_faults(target),
    lambda likely, target: caught_by_damage() if target == "json" else "",
    lambda likely, target: caught_by_states(likely, target, seeds=2, budget=150),
    lambda likely, target: caught_by_states(tuple(WORKLOADS), target, seeds=2, budget=12),
)


def hunt(likely: tuple[str, ...], target: str) -> str:
    """What catches the bug that is planted; "" when nothing does."""
    for catch in CATCHERS:
        found = catch(likely, target)
        forget_everything()
        if found:
            return found
    return ""


PLAIN = [
    "a commit is acknowledged without a sync",
    "a failed sync is tried again",
    "a step returns before it is durable",
    "SQLite's segments are dropped before its transaction is done",
    "LMDB's segments are dropped before its transaction is done",
]


def test_there_are_enough_planted_bugs() -> None:
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("sentence", PLAIN)
def test_a_planted_bug_is_caught_in_the_plain_run_too(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[sentence]
    mutant.plant(monkeypatch)
    assert caught_by_states(mutant.workloads, mutant.target, seeds=2, budget=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", ["json", "memory"])
def test_nothing_is_caught_where_nothing_is_planted(target: str) -> None:
    assert not hunt((), target)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sentence", MUTANTS)
def test_a_planted_bug_is_caught(
    sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant = MUTANTS[sentence]
    with monkeypatch.context() as patch:
        mutant.plant(patch)
        caught = hunt(mutant.workloads, mutant.target)
    with capsys.disabled():
        print(f"\n{sentence}\n    {caught[:200] or 'NOT CAUGHT'}")
    assert caught, f"nobody notices when {sentence}"
    assert not re.search("AttributeError|NameError|TypeError|ModuleNotFoundError", caught), (
        f"the planted bug does not fit: {caught}"
    )
