"""Running the crash-state simulator over many workloads and seeds, on all cores.

A job is one workload with one seed. It is repeatable, so a violation is reproduced from the line that reports it, in
the folder ``tests``: ``python -m crash.simulate checkpoints 3 12 sqlite`` prints what was
recorded and what is wrong with it.
"""

from __future__ import annotations

import logging
import sys
import time
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from typing import NamedTuple

from .ops import describe
from .oracle import Oracle, deterministic
from .target import TARGETS
from .workers import WORKERS, pool
from .workloads import WORKLOADS, run_workload

__all__ = ["Job", "Result", "Summary", "rounds", "run_job", "simulate"]


class Job(NamedTuple):
    """One workload, one seed, and how many disks to try for each moment."""

    workload: str
    seed: int
    budget: int
    nested_share: float = 0.02
    target: str = "json"

    def __str__(self) -> str:
        return f"{self.workload} seed {self.seed} budget {self.budget} on {self.target}"


class Result(NamedTuple):
    """What a job found."""

    job: Job
    digests: array[int]
    """One for each distinct disk that was recovered."""
    nested: int
    """How many of them stem from power cuts during a recovery."""
    operations: int
    violations: list[str]


class Summary(NamedTuple):
    """What all jobs found together."""

    states: int
    """Distinct disks."""
    nested: int
    operations: int
    jobs: int
    seconds: float
    violations: list[str]

    def __str__(self) -> str:
        return (
            f"crash states: {self.states} distinct ({self.nested} from cuts during recovery), "
            f"{self.operations} operations of {self.jobs} workload runs, {len(self.violations)} violations, "
            f"{self.seconds:.1f} s ({self.states / max(self.seconds, 0.001):.0f}/s)"
        )


def run_job(job: Job) -> Result:
    """Run the workload, then cut the power at each of its moments."""
    logging.disable(logging.CRITICAL)
    try:
        with deterministic(job.seed):
            session = run_workload(job.workload, job.seed, TARGETS[job.target])
            oracle = Oracle(job.seed, TARGETS[job.target])
            for number, disk in enumerate(session.disks):
                found = len(oracle.violations)
                oracle.check_log(disk, job.budget, nested_share=job.nested_share)
                for index in range(found, len(oracle.violations)):
                    oracle.violations[index] = f"{job}, disk {number}, {oracle.violations[index]}"
        operations = sum(len(disk.log or ()) for disk in session.disks)
        return Result(job, array("Q", oracle.digests), oracle.nested, operations, oracle.violations)
    finally:
        logging.disable(logging.NOTSET)


def rounds(budget: int, nested_share: float = 0.02, target: str = "json") -> Iterator[list[Job]]:
    """Every workload with one seed, then with the next, without end."""
    for seed in count():
        yield [Job(name, seed, budget, nested_share, target) for name in WORKLOADS]


def simulate(states: int, jobs: Iterable[list[Job]], workers: int = WORKERS) -> Summary:
    """Run whole rounds of jobs until they have recovered so many distinct disks."""
    began = time.perf_counter()
    digests: set[int] = set()
    nested = operations = done = 0
    violations: list[str] = []

    def take_in(result: Result) -> None:
        nonlocal nested, operations, done
        digests.update(result.digests)
        nested += result.nested
        operations += result.operations
        done += 1
        violations.extend(result.violations)

    with pool(workers) as processes:
        running: set[Future[Result]] = set()
        for batch in jobs:
            if len(digests) >= states or len(violations) >= 20:
                break
            for job in batch:
                running.add(processes.submit(run_job, job))
            while len(running) > workers:  # the next round begins while the last jobs of this one run
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    take_in(future.result())
        for future in running:
            take_in(future.result())
    return Summary(len(digests), nested, operations, done, time.perf_counter() - began, violations)


def main() -> None:
    """Repeat one job, for people."""
    name, seed, budget, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), (*sys.argv[4:], "json")[0]
    with deterministic(seed):
        for number, disk in enumerate(run_workload(name, seed, TARGETS[target]).disks):
            print(f"disk {number}", describe(disk.log or ()), sep="\n")
    print(*run_job(Job(name, seed, budget, target=target)).violations or ["no violations"], sep="\n")


if __name__ == "__main__":
    main()
