"""Two runs side by side: what became slower, what faster, and what only one of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from .results import Measurement, Run
from .workloads import is_mixed

__all__ = ["BOUND", "FEW", "Basis", "Change", "Comparison", "compare"]

BOUND = 1.25
"""Times as slow; what is beyond is a regression."""
FEW = 50
"""A figure of fewer operations than that is shown and not judged."""

Basis = Literal["ratio", "median", "throughput"]
"""What is compared: the ratio to the same floor; where one of the runs has none, the median; and for a mix of several
kinds of operations, whose median says nothing, the throughput."""


class Change(NamedTuple):
    """One measurement that both runs have.

    Attributes:
        factor: how many times as slow as before; below 1 it is faster.
        p99_factor: the same of the 99th percentile, where it is in both.
        is_ours: only sessiondb's own figures are judged; those of floors and peers tell how the machine changed.
        is_few: one of the two is of so few operations that it says little; it is not judged.
    """

    old: Measurement
    new: Measurement
    basis: Basis
    factor: float
    p99_factor: float | None
    is_ours: bool
    is_few: bool
    is_regression: bool


class Comparison(NamedTuple):
    """All of it.

    Attributes:
        warnings: why the figures may not be comparable.
    """

    changes: list[Change]
    only_old: list[Measurement]
    only_new: list[Measurement]
    warnings: list[str]

    @property
    def regressions(self) -> list[Change]:
        """What became slower beyond the bound."""
        return [change for change in self.changes if change.is_regression]


def compare(old: Run, new: Run, *, bound: float = BOUND, p99_bound: float | None = None) -> Comparison:
    """Compare measurement by measurement, as `Measurement.identity` and the guarantee match them.

    Args:
        old: the run before.
        new: the run after.
        bound: a regression is what became more than so many times as slow.
        p99_bound: the same for the 99th percentile, which varies much more; by default it is not judged.
    """
    before, after = _by_identity(old.measurements), _by_identity(new.measurements)
    changes = []
    for identity, measurement in before.items():
        if identity in after:
            change = _change(measurement, after[identity], bound, p99_bound)
            if change is not None:
                changes.append(change)
    matched = {id(each) for change in changes for each in (change.old, change.new)}
    return Comparison(
        changes,
        [each for each in old.measurements if id(each) not in matched],
        [each for each in new.measurements if id(each) not in matched],
        list(_warnings(old, new, changes, bound)),
    )


def _by_identity(measurements: Iterable[Measurement]) -> dict[object, Measurement]:
    """The second of the same identity is matched with the second of the other run, and so on."""
    seen: Counter[object] = Counter()
    found: dict[object, Measurement] = {}
    for each in measurements:
        identity = (*each.identity, each.guarantee, each.kind)
        found[identity, seen[identity]] = each
        seen[identity] += 1
    return found


def _change(old: Measurement, new: Measurement, bound: float, p99_bound: float | None) -> Change | None:
    """``None`` when one of the two has no figure that could be compared."""
    basis: Basis
    if is_mixed(old.operation):
        basis, before, after = "throughput", new.per_second, old.per_second
    elif old.ratio and new.ratio and old.floor == new.floor:
        basis, before, after = "ratio", old.ratio, new.ratio
    else:
        basis, before, after = "median", old.median_us, new.median_us
    if before <= 0 or after <= 0:
        return None
    factor = after / before
    p99_factor = _p99_factor(old, new, basis)
    is_ours, is_few = new.kind == "sessiondb", min(old.operations, new.operations) < FEW
    beyond = factor > bound or (p99_bound is not None and p99_factor is not None and p99_factor > p99_bound)
    return Change(old, new, basis, factor, p99_factor, is_ours, is_few, beyond and is_ours and not is_few)


def _p99_factor(old: Measurement, new: Measurement, basis: Basis) -> float | None:
    if basis == "throughput" or old.p99_us <= 0 or new.p99_us <= 0 or old.median_us <= 0 or new.median_us <= 0:
        return None
    factor = new.p99_us / old.p99_us
    if basis == "ratio" and old.ratio and new.ratio:  # each against the median of its floor
        factor *= (old.median_us / old.ratio) / (new.median_us / new.ratio)
    return factor


def _warnings(old: Run, new: Run, changes: list[Change], bound: float) -> Iterable[str]:
    for name, run in (("OLD", old), ("NEW", new)):
        if run.problem:
            yield f"{name} is not whole: {run.problem}"
    different = [
        f"{what} {before} and {after}"
        for what, before, after in (
            ("machine", old.environment.machine, new.environment.machine),
            ("processor", old.environment.cpu, new.environment.cpu),
            ("cores", old.environment.cores, new.environment.cores),
            ("file system", old.environment.file_system, new.environment.file_system),
            ("system", old.environment.system, new.environment.system),
            ("Python", old.environment.python, new.environment.python),
        )
        if before != after
    ]
    timed = sum(change.basis != "ratio" for change in changes)
    if different:
        yield f"the runs took place on different machines or systems: {'; '.join(different)}"
    if timed:
        yield (
            f"{timed} of {len(changes)} are compared by times, for there is no ratio to the same floor in both runs: "
            "a busy machine looks like a regression there"
        )
    floors = [change for change in changes if change.new.kind == "floor" and change.basis != "throughput"]
    for change in floors:
        moved = change.new.median_us / change.old.median_us if change.old.median_us > 0 else 1.0
        if not 1 / bound <= moved <= bound:
            yield (
                f"the machine itself changed: the floor {change.new.store!r} took {moved:.2f} times as long in "
                f"{change.new.operation}"
            )
