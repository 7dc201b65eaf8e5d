"""The kinds of store that the demo runs on, and those that it cannot run on here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import sessiondb
from sessiondb.errors import ConfigError

__all__ = ["CANDIDATES", "Candidate", "available"]


class Candidate(NamedTuple):
    """A kind of store."""

    title: str
    file: str

    def location(self, folder: str, part: str = "") -> str:
        """A new store in the folder."""
        return f"{folder}/{part}{self.file}"

    def shown(self, location: str) -> str:
        """The location for people."""
        return location

    def remove(self, location: str) -> None:
        """Remove what is not in the folder: nothing."""


CANDIDATES = [Candidate("JSON file", "demo.json"), Candidate("SQLite", "demo.db"), Candidate("LMDB", "demo.lmdb")]
"""Every one gets its share of the time."""


def available(candidates: Sequence[Candidate], folder: str) -> tuple[list[Candidate], list[str]]:
    """Those that can run here, and why each other one cannot, a sentence each; found out by making a store in `folder`.

    A backend whose driver is not installed, or too old, says so itself.
    """
    runs, left_out = [], []
    probe = tempfile.mkdtemp(prefix="probe-", dir=folder)
    try:
        for candidate in candidates:
            try:
                sessiondb.open(f"{probe}/{candidate.file}").close()
            except ConfigError as error:
                left_out.append(f'{candidate.title} is left out: {error} (in a checkout: pip install ".[all]")')
            else:
                runs.append(candidate)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return runs, left_out
