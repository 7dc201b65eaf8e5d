"""What the demo's writer writes: known beforehand to the writer and to whoever proves. Pure.

Every record belongs to one of `THREADS` threads, which writes its records over and over: four single puts, then a
batch. Each write has a number of its own, which goes into every record it writes, so that an old copy, or a record
of another write, would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["NUMBER_FIELD", "THREADS", "Plan", "Write", "with_number"]

THREADS = 4
NUMBER_FIELD = "demoWrite"
_BATCH_RECORDS = 5
_SINGLES = 4


class Write(NamedTuple):
    """One write: a put of one record, or a batch."""

    number: int
    records: dict[str, Any]

    @property
    def is_batch(self) -> bool:
        """Whether it is written by `put_many`."""
        return len(self.records) > 1


def with_number(record: Any, number: int) -> dict[str, Any]:
    """The record as this write stores it; what is no object is wrapped in one."""
    fields = record if isinstance(record, dict) else {"value": record}
    return {**fields, NUMBER_FIELD: number}


class Plan:
    """All writes of all threads."""

    def __init__(self, records: Sequence[tuple[str, Any]]):
        """Plan for at least one record."""
        self.threads = min(THREADS, len(records))
        self._own = [records[thread :: self.threads] for thread in range(self.threads)]

    def write(self, thread: int, step: int) -> Write:
        """What a thread writes in its step number `step`."""
        own = self._own[thread]
        number = step * self.threads + thread
        turn, place = divmod(step, _SINGLES + 1)
        first = turn * (_SINGLES + _BATCH_RECORDS) + place
        size = min(_BATCH_RECORDS, len(own)) if place == _SINGLES else 1
        chosen = [own[(first + index) % len(own)] for index in range(size)]
        return Write(number, {key: with_number(record, number) for key, record in chosen})

    def step_of(self, number: int) -> tuple[int, int]:
        """The thread and the step of a write."""
        step, thread = divmod(number, self.threads)
        return thread, step
