"""Latencies in buckets: bounded memory for any number of operations, a known error, and sums of several threads.

After the idea of HdrHistogram (Gil Tene): the bounds grow by a constant factor, here 2 ** (1/32), so that a percentile
is at most 2.2 % too high and never too low. The smallest bucket ends at 1 ns; median and maximum of small samples are
exact enough for ratios of 1.05.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["BUCKETS_PER_OCTAVE", "Histogram"]

BUCKETS_PER_OCTAVE = 32


class Histogram:
    """How often an operation took how long.

    Attributes:
        counts: by bucket number; bucket `b` holds latencies above 2 ** ((b - 1) / 32) ns up to 2 ** (b / 32) ns.
        count: all operations.
        total_ns: the sum of all latencies.
        max_ns: the longest, exactly.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total_ns = 0
        self.max_ns = 0

    def add(self, latency_ns: int) -> None:
        """One operation."""
        bucket = 0 if latency_ns <= 1 else math.ceil(math.log2(latency_ns) * BUCKETS_PER_OCTAVE)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.count += 1
        self.total_ns += latency_ns
        self.max_ns = max(self.max_ns, latency_ns)

    def add_all(self, latencies_ns: Iterable[int]) -> None:
        """Several operations: record into a list while measuring, and add it here afterwards."""
        for latency in latencies_ns:
            self.add(latency)

    def merge(self, other: Histogram) -> None:
        """Add what another thread measured."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.total_ns += other.total_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def percentile_us(self, percent: float) -> float:
        """The latency in microseconds that so many percent of the operations did not exceed (nearest rank).

        Raises:
            ValueError: nothing was measured.
        """
        if not self.count:
            raise ValueError("no operation was measured")
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(2 ** (bucket / BUCKETS_PER_OCTAVE), self.max_ns) / 1000
        raise AssertionError("the counts do not add up")

    def buckets_us(self) -> list[tuple[float, int]]:
        """Upper bound in microseconds and count of every bucket that is not empty, ascending."""
        return [(2 ** (bucket / BUCKETS_PER_OCTAVE) / 1000, self.counts[bucket]) for bucket in sorted(self.counts)]
