"""Damage to the files of SQLite and LMDB stores, which only these libraries know to read.

A small store is made by a process that dies. One of its files is damaged, and a worker process opens the store,
reads everything, asks the indexes, and has `check` look. What may come out:

* ``refused``: a documented error, while opening or reading;
* ``found``: what is served is right as far as it goes, and `check` reports damage;
* ``harmless``: everything is there and right, and `check` finds nothing;
* ``died``: the library took the process with it (a signal, or a hang that the alarm ended).

Never: another value than was stored, a missing or extra record that nobody reports, an error that is not documented.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import sessiondb
from sessiondb.errors import SessionDBError

from .killing import in_child
from .oracle import HUGE, Tables, deterministic, read_tables
from .queries import wrong_answer
from .session import Session
from .target import Target, real_target

__all__ = ["HUNG", "KINDS", "STORES", "WRONG", "Case", "Report", "Store", "cases", "judge_all", "prepare"]

STORES = ("sqlite hot", "sqlite settled", "lmdb")
KINDS = ("bits", "cuts", "swaps", *(f"{what} {block}" for what in ("zero", "garbage") for block in (8, 64, 512, 4096)))
"""``swaps``: two 16-bit words near the beginning of a page change places, so that entries are out of order."""
PAGE_BYTES = 4096
PAGE_HEAD_BYTES = 128
HANG_S = 30
HUNG = "died of SIGALRM"
WRONG = "wrong"


class Store(NamedTuple):
    """A store whose process died."""

    kind: str
    target: str
    files: dict[str, bytes]
    """Path under the store's folder to contents."""
    tables: Tables
    """What is in it."""

    @property
    def own_files(self) -> list[str]:
        """Those that the library writes; the log is the engine's."""
        return sorted(path for path in self.files if ".wal/" not in path and "/wal/" not in path)


class Case(NamedTuple):
    """One damage."""

    path: str
    kind: str
    offset: int
    extent: int
    """A bit's number, a block's size, a distance; of a cut nothing."""
    instead: bytes = b""
    """For the kind ``replaced``: what the file holds now. The kind ``missing`` has no file."""

    def __str__(self) -> str:
        if self.kind in ("replaced", "missing"):
            return f"{self.path} is {self.kind}"
        what = f"bit {self.extent} of byte {self.offset}" if self.kind == "bits" else f"{self.kind} at {self.offset}"
        return f"{self.path}: {what}"


def prepare(kind: str, folder: Path, seed: int = 5, *, young: bool = False) -> Store:
    """Make a store in a child that dies: with SQLite's log full (``hot``), or after it was emptied.

    With `young` it dies before the second checkpoint.
    """
    name = kind.partition(" ")[0]
    target = real_target(name, folder)

    def work(pipe: int) -> None:
        with deterministic(seed):
            session = Session(seed, _Recorder(), target)
            session.open()
            session.index("t", "n")
            session.put_many("t", {f"k{number}": session.record() for number in range(12)})
            session.put_bytes("raw", "a", session.rng.randbytes(300))
            session.put("t", "long", "x" * 6_000)
            session.checkpoint()
            session.put_many("t", {f"k{number}": session.record() for number in range(8, 16)})
            session.delete("t", "k3")
            session.index("t", "text")
            if kind == "sqlite hot":
                session.store.backend.settle = lambda: None  # type: ignore[method-assign]
            if not young:
                session.checkpoint()
            session.some_puts(6)  # in the log: newer than what the library has under the same keys
            os.write(pipe, repr(session.tables).encode())
            os._exit(9)

    status, told = in_child(work)
    assert status == 9
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return Store(kind, name, files, eval(told, {"__builtins__": {}}))


class _Recorder(sessiondb.files.Files):
    """The real file system, which announces nothing."""

    def record(self, op: object) -> None:
        """Nobody listens."""


def cases(store: Store, path: str, kind: str, *, every: int = 1) -> list[Case]:
    """Where one kind of damage can hit a file: all of what is used, a ninth of the zeros; of that each n-th."""
    data = store.files[path]
    found: list[Case] = []
    if kind == "bits":
        places = [place for place, byte in enumerate(data) if byte or place % 9 == 0]
        found = [Case(path, kind, place, bit) for place in places for bit in range(8)]
        if every % 8 == 0:  # another bit of each byte
            return [found[index + index // 8 % 8] for index in range(0, len(found), every)]
    elif kind == "cuts":
        found = [Case(path, kind, length, 0) for length in range(0, len(data), 16)]
    elif kind == "swaps":
        places = [place for place in range(0, len(data), 2) if place % PAGE_BYTES < PAGE_HEAD_BYTES]
        found = [Case(path, kind, place, distance) for place in places for distance in (2, 4, 6, 10, 16)]
        found = [case for case in found if damaged(data, case) != data]
    else:
        block = int(kind.partition(" ")[2])
        found = [Case(path, kind, place, min(block, len(data) - place)) for place in range(0, len(data), block)]
    return found[::every]


def damaged(data: bytes, case: Case) -> bytes:
    """The file's bytes after the damage."""
    if case.kind == "replaced":
        return case.instead
    offset, extent = case.offset, case.extent
    if case.kind == "bits":
        return data[:offset] + bytes((data[offset] ^ (1 << extent),)) + data[offset + 1 :]
    if case.kind == "cuts":
        return data[:offset]
    if case.kind == "swaps":
        other = offset + extent
        between = data[offset + 2 : other]
        return data[:offset] + data[other : other + 2] + between + data[offset : offset + 2] + data[other + 2 :]
    filler = bytes(extent) if case.kind.startswith("zero") else Random(offset).randbytes(extent)
    return data[:offset] + filler + data[offset + extent :]


# ---- in a worker


def judge(store: Store, target: Target) -> str:
    """Open what is there; ``refused``, ``found``, ``harmless``, or what is wrong."""
    try:
        db = sessiondb.open(target.path, lock_timeout=0.0, checkpoint_records=HUGE, checkpoint_bytes=HUGE)
    except SessionDBError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - exactly that is the question
        return f"{WRONG}: open raised {type(error).__name__}: {error}"
    try:
        return _look(store, db)
    except SessionDBError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - as above
        return f"{WRONG}: reading raised {type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(SessionDBError):
            db.close()


def _look(store: Store, db: sessiondb.Database) -> str:
    found = read_tables(db._open)
    expected = store.tables
    lost = ""
    for table in (expected.keys() | found.keys()) - {""}:
        before, after = expected.get(table, {}), found.get(table, {})
        for key in before.keys() & after.keys():
            if before[key] != after[key]:
                return f"{WRONG}: {table}/{key} is {after[key]!r}, not {before[key]!r}"
        if before.keys() != after.keys():
            lost = f"{table}: missing or extra are {sorted(before.keys() ^ after.keys())}"
        with db._open.pin() as view:
            keys = [key for key, _ in view.scan(table)]
            if keys != sorted(keys):
                lost = lost or f"{table}: not in order"
            for key, image in before.items():
                got = view.get(table, key)
                if got is not None and got != image:
                    return f"{WRONG}: {table}/{key} is {got!r}, not {image!r}"
                if got is None:
                    lost = f"{table}: no {key}"
            if view.count(table) != len(before):
                lost = lost or f"{table}: count is {view.count(table)}, not {len(before)}"
    if expected.get("", {}) != found.get("", {}):
        lost = lost or f"indexes are {sorted(found.get('', {}))}"
    lost = lost or wrong_answer(db._open, found)
    problems = db.check()
    if problems:
        return "found"
    return f"{WRONG}: {lost}, and check() is silent" if lost else "harmless"


def _work(store: Store, folder: str, pipe: Connection) -> None:
    """Judge the cases that come through the pipe, each in a folder of its own."""
    logging.disable(logging.CRITICAL)
    with deterministic(7):
        number = 0
        while (case := pipe.recv()) is not None:
            number += 1
            place = Path(folder) / str(number)
            for path, data in store.files.items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                if path != case.path or case.kind != "missing":
                    (place / path).write_bytes(damaged(data, case) if path == case.path else data)
            signal.alarm(HANG_S)
            outcome = judge(store, real_target(store.target, place))
            signal.alarm(0)
            pipe.send(outcome)
            shutil.rmtree(place)


# ---- beside the workers


class Report:
    """What came out."""

    def __init__(self) -> None:
        self.outcomes: dict[Case, str] = {}

    @property
    def counts(self) -> Counter[str]:
        """How often each outcome."""
        return Counter(outcome.partition(" ")[0].rstrip(":") for outcome in self.outcomes.values())

    def all(self, outcome: str) -> list[str]:
        """The cases with this outcome, for people."""
        return [f"{case}: {found[:500]}" for case, found in self.outcomes.items() if found.startswith(outcome)]


class _Worker:
    """A process that may die, and is made anew then."""

    def __init__(self, store: Store, folder: Path):
        self._store = store
        self._folder = folder
        self._number = 0
        self._start()

    def _start(self) -> None:
        context: Any = multiprocessing.get_context("spawn")
        self._number += 1
        place = self._folder / str(self._number)
        place.mkdir(parents=True)
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._store, str(place), theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.case: Case | None = None

    def give(self, case: Case | None) -> None:
        self.case = case
        self.pipe.send(case)

    def take(self) -> str:
        """The outcome; when the process died of it, another one is ready."""
        try:
            outcome: str = self.pipe.recv()
        except EOFError:
            self._process.join()
            outcome = f"died of {signal.Signals(-self._process.exitcode).name}"
            self.pipe.close()
            self._start()
        self.case = None
        return outcome

    def end(self) -> None:
        self.give(None)
        self._process.join()
        self._process.close()
        self.pipe.close()


def judge_all(store: Store, chosen: Sequence[Case], folder: Path, workers: int) -> Report:
    """Judge all cases, in worker processes."""
    report = Report()
    left: Iterator[Case] = iter(chosen)
    again: set[Case] = set()
    crew = [_Worker(store, folder / f"worker{number}") for number in range(min(workers, len(chosen)))]
    for worker in crew:
        _next(worker, left)
    while busy := [worker for worker in crew if worker.case is not None]:
        ready = wait([worker.pipe for worker in busy])
        for worker in busy:
            if worker.pipe in ready:
                case = worker.case
                assert case is not None
                outcome = worker.take()
                if outcome == HUNG and case not in again:
                    again.add(case)  # or the whole machine stood still
                    worker.give(case)
                    continue
                report.outcomes[case] = outcome
                _next(worker, left)
    for worker in crew:
        worker.end()
    return report


def _next(worker: _Worker, left: Iterator[Case]) -> None:
    case = next(left, None)
    if case is not None:
        worker.give(case)
