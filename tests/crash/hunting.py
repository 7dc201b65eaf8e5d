"""Hunting a planted bug: what of the crash kit complains first.

Catchers are tried in this order: the crash-state simulator on the workloads that the bug's author would think of;
faults; damage; the simulator with more disks for each moment, then on all workloads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from . import mutants_atomic, mutants_ownership, mutants_recovery  # noqa: F401 - their bugs are in MUTANTS
from .damage import damage_at, judge, places, prepare
from .faulting import ALL_FAULTS, FAULTS, SERVER_FAULTS, run_until_it_succeeds
from .mutants import MUTANTS
from .network_faulting import run_take_over_everywhere
from .network_oracle import NetworkJob, run_network_job
from .oracle import deterministic, forget_everything
from .simulate import Job, run_job
from .target import TARGETS
from .workloads import WORKLOADS
from .workloads_network import NETWORK_WORKLOADS

__all__ = ["MUTANTS", "NETWORK", "caught_by_network", "caught_by_states", "hunt_planted"]

NETWORK = "network"
"""The target of bugs that take two hosts and a server."""


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


def caught_by_network(names: tuple[str, ...], seeds: int, budget: int) -> str:
    """The first workload of two hosts in which something is not right."""
    for seed in range(seeds):
        for name in names:
            try:
                violations = run_network_job(NetworkJob(name, seed, budget)).violations
            except Exception as error:  # noqa: BLE001 - as above
                violations = [f"{name} seed {seed}: {type(error).__name__}: {error}"]
            if violations:
                return f"two hosts: {violations[0]}"
    return ""


def caught_by_network_faults() -> str:
    """The first fault after which something is not right with two hosts."""
    for name in SERVER_FAULTS:
        for seed in range(3):
            try:
                run_take_over_everywhere((name, seed, 0, 9))
            except Exception as error:  # noqa: BLE001 - as above
                return f"faults, {name}: {type(error).__name__}: {error}"
    return ""


CATCHERS: tuple[Callable[[tuple[str, ...], str], str], ...] = (
    lambda likely, target: caught_by_states(likely, target, seeds=3, budget=12),
    lambda likely, target: caught_by_faults(target),
    lambda likely, target: caught_by_damage() if target == "json" else "",
    lambda likely, target: caught_by_states(likely, target, seeds=2, budget=150),
    lambda likely, target: caught_by_states(tuple(WORKLOADS), target, seeds=1, budget=12),
)


NETWORK_CATCHERS: tuple[Callable[[tuple[str, ...], str], str], ...] = (
    lambda likely, target: caught_by_network(likely, seeds=4, budget=2),
    lambda likely, target: caught_by_network(tuple(NETWORK_WORKLOADS), seeds=3, budget=2),
    lambda likely, target: caught_by_network_faults(),
)


def hunt(likely: tuple[str, ...], target: str) -> str:
    """What catches the bug that is planted; "" when nothing does."""
    for catch in NETWORK_CATCHERS if target == NETWORK else CATCHERS:
        found = catch(likely, target)
        forget_everything()
        if found:
            return found
    return ""


def hunt_planted(sentence: str) -> str:
    """In a worker: plant the bug and say what catches it; for a target's name, nothing is planted."""
    logging.disable(logging.CRITICAL)
    if sentence in (*TARGETS, NETWORK):
        return hunt((), sentence)
    mutant = MUTANTS[sentence]
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        return hunt(mutant.workloads, mutant.target)
