"""Which of a run's measurements stand beside each other.

Beside each other stand only measurements of one operation, one guarantee, one size of record and one number of
threads. What else was measured is in the tables.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from ..results import GUARANTEES, Measurement
from .wording import plain, series_name

__all__ = [
    "Series",
    "by_guarantee",
    "by_operation",
    "has_ratio",
    "is_timed",
    "kind_order",
    "numbered",
    "representative",
    "series",
]

Series = tuple[str, str, str, str]
_KINDS = {"floor": 0, "sessiondb": 1, "peer": 2}


def is_timed(measurement: Measurement) -> bool:
    """Whether it has latencies, or only counts."""
    return measurement.max_us > 0


def has_ratio(measurement: Measurement) -> bool:
    """Whether it was compared with a floor; a floor's ratio to itself tells nothing."""
    own = (measurement.kind, measurement.store) == ("floor", measurement.floor)
    return measurement.ratio is not None and not own


def series(measurement: Measurement) -> Series:
    """Store and how it was set: what is one line of a picture."""
    return (measurement.store, measurement.sync, measurement.guarantee, measurement.kind)


def kind_order(measurement: Measurement) -> tuple[int, float, str]:
    """Floors first, then sessiondb, then peers; the faster first."""
    return (_KINDS[measurement.kind], measurement.median_us, series_name(measurement))


def by_operation(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """In the order of the file."""
    groups: dict[str, list[Measurement]] = {}
    for one in measurements:
        groups.setdefault(plain(one.operation), []).append(one)
    return groups


def by_guarantee(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """The strongest first; what nobody promises is left out."""
    every = list(measurements)
    groups = {name: [one for one in every if one.guarantee == name] for name in reversed(GUARANTEES)}
    return {name: group for name, group in groups.items() if group}


def numbered(measurements: Iterable[Measurement]) -> dict[Series, int]:
    """A number for each series, the same in all pictures: colour and marker follow from it."""
    numbers: dict[Series, int] = {}
    for one in sorted(measurements, key=lambda one: (_KINDS[one.kind] == 0, _KINDS[one.kind], series_name(one))):
        numbers.setdefault(series(one), len(numbers))
    return numbers


def representative(measurements: list[Measurement]) -> list[Measurement]:
    """One measurement of each series, all with the record size and the threads that most of them have.

    Where a store was measured with several numbers of records, the one nearest to what most have; its row says it.
    What was measured twice counts as measured last.
    """
    if not measurements:
        return []
    common = Counter[tuple[int, int]]()
    for _, setting in {(series(one), (one.record_bytes, one.threads)) for one in measurements}:
        common[setting] += 1
    setting = min(common, key=lambda setting: (-common[setting], setting[1], -setting[0]))
    alike = [one for one in measurements if (one.record_bytes, one.threads) == setting]
    sizes = Counter(number for _, number in {(series(one), one.records) for one in alike})
    usual = min(sizes, key=lambda number: (-sizes[number], -number))
    chosen: dict[Series, Measurement] = {}
    for one in alike:
        before = chosen.get(series(one))
        if before is None or _distance(one.records, usual) <= _distance(before.records, usual):
            chosen[series(one)] = one
    return list(chosen.values())


def _distance(records: int, usual: int) -> float:
    return abs(math.log((records + 1) / (usual + 1)))
