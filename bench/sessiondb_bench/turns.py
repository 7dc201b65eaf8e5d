"""Measuring in turns: a floor works for a while, then what is measured, then the floor again.

A machine that is shared is slower in one second than in the next. Whatever is compared is therefore measured in small
blocks that take turns in one run, and it is the ratio within each turn that counts: what slows one of them down mostly
slows the other, too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from .histogram import Histogram
from .results import Measurement

__all__ = ["Turns", "Work", "in_turns", "probe"]

Work = Callable[..., object]
"""One operation, called with the arguments for its number."""
FAST_NS = 20_000
"""Below it, reading the clock is a noticeable part of an operation that is timed alone."""
SLICE = 64
"""Fast operations are timed so many at once: long beside the clock, short beside what the system gives a process."""


class Turns:
    """The floor's part: before each block of what is measured it does a block of its own, with the same arguments.

    Args:
        arguments: those of operation number so and so; asked for anew before each time that it is done.
        floor: its operation; ``None``: there is no floor, and this only counts.
        block: how many operations make a block.
        mine: what is measured, if it is so fast that the clock would be a part of it: for the ratio it then does a
            block more, timed in slices as the floor's. Only for work that may be done any number of times.
        prepare: called with the number before each operation that is measured, and not timed.
        first: the number of the first operation.

    Attributes:
        floor_ns: what the floor's operations took, one by one.
    """

    def __init__(
        self,
        arguments: Callable[[int], tuple[Any, ...]],
        floor: Work | None,
        block: int,
        *,
        mine: Work | None = None,
        prepare: Callable[[int], object] | None = None,
        first: int = 0,
    ):
        self.block = block
        self.floor_ns: list[int] = []
        self._arguments = arguments
        self._floor = floor
        self._mine = mine
        self._prepare = prepare
        self._number = self._first = first
        self._ratios: list[float] = []

    def next(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the next operation to be measured; at the start of a block the floor comes first."""
        number = self._number
        self._number += 1
        if self._floor is not None and (number - self._first) % self.block == 0:
            numbers = range(number, number + self.block)
            self.floor_ns += [_timed(self._floor, self._arguments(each)) for each in numbers]
            if self._mine is not None:
                self._ratios.append(self._of_slices(self._floor, self._mine, numbers))
        if self._prepare is not None:
            self._prepare(number)
        return self._arguments(number), {}

    def _of_slices(self, floor: Work, mine: Work, numbers: range) -> float:
        taken: dict[Work, list[int]] = {floor: [], mine: []}
        # Whoever comes second finds the processor's caches as the other one left them.
        for work in (mine, floor) if len(self._ratios) % 2 else (floor, mine):
            for start in range(0, len(numbers), SLICE):
                taken[work].append(_whole(work, [self._arguments(each) for each in numbers[start : start + SLICE]]))
        return statistics.median(taken[mine]) / statistics.median(taken[floor])

    def ratio(self, mine_ns: Sequence[float]) -> float | None:
        """The median over the turns of mine over the floor's; within a turn medians are compared.

        Args:
            mine_ns: what the operations took for which `next` gave the arguments, in their order.
        """
        if self._ratios:
            return statistics.median(self._ratios)
        if not self.floor_ns:
            return None
        starts = range(0, len(mine_ns), self.block)
        pairs = [(mine_ns[start : start + self.block], self.floor_ns[start : start + self.block]) for start in starts]
        return statistics.median(statistics.median(mine) / statistics.median(floor) for mine, floor in pairs)

    def floor_histogram(self) -> Histogram:
        """The floor's latencies."""
        histogram = Histogram()
        histogram.add_all(self.floor_ns)
        return histogram

    def compared(self, measurement: Measurement, mine_ns: Sequence[float], floor: str) -> Measurement:
        """The measurement with its ratio to the floor of that name."""
        ratio = self.ratio(mine_ns)
        return measurement if ratio is None else msgspec.structs.replace(measurement, floor=floor, ratio=ratio)


def in_turns(work: Work, turns: Turns, count: int) -> list[int]:
    """Do so many operations in turns with the floor, and return what each of them took, in nanoseconds."""
    return [_timed(work, turns.next()[0]) for _ in range(count)]


def probe(
    work: Work, arguments: Callable[[int], tuple[Any, ...]], prepare: Callable[[int], object] | None, most: int = 20
) -> list[int]:
    """Do a few operations, to see how long one takes: at most so many, and not much longer than 0.1 s."""
    taken: list[int] = []
    while not taken or (len(taken) < most and sum(taken) < 100_000_000):
        if prepare is not None:
            prepare(len(taken))
        taken.append(_timed(work, arguments(len(taken))))
    return taken


def _timed(work: Work, arguments: tuple[Any, ...]) -> int:
    kwargs: dict[str, Any] = {}  # as pytest-benchmark calls it: the call itself must cost both the same
    began = time.perf_counter_ns()
    work(*arguments, **kwargs)
    return time.perf_counter_ns() - began


def _whole(work: Work, arguments: list[tuple[Any, ...]]) -> int:
    began = time.perf_counter_ns()
    for each in arguments:
        work(*each)
    return time.perf_counter_ns() - began
