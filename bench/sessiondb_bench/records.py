"""The records that are measured: sessions of an exact size, the same in every run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

__all__ = ["EXACT_BYTES_MIN", "RECORD_BYTES", "REPOSITORIES", "key_of", "session_record"]

RECORD_BYTES = 300
"""What a session usually has."""
EXACT_BYTES_MIN = 200
"""Below it there is no room for all of a session's fields."""
REPOSITORIES = 100
"""``repoName`` has so many values, evenly used: a field to look for, with and without an index."""

_BEGAN = datetime(2025, 6, 23, 16, 46, 12, 144_000, UTC)


def key_of(number: int) -> str:
    """The key of a record: in the order of numbers, up to ten millions."""
    return f"task-{number:07}"


def session_record(number: int, size: int = RECORD_BYTES) -> dict[str, Any]:
    """A session, whose JSON by msgspec has exactly `size` bytes if that is at least `EXACT_BYTES_MIN`.

    The text that fills it up is different in each record, so that a store that compresses cannot fold them into one.

    Args:
        number: which one; the same number is the same record.
        size: bytes; for less than `EXACT_BYTES_MIN` it is a small record of two fields.
    """
    key = key_of(number)
    if size < EXACT_BYTES_MIN:
        return {"session": key, "taskId": f"#{number}"}
    repository = f"local/repo-{number % REPOSITORIES:02}"
    record = {
        "session": key,
        "repoName": repository,
        "createdAt": (_BEGAN + timedelta(seconds=number)).isoformat(timespec="milliseconds")[:-6] + "Z",
        "taskId": f"#{number}",
        "commitCount": number % 50,
        "prState": {"exists": number % 2 == 0},
        "lastCommitMessage": "",
    }
    missing = size - len(msgspec.json.encode(record))
    if missing < 0:  # a number far beyond those that are measured
        raise ValueError(f"record {number} does not fit into {size} bytes")
    record["lastCommitMessage"] = hashlib.shake_256(key.encode()).hexdigest(missing // 2 + 1)[:missing]
    return record
