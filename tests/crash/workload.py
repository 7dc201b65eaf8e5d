"""What a workload is: a function of a `Session`, registered by its name.

The session's random numbers choose keys, sizes and orders, so one workload with many seeds is many workloads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .session import Session
from .target import JSON, Target

__all__ = ["WORKLOADS", "opened", "run_workload", "workload"]

Workload = Callable[["Session"], None]
WORKLOADS: dict[str, Workload] = {}
"""Name to workload."""


def workload(function: Workload) -> Workload:
    """Register a workload."""
    WORKLOADS[function.__name__] = function
    return function


def run_workload(name: str, seed: int, target: Target = JSON) -> Session:
    """Run a workload to its end; the session's disks are then ready to be checked."""
    session = Session(seed, target=target)
    try:
        WORKLOADS[name](session)
    finally:
        session.kill()
    return session


def opened(session: Session, **options: Any) -> None:
    """Open a store that has been in use for a long time."""
    session.open()
    session.put_many("t", {f"k{number}": session.record() for number in range(3)})
    session.some_puts(1)
    if session.rng.random() < 0.5:
        session.checkpoint()
        session.some_puts(1)
    session.kill()
    session.open(**options)
    session.settle()
