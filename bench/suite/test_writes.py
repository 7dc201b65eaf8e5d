"""One write at a time, and a batch: each store under each guarantee that it gives."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from sessiondb_bench.records import key_of
from sessiondb_bench.subjects import BACKENDS, SYNC_LEVELS, Subject
from sessiondb_bench.subjects.floors import CODED, GROWING, UNSYNCED, ZEROED
from sessiondb_bench.subjects.peers import PEERS
from sessiondb_bench.suite import FLOOR_OF_WRITES, NewPairs, Sizes, fill, label_of

ENGINES = [
    pytest.param((backend, sync), id=backend if backend == "memory" else f"{backend}-{sync}")
    for backend in BACKENDS
    for sync in (["always"] if backend == "memory" else SYNC_LEVELS)
]
OTHERS = [
    pytest.param(name, id=re.sub(r"[^\w]+", "-", name)) for name in ("dict", CODED, UNSYNCED, GROWING, ZEROED, *PEERS)
]


@pytest.fixture(params=ENGINES + OTHERS)
def filled(request: pytest.FixtureRequest, open_engine: Any, open_other: Any, sizes: Sizes) -> Subject:
    """Everything that can be written to, with all records in it."""
    is_engine = isinstance(request.param, tuple)
    subject: Subject = open_engine(*request.param) if is_engine else open_other(request.param)
    fill(subject, sizes)
    return subject


@pytest.fixture
def floor(filled: Subject, open_other: Callable[[str], Subject], sizes: Sizes) -> Subject | None:
    """The floor under a write of the same guarantee; it has none itself."""
    name = FLOOR_OF_WRITES[filled.guarantee]
    if filled.name == name:
        return None
    floor = open_other(name)
    fill(floor, sizes)
    return floor


def test_put(filled: Subject, floor: Subject | None, sizes: Sizes, measured: Any) -> None:
    measured(
        label_of(filled), "put", filled.put, NewPairs(sizes).pair, floor and (floor.name, floor.put), repeatable=True,
        note="replaces a record",
    )  # fmt: skip


def test_patch(filled: Subject, floor: Subject | None, sizes: Sizes, measured: Any) -> None:
    if filled.kind == "floor" and filled.name != CODED:
        pytest.skip("the floor of a patch is that of a put")
    pairs = NewPairs(sizes)
    measured(
        label_of(filled), "patch", filled.patch, lambda number: (pairs.pair(number)[0], pairs.changes()),
        floor and (floor.name, floor.patch), repeatable=True, note="changes two fields",
    )  # fmt: skip


def test_delete(filled: Subject, floor: Subject | None, sizes: Sizes, measured: Any) -> None:
    if filled.kind == "floor" and filled.name != CODED:
        pytest.skip("the floor of a deletion is that of a put")
    keys = [(key_of(number),) for number in range(sizes.records)]
    random.Random(2).shuffle(keys)
    measured(
        label_of(filled), "delete", filled.delete, keys.__getitem__, floor and (floor.name, floor.delete),
        most=sizes.records, least=1,
    )  # fmt: skip


def test_batch_of_100(filled: Subject, floor: Subject | None, sizes: Sizes, measured: Any) -> None:
    pairs = NewPairs(sizes)
    measured(
        label_of(filled), "batch of 100", filled.put_many, lambda number: (pairs.batch(number),),
        floor and (floor.name, floor.put_many), units=len(pairs.batch(0)), unit="records",
        note="one transaction, if it has any",
    )  # fmt: skip
