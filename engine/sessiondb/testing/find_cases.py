"""Records and what finds them: the cases of `sessiondb.testing.find_contract`, written out by hand.

`sessiondb.query` is what the backends are compared with elsewhere, and must not be its own witness.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable
from typing import Any

import msgspec

from .. import absent, between, one_of, prefix

__all__ = ["ASCENDING", "FOUND", "RECORDS", "Job", "Level", "by_bytes", "keys"]

RECORDS: dict[str, Any] = {
    "absent": {"other": 1},
    "null": {"f": None},
    "false": {"f": False},
    "true": {"f": True},
    "0": {"f": 0, "g": "x"},
    "1": {"f": 1, "g": "y"},
    "1.0": {"f": 1.0, "g": "x"},
    "0.5": {"f": 0.5},
    "-3": {"f": -3},
    "2^53": {"f": 2.0**53},
    "2^53+1": {"f": 2**53 + 1},
    "2^64-1": {"f": 2**64 - 1},
    "2^64": {"f": 2.0**64},
    "empty": {"f": ""},
    "text 1": {"f": "1"},
    "a": {"f": "a", "g": "x"},
    "A": {"f": "A"},
    "ab": {"f": "ab", "g": "y"},
    "b": {"f": "b"},
    "é": {"f": "é"},
    "e'": {"f": "e\u0301"},
    "ffff": {"f": "\uffff"},
    "10000": {"f": "\U00010000"},
    "a number": 1,
    "a list": [{"f": 1}],
    "a text": "f",
}
"""Name to what it holds in ``f``."""

FOUND: list[tuple[Any, str]] = [
    (absent, "absent|a number|a list|a text"), (None, "null"), (True, "true"), (False, "false"),
    (1, "1|1.0"), (1.0, "1|1.0"), (0, "0"), (-0.0, "0"), (0.5, "0.5"), (2, ""),
    (2**53, "2^53"), (2**53 + 1, "2^53+1"), (2**64 - 1, "2^64-1"), (2.0**64, "2^64"),
    ("", "empty"), ("1", "text 1"), ("a", "a"), ("A", "A"), ("é", "é"), ("e\u0301", "e'"), ("true", ""), ("null", ""),
    (one_of("a", 1, None, "nobody"), "a|1|1.0|null"), (one_of(["a", "b"]), "a|b"), (one_of(), ""),
    (one_of(True), "true"),
    (prefix("a"), "a|ab"), (prefix("1"), "text 1"), (prefix("A"), "A"), (prefix("é"), "é"), (prefix("%"), ""),
    (prefix(""), "empty|text 1|a|A|ab|b|é|e'|ffff|10000"),
    (between(0, 1), "0|0.5|1|1.0"), (between(None, 0), "-3|0"), (between(1, 0), ""), (between(0.5, 0.5), "0.5"),
    (between(2**53, None), "2^53|2^53+1|2^64-1|2^64"), (between(2**53 + 1, 2**64 - 1), "2^53+1|2^64-1"),
    (between("a", "b"), "a|ab|b"), (between("b", "a"), ""), (between(None, "1"), "empty|text 1"),
    (between("é", None), "é|ffff|10000"), (between("\uffff", "\U00010000"), "ffff|10000"), (between("e", "f"), "e'"),
]  # fmt: skip
"""A condition on ``f``, and the names of the records that it finds."""

ASCENDING = [
    "false", "true", "-3", "0", "0.5", "1", "1.0", "2^53", "2^53+1", "2^64-1", "2^64",
    "empty", "text 1", "A", "a", "ab", "b", "e'", "é", "ffff", "10000",
]  # fmt: skip
"""The order of ``f``; the others hold nothing there and come last, in both directions."""


class Level(enum.Enum):
    """An enumeration, as a field's type."""

    LOW = "low"
    HIGH = "high"


class Job(msgspec.Struct, rename="camel", kw_only=True):
    """A record whose encoded names differ from the attributes'."""

    job_id: str
    repo_name: str = ""
    run_count: int = 0
    is_open: bool = False
    level: Level = Level.LOW
    due_on: datetime.date | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] = []


def keys(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """The keys, in the order in which they come."""
    return [key for key, _ in pairs]


def by_bytes(names: Iterable[str]) -> list[str]:
    """In the order of keys."""
    return sorted(names, key=str.encode)
