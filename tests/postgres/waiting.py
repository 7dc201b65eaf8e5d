"""For what happens some time later, by itself, in a thread that tells nobody."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["until"]

LONGEST_S = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as the condition holds; the test fails if it never does."""
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end, f"this never happened: {what}"
        time.sleep(0.005)
