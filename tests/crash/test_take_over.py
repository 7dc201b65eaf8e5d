"""A store that goes from host to host: whatever stops or fails, histories never mix, and nothing is lost silently.

Two machines with a log each and a server on the simulated disk (`crash.network`); the server is PostgreSQL's stand-in.
The real one is killed in ``tests/postgres``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest

from crash.atomic_server import AtomicServer
from crash.disk import SimulatedDisk
from crash.faulting import SERVER_FAULTS
from crash.network_damage import SITUATIONS, damages, judge_damage, prepare_damage
from crash.network_faulting import SEEDS, run_take_over_everywhere, run_take_over_pairs
from crash.network_oracle import NetworkJob, run_network_job
from crash.oracle import deterministic, forget_everything
from crash.simulate import Job, run_job
from crash.workers import spread
from crash.workloads_network import NETWORK_WORKLOADS
from figures import Tell
from sessiondb.backend import Backend
from sessiondb.testing import OwnershipContract

STATES = 30_000
"""Distinct pairs of disks in the long run, at least."""
ONE_HOST = ("checkpoint", "close_and_reopen", "failed_checkpoint", "first_creation", "killed_anywhere", "recoveries")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    forget_everything()


class TestTheServerOfTheSimulator(OwnershipContract):
    """It keeps the same contract as the real one."""

    backend_class = AtomicServer

    @pytest.fixture
    def files(self) -> SimulatedDisk:  # type: ignore[override]
        return SimulatedDisk()

    @pytest.fixture
    def path(self) -> str:  # type: ignore[override]
        return "/sim/server"

    @contextmanager
    def beside(self, backend: Backend, path: str) -> Iterator[Backend]:
        assert isinstance(backend, AtomicServer)
        yield AtomicServer(backend._disk, path)


# ---- power cuts


@pytest.mark.parametrize("name", NETWORK_WORKLOADS)
def test_no_power_cut_mixes_two_histories_or_loses_what_is_stranded(name: str) -> None:
    """A part for the plain run: a disk of each machine at some moments."""
    result = run_network_job(NetworkJob(name, seed=0, budget=1, share=0.25, nested_share=0.002))
    assert not result.violations, "\n".join(result.violations)
    assert len(result.digests) > 5


@pytest.mark.parametrize("name", ONE_HOST)
def test_no_power_cut_of_the_only_host_of_a_server_loses_or_invents_anything(name: str) -> None:
    result = run_job(Job(name, seed=1, budget=1, nested_share=0.0, target="postgres"))
    assert not result.violations, "\n".join(result.violations)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_thousand_pairs_of_disks_without_a_violation(tell: Tell) -> None:
    digests: set[int] = set()
    counts: Counter[str] = Counter()
    seed = 0
    while len(digests) < STATES:
        jobs = [NetworkJob(name, seed + more, budget=2) for name in NETWORK_WORKLOADS for more in range(4)]
        for result in spread(run_network_job, jobs):
            assert not result.violations, "\n".join(result.violations)
            digests.update(result.digests)
            counts.update(nested=result.nested, stranded=result.stranded, jobs=1)
        seed += 4
    tell(f"pairs of disks of two hosts: {len(digests)} distinct, {dict(counts)}, 0 violations")


# ---- faults


@pytest.mark.parametrize("name", SERVER_FAULTS)
def test_a_fault_at_some_operations_of_a_take_over_is_named_and_loses_nothing(name: str) -> None:
    """A part for the plain run."""
    place = sorted(SERVER_FAULTS).index(name)
    stride = 5 if "step" in name else 29
    assert run_take_over_everywhere((name, place % SEEDS, place % 3, stride)) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fault_at_every_operation_of_a_take_over_is_named_and_loses_nothing(
    tell: Tell,
) -> None:
    jobs = [(name, seed, 0, 1) for name in SERVER_FAULTS for seed in range(SEEDS)]
    runs = sum(spread(run_take_over_everywhere, jobs))
    tell(f"faults at every operation of three take-overs, {len(SERVER_FAULTS)} kinds: {runs} runs, 0 violations")
    assert runs > 2_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_fault_soon_after_the_first_of_a_take_over_is_no_worse(tell: Tell) -> None:
    runs = sum(spread(run_take_over_pairs, range(6)))
    tell(f"faults of take-overs, in pairs: {runs} runs, 0 violations")


# ---- the file that says who a host is


def judged(situation: str, stride: int) -> Counter[str]:
    """What became of host one, damage by damage."""
    with deterministic(5):
        start, owners = prepare_damage(situation)
    outcomes: Counter[str] = Counter()
    for content in islice(damages(owners), 0, None, stride):
        try:
            outcomes[judge_damage(start, content)] += 1
        except BaseException as error:
            error.add_note(f"{situation}, OWNER is {content!r}, was {owners}")
            raise
    return outcomes


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_damaged_owner_file_loses_nothing(situation: str) -> None:
    """A part for the plain run; nothing at all in the file's place is among it."""
    outcomes = judged(situation, 37)
    assert outcomes["CorruptionError"] > 5


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_missing_owner_file_beside_a_log_is_refused(situation: str) -> None:
    with deterministic(5):
        start, _ = prepare_damage(situation)
    holds_a_log = any(path.endswith(".seg") for path in start.states["one"].names)
    assert judge_damage(start, None) == ("CorruptionError" if holds_a_log else "opened")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_bit_of_the_owner_file_may_be_damaged(tell: Tell) -> None:
    outcomes: Counter[str] = Counter()
    for situation in SITUATIONS:
        outcomes += judged(situation, 1)
    tell(f"damages of OWNER: {outcomes.total()} {dict(outcomes)}, 0 violations")
