"""A target and what was measured, and taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..results import Guarantee, Measurement
from ..system.figures import counted, median

__all__ = ["Target", "blocks_in_turns", "latencies_in_turns", "ratio_of", "table_of"]


class Target(msgspec.Struct, kw_only=True):
    """One figure.

    Attributes:
        name: what is measured, and against what.
        measured: the figure.
        asked: what it should be; ``None`` for a figure that nobody asked for and that belongs beside the others.
        at_least: the figure should not be smaller; else it should not be larger.
        store: of which backend.
        guarantee: what a write that returned has survived.
        floor: what a ratio is taken to; empty for rates and counts.
        detail: the two sides, for people.
        record_bytes, records: of what.
    """

    name: str
    measured: float
    asked: float | None = None
    at_least: bool = False
    store: str
    guarantee: Guarantee
    floor: str = ""
    detail: str = ""
    record_bytes: int
    records: int

    @property
    def reached(self) -> bool | None:
        """``None`` when nothing was asked for."""
        if self.asked is None:
            return None
        return self.measured >= self.asked if self.at_least else self.measured <= self.asked

    def measurement(self) -> Measurement:
        """For the run file: a count, and a ratio when it is one."""
        counts = {"measured": self.measured}
        if self.asked is not None:
            counts |= {
                "asked_at_least" if self.at_least else "asked_at_most": self.asked,
                "reached": int(bool(self.reached)),
            }
        one = counted(
            f"target: {self.name}", self.store, counts, guarantee=self.guarantee, record_bytes=self.record_bytes,
            records=self.records, note=self.detail,
        )  # fmt: skip
        if self.floor:
            one.floor, one.ratio = self.floor, self.measured
        return one


def latencies_in_turns(
    rounds: int, block: int, works: dict[str, Callable[[int], object]]
) -> dict[str, list[list[int]]]:
    """Each operation timed by itself, in blocks that take turns: nanoseconds, a list a round, for each name.

    Who comes first changes from round to round. A first round is not counted.

    Args:
        rounds: how many count.
        block: operations of one work in one round.
        works: called with a running number.
    """
    names, clock = list(works), time.perf_counter_ns
    taken: dict[str, list[list[int]]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            work, latencies = works[name], []
            for number in range(turn * block, (turn + 1) * block):
                began = clock()
                work(number)
                latencies.append(clock() - began)
            if turn:
                taken[name].append(latencies)
    return taken


def blocks_in_turns(rounds: int, works: dict[str, Callable[[], int]]) -> dict[str, list[float]]:
    """Whole blocks timed, for operations that are hardly longer than looking at the clock.

    Args:
        rounds: how many count; a first one does not.
        works: each does a block of operations and returns how many.

    Returns:
        Nanoseconds an operation, one figure a round.
    """
    names, clock = list(works), time.perf_counter_ns
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            began = clock()
            count = works[name]()
            elapsed = clock() - began
            if turn:
                taken[name].append(elapsed / count)
    return taken


def ratio_of(mine: Sequence[Any], floor: Sequence[Any]) -> float:
    """The median of the rounds' ratios; of a round of single latencies its median counts."""
    return median(_middle(one) / _middle(below) for one, below in zip(mine, floor, strict=True))


def _middle(figures: float | list[int]) -> float:
    return median(figures) if isinstance(figures, list) else figures


def table_of(targets: Sequence[Target]) -> str:
    """For people, as Markdown."""
    lines = ["| what | asked | measured | reached | |", "| --- | --- | --- | --- | --- |"]
    for one in targets:
        asked = "" if one.asked is None else f"{'>=' if one.at_least else '<='} {_number(one.asked)}"
        reached = {None: "", True: "yes", False: "**no**"}[one.reached]
        lines.append(f"| {one.name} | {asked} | {_number(one.measured)} | {reached} | {one.detail} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"
