"""The tests bite: each planted protocol bug is caught, and a report says by what.

Catchers are tried in this order: the crash-state simulator on the workloads that the bug's author would think of, then
on all of them; faults; damage. The first that complains has caught it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

import pytest

from crash.damage import damage_at, judge, places, prepare
from crash.mutants import MUTANTS
from crash.oracle import deterministic, forget_everything
from crash.simulate import Job, run_job
from crash.test_faults import FAULTS, run_until_it_succeeds
from crash.workloads import WORKLOADS


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    forget_everything()


def caught_by_states(names: tuple[str, ...], seeds: int, budget: int) -> str:
    """The first workload whose crash states are not right."""
    for seed in range(seeds):
        for name in names:
            try:
                violations = run_job(Job(name, seed, budget)).violations
            except Exception as error:  # noqa: BLE001 - whatever it is, it was noticed
                violations = [f"{name} seed {seed}: {type(error).__name__}: {error}"]
            if violations:
                return f"crash states: {violations[0]}"
    return ""


def caught_by_faults() -> str:
    """The first fault after which something is not right."""
    for name, fault in FAULTS.items():
        try:
            run_until_it_succeeds(fault, seed=1, stride=3)
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


CATCHERS: tuple[Callable[[tuple[str, ...]], str], ...] = (
    lambda likely: caught_by_states(likely, seeds=3, budget=12),
    lambda likely: caught_by_faults(),
    lambda likely: caught_by_damage(),
    lambda likely: caught_by_states(tuple(WORKLOADS), seeds=2, budget=12),
)


def hunt(likely: tuple[str, ...]) -> str:
    """What catches the bug that is planted; "" when nothing does."""
    for catch in CATCHERS:
        found = catch(likely)
        forget_everything()
        if found:
            return found
    return ""


def test_there_are_enough_planted_bugs() -> None:
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("sentence", ["a commit is acknowledged without a sync", "a failed sync is tried again"])
def test_a_planted_bug_is_caught_in_the_plain_run_too(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[sentence]
    mutant.plant(monkeypatch)
    assert caught_by_states(mutant.workloads, seeds=2, budget=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_caught_where_nothing_is_planted() -> None:
    assert not hunt(())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sentence", MUTANTS)
def test_a_planted_bug_is_caught(
    sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant = MUTANTS[sentence]
    with monkeypatch.context() as patch:
        mutant.plant(patch)
        caught = hunt(mutant.workloads)
    with capsys.disabled():
        print(f"\n{sentence}\n    {caught[:200] or 'NOT CAUGHT'}")
    assert caught, f"nobody notices when {sentence}"
    assert not re.search("AttributeError|NameError|TypeError", caught), f"the planted bug does not fit: {caught}"
