"""What must be in the store after the writer was killed, and whether it is. Pure.

Acknowledged writes must be there, to the last value. Of each thread one more write may have been under way: it is
there as a whole or not at all. Nothing else may be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .plan import Plan, Write

__all__ = ["Expected", "Verdict"]

_ABSENT = object()


class Verdict:
    """What a proof found.

    Attributes:
        records: how many records were compared.
        whole: writes under way that are there as a whole.
        absent: writes under way that are not there at all.
        problems: what is not as it must be, a sentence each.
    """

    def __init__(self) -> None:
        self.records = 0
        self.whole: list[Write] = []
        self.absent: list[Write] = []
        self.problems: list[str] = []


class Expected:
    """What must be there, as far as acknowledgements and earlier proofs tell."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self.state: dict[str, Any] = {}
        self.steps = [0] * plan.threads
        """The next step of each thread; all before it are acknowledged or decided."""
        self.writes = self.batches = self.records = 0

    def acknowledge(self, number: int) -> None:
        """A write's call has returned.

        Raises:
            ValueError: it is not the next one of its thread: the writer does not keep to the plan.
        """
        thread, step = self._plan.step_of(number)
        if step != self.steps[thread]:
            raise ValueError(f"thread {thread} acknowledged step {step}, step {self.steps[thread]} was next")
        write = self._plan.write(thread, step)
        self.state |= write.records
        self.steps[thread] += 1
        self.writes += 1
        self.batches += write.is_batch
        self.records += len(write.records)

    def under_way(self) -> list[Write]:
        """The write of each thread that may have been under way."""
        return [self._plan.write(thread, step) for thread, step in enumerate(self.steps)]

    def prove(self, found: Mapping[str, Any]) -> Verdict:
        """Compare with what is there, and take over what the writes under way came to."""
        verdict = Verdict()
        expected = dict(self.state)
        for write in self.under_way():
            _judge(write, self.state, found, expected, verdict)
        for key in sorted(expected.keys() | found.keys()):
            verdict.records += 1
            problem = _compare(key, expected.get(key, _ABSENT), found.get(key, _ABSENT))
            if problem:
                verdict.problems.append(problem)
        self.state = expected
        self.steps = [step + 1 for step in self.steps]  # a number is never used twice
        return verdict


def _judge(
    write: Write, before: Mapping[str, Any], found: Mapping[str, Any], expected: dict[str, Any], verdict: Verdict
) -> None:
    written = [key for key, record in write.records.items() if found.get(key, _ABSENT) == record]
    if len(written) == len(write.records):
        verdict.whole.append(write)
        expected |= write.records
    elif not written:
        verdict.absent.append(write)
    else:
        kind = f"batch {write.number} is there by half: {len(written)} of its {len(write.records)} records"
        verdict.problems.append(f"{kind} ({_names(written)})")
        expected |= {key: write.records[key] for key in written}  # said once is enough


def _compare(key: str, expected: Any, found: Any) -> str:
    if found == expected:
        return ""
    if found is _ABSENT:
        return f"LOST: record {key!r} was acknowledged and is not there"
    if expected is _ABSENT:
        return f"record {key!r} is there and was never written: {found!r:.200}"
    return f"record {key!r} has the wrong value: {found!r:.200} in place of {expected!r:.200}"


def _names(keys: Iterable[str]) -> str:
    return ", ".join(keys)
