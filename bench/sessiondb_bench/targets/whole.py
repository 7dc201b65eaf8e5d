"""The targets that concern the store as a whole: replay, checkpoints, shared syncs."""

from __future__ import annotations

from ..histogram import Histogram
from ..system.figures import median
from ..system.pauses import Pauses, watch
from ..system.plan import Plan
from ..system.replay import replays
from ..system.syncs import commits
from .target import Target

__all__ = ["checkpoints", "replay", "shared_syncs"]

THREADS = 8


def replay(plan: Plan) -> list[Target]:
    """After a kill, from transactions of one record and of many."""
    targets = []
    for batch in (1, plan.replayed_batch):
        answers = replays(plan, "json", batch)
        opened = median(one["open_ns"] / 1e6 for one in answers)
        targets.append(
            Target(
                name=f"replay, transactions of {batch}, records/s", at_least=True, asked=300_000,
                measured=median(one["records"] / one["replay_ns"] * 1e9 for one in answers), store="json",
                guarantee="power", detail=f"{plan.replayed:,} records; all of open() {opened:.0f} ms",
                record_bytes=plan.record_bytes, records=plan.replayed,
            )
        )  # fmt: skip
    return targets


def _p99(latencies: list[int]) -> float:
    histogram = Histogram()
    histogram.add_all(latencies)
    return histogram.percentile_us(99)


def checkpoints(plan: Plan) -> list[Target]:
    """How fast beside a writer, and what that writer sees; nothing is asked of the JSON file."""
    targets = []
    for backend in plan.backends:
        rounds = [watch(plan, backend) for _ in range(plan.rounds)]
        asked = backend in ("sqlite", "lmdb")
        rate = median(plan.moved / each.seconds for each in rounds)
        targets += [
            Target(
                name=f"checkpoint into {backend} beside a writer, records/s", measured=rate, at_least=True,
                asked=100_000 if asked else None, store=backend, guarantee="power",
                detail=f"{plan.moved:,} records", record_bytes=plan.record_bytes, records=plan.moved,
            ),
            Target(
                name=f"put's p99 beside a checkpoint into {backend} : without",
                measured=median(_p99(each.beside) / _p99(each.alone) for each in rounds),
                asked=3.0 if asked else None, store=backend, guarantee="power", floor="put without a checkpoint",
                detail=_pooled(rounds), record_bytes=plan.record_bytes, records=plan.moved,
            ),
        ]  # fmt: skip
    return targets


def _pooled(rounds: list[Pauses]) -> str:
    alone = [latency for each in rounds for latency in each.alone]
    beside = [latency for each in rounds for latency in each.beside]
    return (
        f"p99 {_p99(beside):,.0f} : {_p99(alone):,.0f} us, "
        f"max {max(beside) / 1000:,.0f} : {max(alone) / 1000:,.0f} us, {len(beside):,} : {len(alone):,} puts"
    )


def shared_syncs(plan: Plan) -> list[Target]:
    """Counted, with eight threads."""
    counts = commits(plan, "json", THREADS, "always").counts
    return [
        Target(
            name=f"syncs per commit, {THREADS} threads", measured=counts["syncs_per_commit"], asked=0.35, store="json",
            guarantee="power", detail=f"{counts['syncs']:,.0f} : {counts['commits']:,.0f}, counted",
            record_bytes=plan.record_bytes, records=THREADS * plan.commits,
        )
    ]  # fmt: skip
