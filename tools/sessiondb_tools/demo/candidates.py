"""The kinds of store that the demo runs on, and those that it cannot run on here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["CANDIDATES", "Candidate", "available"]


class Candidate(NamedTuple):
    """A kind of store."""

    title: str
    file: str
    driver: str = ""
    """The package that it needs and that sessiondb does without."""
    extra: str = ""
    """The extra of sessiondb that brings the package."""


CANDIDATES = [
    Candidate("JSON file", "demo.json"),
    Candidate("SQLite", "demo.db"),
    Candidate("LMDB", "demo.lmdb", "lmdb", "lmdb"),
]
"""Every one gets its share of the time."""


def available(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Those that can run here, and why each other one cannot, a sentence each."""
    runs = [candidate for candidate in candidates if not candidate.driver or find_spec(candidate.driver) is not None]
    missing = [
        f"{candidate.title} is left out: the package {candidate.driver!r} is not installed; "
        f'pip install "sessiondb[{candidate.extra}]" brings it (in a checkout: pip install ".[{candidate.extra}]")'
        for candidate in candidates
        if candidate not in runs
    ]
    return runs, missing
