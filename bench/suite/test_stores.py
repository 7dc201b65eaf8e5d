"""What is done to a store as a whole: checkpoint, open with replay after a kill, migrate."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

import sessiondb
from sessiondb_bench.records import key_of, session_record
from sessiondb_bench.subjects import BACKENDS
from sessiondb_bench.subjects.engine import TABLE
from sessiondb_bench.subjects.floors import CODED, GROWING
from sessiondb_bench.suite import Label, Sizes, fill, label_of

LOGGED = 4
"""A log that is replayed has so many times the records of a store: opening an empty one takes some 10 ms."""
KEPT = [backend for backend in BACKENDS if backend != "memory"]


def all_pairs(sizes: Sizes, mark: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Every record; with another mark each of them is another one."""
    return [
        (key_of(number), session_record(number, sizes.record_bytes) | {"commitCount": 10 + mark % 40})
        for number in range(sizes.records)
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoint(backend: str, open_engine: Any, open_other: Any, sizes: Sizes, measured: Any) -> None:
    subject = open_engine(backend)
    fill(subject, sizes)
    name = CODED if backend == "memory" else GROWING
    floor = open_other(name)
    pairs = [all_pairs(sizes, mark) for mark in range(2)]

    def change(number: int) -> None:
        subject.table.put_many(pairs[number % 2], sync="never")
        subject.db.sync()

    measured(
        label_of(subject)._replace(sync=""), "checkpoint", lambda _: subject.db.checkpoint(),
        lambda number: (pairs[number % 2],), (name, floor.put_many), change, units=sizes.records, unit="records",
        least=4, most=40, note="every record was replaced before; the floor writes them to a file at once",
    )  # fmt: skip
    assert subject.db.stats().log_records == 0


KILLED = """
import os, signal, sys
import sessiondb
from sessiondb_bench.records import key_of, session_record
location, table, records, size = sys.stdin.read(), sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sessiondb.open(location, sync="never", checkpoint_records=10**9, checkpoint_bytes=10**12, checkpoint_age_s=1e9)
opened = db.table(table)
for number in range(records):
    opened.put(key_of(number), session_record(number, size))
db.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("backend", KEPT)
def test_open_with_replay(backend: str, new_location: Any, open_other: Any, sizes: Sizes, measured: Any) -> None:
    opened: list[sessiondb.Database] = []
    left: list[str] = []
    floor = open_other(CODED)
    replayed = LOGGED * sizes.records
    fill(floor, sizes._replace(records=replayed))

    def kill(_: int) -> None:
        close_all()
        left.append(new_location(backend))
        command = [sys.executable, "-c", KILLED, TABLE, str(replayed), str(sizes.record_bytes)]
        ended = subprocess.run(command, input=left[-1], capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def open_it() -> None:
        opened.append(sessiondb.open(left[-1]))

    def close_all() -> None:
        while opened:
            assert opened[-1].recovery_report.transactions == replayed
            opened.pop().close()

    try:
        measured(
            Label(backend, "sessiondb", "power"), "open with replay", open_it, lambda _: (),
            (CODED, lambda: [record for _, record in floor.scan("", replayed)]), kill,
            units=replayed, unit="records", records=replayed, least=3, most=6,
            note="after kill -9, one record in each transaction; the floor decodes as many records",
        )  # fmt: skip
    finally:
        close_all()


@pytest.mark.parametrize(
    ("source", "target"),
    [("json", "sqlite"), ("sqlite", "lmdb"), ("lmdb", "json"), ("sqlite", "postgres"), ("postgres", "sqlite")],
)
def test_migrate(
    source: str, target: str, open_engine: Any, new_location: Any, open_other: Any, sizes: Sizes, measured: Any
) -> None:
    first = open_engine(source)
    fill(first, sizes)
    first.db.close()
    floor = open_other(GROWING)
    pairs = all_pairs(sizes)
    targets: list[str] = []

    def find_room(_: int) -> None:
        targets.append(new_location(target))

    def move(_: object) -> None:
        result = sessiondb.migrate(first.location, targets[-1], execute=True)
        assert result.outcome == "migrated"

    measured(
        Label(target, "sessiondb", "power"), f"migrate from {source}", move, lambda _: (pairs,),
        (GROWING, floor.put_many), find_room, units=sizes.records, unit="records", least=3, most=10,
        note="read, written, read back and compared; the floor writes the records to a file at once",
    )  # fmt: skip
