"""What these runs do not show, and the command that would measure it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..results import GUARANTEES, Measurement, Run
from .choosing import is_timed
from .courses import PER_COMMIT
from .distributions import BESIDE

__all__ = ["missing"]

RUN = "sessiondb bench run --output run.json"
SYSTEM = "python -m sessiondb_bench.system --output system.json"
_Asked = tuple[str, str, str, Callable[[Measurement], bool]]
_SINGLE: tuple[_Asked, ...] = (
    ("latency", "nothing was timed", RUN, is_timed),
    ("ratios to the floor", "nothing was taken in turns with a floor", RUN, lambda one: one.ratio is not None),
    ("floors", "no floor was measured", RUN, lambda one: one.kind == "floor"),
    ("peers", "no other store was measured", f'pip install "sessiondb[bench]", then {RUN}',
     lambda one: one.kind == "peer"),
    ("checkpoint pauses", "no writer was watched during a checkpoint", f"{SYSTEM} --part pauses",
     lambda one: one.operation == BESIDE),
    ("syncs for each commit", "they were not counted", f"{SYSTEM} --part syncs",
     lambda one: PER_COMMIT in one.counts),
    ("disk use and bytes written", "they were not counted", f"{SYSTEM} --part disk",
     lambda one: "disk_bytes" in one.counts),
    ("memory", "it was not weighed", f"{SYSTEM} --part memory", lambda one: "resident_bytes" in one.counts),
)  # fmt: skip
_PROMISED = {
    "power": "sessiondb bench run --sync always --output run.json",
    "kill": "sessiondb bench run --sync never --output run.json",
    "nothing": "sessiondb bench run --backends memory --output run.json",
}


def missing(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Rows: what, why it is not drawn, which command measures it."""
    every = [one for run in runs for one in run.measurements]
    rows = [(what, why, command) for what, why, command, is_there in _SINGLE if not any(is_there(one) for one in every)]
    if not _varied(runs, lambda one: one.threads, lambda one: 0):
        rows.append(
            ("throughput over threads", "no store was measured with two numbers of threads",
             "sessiondb bench run --threads 1,2,4,8 --output threads.json")
        )  # fmt: skip
    if not _varied(runs, lambda one: one.records, lambda one: one.threads):
        rows.append(
            ("cost against store size", "no store was measured with two numbers of records",
             "sessiondb bench run --records 1000,10000,100000 --output sizes.json")
        )  # fmt: skip
    absent = [name for name in reversed(GUARANTEES) if not any(one.guarantee == name for one in every)]
    rows += [(f"guarantee: {name}", "no store with this promise was measured", _PROMISED[name]) for name in absent]
    if len(runs) > 1 and not _is_tracked(runs):
        rows.append(
            ("ratios run by run", "no ratio was taken in two of these runs", "the same command at another commit")
        )
    return rows


def _varied(runs: Sequence[Run], setting: Callable[[Measurement], int], equal: Callable[[Measurement], int]) -> bool:
    """Whether a store was measured with several values of a setting, in one run, another one being equal."""
    for run in runs:
        seen: dict[tuple[str, str, str, int, int], set[int]] = {}
        for one in filter(is_timed, run.measurements):
            key = (one.operation, one.store, one.sync, one.record_bytes, equal(one))
            seen.setdefault(key, set()).add(setting(one))
        if any(len(values - {0}) > 1 for values in seen.values()):
            return True
    return False


def _is_tracked(runs: Sequence[Run]) -> bool:
    seen: set[object] = set()
    for run in runs:
        mine = {one.identity for one in run.measurements if one.ratio is not None}
        if mine & seen:
            return True
        seen |= mine
    return False
