"""Work spread over all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

__all__ = ["WORKERS", "pool", "spread"]

WORKERS = min(os.cpu_count() or 1, 8)

_J = TypeVar("_J")
_R = TypeVar("_R")


def pool(workers: int = WORKERS) -> ProcessPoolExecutor:
    """Worker processes, spawned: a fork of a process that may have threads is what this kit warns of."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def spread(function: Callable[[_J], _R], jobs: Iterable[_J]) -> Iterator[_R]:
    """What the function makes of each job, in the order of the jobs."""
    with pool() as processes:
        yield from processes.map(function, jobs)
