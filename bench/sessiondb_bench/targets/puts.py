"""Durable puts beside the disk and other stores, batches beside one write, and puts into a large JSON file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from ..records import key_of, session_record
from ..subjects.engine import EngineSubject, engine_subject
from ..subjects.floors import ZEROED, floor_subjects
from ..subjects.peers import peer_subjects
from ..subjects.subject import Subject
from ..system.figures import median
from ..system.plan import NO_CHECKPOINTS, Plan
from .target import Target, blocks_in_turns, latencies_in_turns, ratio_of

__all__ = ["batches", "durable_puts", "large_files"]

BACKEND = "json"
PEERS = ("lmdb", "rocksdict")
"""How the names of the peers begin that are compared where they are as durable."""
KEYS = 1_000
BATCH = 100
SMALL, LARGE = 100, 100_000


def _engine(plan: Plan, stack: ExitStack, sync: str = "always") -> EngineSubject:
    subject = engine_subject(BACKEND, sync, plan.new_folder(), **NO_CHECKPOINTS)
    stack.callback(subject.close)
    return subject


def _floor(plan: Plan, stack: ExitStack) -> Subject:
    return stack.enter_context(dict(floor_subjects())[ZEROED](plan.new_folder()))


def _durable_peers(plan: Plan, stack: ExitStack) -> dict[str, Subject]:
    found = {}
    for name, make in peer_subjects():
        if name.startswith(PEERS):
            subject = stack.enter_context(make(plan.new_folder()))
            if subject.guarantee == "power":
                found[name] = subject
    return found


def durable_puts(plan: Plan, rounds: int, block: int) -> list[Target]:
    """`Table.put` beside pwrite + fdatasync of the same bytes, and beside LMDB and RocksDB where they are installed."""
    records = [(key_of(number), session_record(number, plan.record_bytes)) for number in range(KEYS)]
    with ExitStack() as stack:
        engine, floor, peers = _engine(plan, stack), _floor(plan, stack), _durable_peers(plan, stack)
        subjects: dict[str, Subject] = {"mine": engine, ZEROED: floor, **peers}
        taken = latencies_in_turns(rounds, block, {name: _putting(one, records) for name, one in subjects.items()})
    mine = taken.pop("mine")
    targets = []
    for name, theirs in taken.items():
        sides = [median(latency for part in parts for latency in part) / 1000 for parts in (mine, theirs)]
        targets.append(
            Target(
                name=f"durable put : {name}", measured=ratio_of(mine, theirs), asked=1.25 if name == ZEROED else 1.0,
                store=BACKEND, guarantee="power", floor=name, detail=f"{sides[0]:.0f} : {sides[1]:.0f} us",
                record_bytes=plan.record_bytes, records=KEYS,
            )
        )  # fmt: skip
    return targets


def _putting(subject: Subject, records: list[tuple[str, dict[str, Any]]]) -> Callable[[int], object]:
    put = subject.put

    def work(number: int) -> None:
        key, record = records[number % len(records)]
        put(key, record)

    return work


def batches(plan: Plan, rounds: int, block: int) -> list[Target]:
    """A durable `Table.put_many` of 100 records beside one pwrite + fdatasync of the bytes that it logs."""
    pieces = [
        [(key_of(number), session_record(number, plan.record_bytes)) for number in range(start, start + BATCH)]
        for start in range(0, 10 * BATCH, BATCH)
    ]

    def work(subject: Subject) -> Callable[[int], object]:
        return lambda number: subject.put_many(pieces[number % len(pieces)])

    with ExitStack() as stack:
        engine, floor = _engine(plan, stack), _floor(plan, stack)
        unsynced = _engine(plan, stack, "never")
        works = {"mine": work(engine), "floor": work(floor), "unsynced": work(unsynced)}
        taken = latencies_in_turns(rounds, block, works)
    middle = {name: median(latency for part in parts for latency in part) / 1000 for name, parts in taken.items()}
    return [
        Target(
            name=f"batch of {BATCH} : {ZEROED}", measured=ratio_of(taken["mine"], taken["floor"]), asked=1.5,
            store=BACKEND, guarantee="power", floor=ZEROED, record_bytes=plan.record_bytes, records=BATCH,
            detail=f"{middle['mine']:.0f} : {middle['floor']:.0f} us; unsynced {middle['unsynced']:.0f} us",
        )
    ]  # fmt: skip


def large_files(plan: Plan, rounds: int, block: int, large: int = LARGE) -> list[Target]:
    """Unsynced puts, where nothing hides behind the disk, into a JSON store of many records and of few."""
    with ExitStack() as stack:
        works = {}
        for count in (SMALL, large):
            engine = _engine(plan, stack, "never")
            for start in range(0, count, 10_000):
                numbers = range(start, min(start + 10_000, count))
                engine.put_many((key_of(number), session_record(number, plan.record_bytes)) for number in numbers)
            engine.settle()
            works[str(count)] = _block(engine, count, plan.record_bytes, block)
        taken = blocks_in_turns(rounds, works)
    sides = [median(taken[str(count)]) / 1000 for count in (large, SMALL)]
    return [
        Target(
            name=f"JSON put at {large:,} records : at {SMALL}", measured=ratio_of(taken[str(large)], taken[str(SMALL)]),
            asked=1.2, store="json", guarantee="kill", floor=f"put at {SMALL} records",
            detail=f"{sides[0]:.1f} : {sides[1]:.1f} us, unsynced", record_bytes=plan.record_bytes, records=large,
        )
    ]  # fmt: skip


def _block(engine: EngineSubject, count: int, record_bytes: int, block: int) -> Callable[[], int]:
    step = max(1, count // block)
    records = [(key_of(n), session_record(n, record_bytes)) for n in range(0, count, step)][:block]
    times = max(1, block // len(records))
    put = engine.put

    def work() -> int:
        for _ in range(times):
            for key, record in records:
                put(key, record)
        return times * len(records)

    return work
