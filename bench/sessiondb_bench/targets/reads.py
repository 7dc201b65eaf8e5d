"""Gets of what is in memory, beside a dict look-up and a decode of the same bytes.

Few records, so that all of them stay in the processor's caches: with more of them both sides wait for memory, and the
ratio comes out smaller than the store's own work is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from ..records import key_of, session_record
from ..subjects.engine import engine_subject
from ..subjects.floors import CODED
from ..system.figures import median
from ..system.plan import NO_CHECKPOINTS, Plan
from .target import Target, blocks_in_turns, ratio_of

__all__ = ["hot_gets"]

RECORDS = 1_000


def hot_gets(plan: Plan, rounds: int, block: int, count: int = RECORDS) -> list[Target]:
    """From the memtable, from the JSON file's state, and from the record cache over SQLite."""
    images = {key_of(n): msgspec.json.encode(session_record(n, plan.record_bytes)) for n in range(count)}
    keys = random.Random(1).choices(list(images), k=block)
    with ExitStack() as stack:
        works: dict[str, Callable[[], int]] = {"floor": _bare(images, keys)}
        for place, backend, settled in (
            ("memtable", "json", False), ("JSON state", "json", True), ("SQLite, cached", "sqlite", True),
        ):  # fmt: skip
            subject = engine_subject(backend, "never", plan.new_folder(), **NO_CHECKPOINTS)
            stack.callback(subject.close)
            subject.put_many((key, msgspec.json.decode(image)) for key, image in images.items())
            if settled:
                subject.settle()
            works[place] = _getting(subject.get, keys)
        taken = blocks_in_turns(rounds, works)
    floor = taken.pop("floor")
    return [
        Target(
            name=f"hot get ({place}) : {CODED}", measured=ratio_of(mine, floor), asked=2.0,
            store="sqlite" if "SQLite" in place else "json", guarantee="nothing", floor=CODED,
            detail=f"{median(mine) / 1000:.2f} : {median(floor) / 1000:.2f} us", record_bytes=plan.record_bytes,
            records=count,
        )
        for place, mine in taken.items()
    ]  # fmt: skip


def _bare(images: dict[str, bytes], keys: list[str]) -> Callable[[], int]:
    decode = msgspec.json.Decoder(Any).decode

    def work() -> int:
        for key in keys:
            decode(images[key])
        return len(keys)

    return work


def _getting(get: Callable[[str], object], keys: list[str]) -> Callable[[], int]:
    def work() -> int:
        for key in keys:
            get(key)
        return len(keys)

    return work
