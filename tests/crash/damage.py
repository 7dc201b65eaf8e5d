"""Damage to a store at rest, and the judgement of what opening makes of it.

A store is prepared on a simulated disk, everything acknowledged as durable. Then something is done to one of its
files behind the engine's back. Opening must either refuse with a documented error and change nothing, or show
exactly what was stored. There is one stated limit: a bad bit in the last sync group, when HEAD is lost too, cannot
be told from a torn tail; it is cut, quarantined and reported.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from sessiondb.errors import (
    CorruptionError,
    SessionDBError,
    StoreFailedError,
    UnsupportedFormatError,
    WrongBackendError,
)

from .disk import SimulatedDisk
from .ops import FOLDER
from .oracle import FOLDER_PATH, STORE_PATH, History, Tables, deterministic, recover_once
from .session import Session

__all__ = ["STORES", "Damage", "Store", "damage_at", "judge", "places", "prepare"]

REFUSALS = (CorruptionError, WrongBackendError, UnsupportedFormatError)
HEAD_PATH = f"{FOLDER_PATH}/HEAD"


class Store(NamedTuple):
    """A store at rest."""

    kind: str
    files: dict[str, bytes]
    history: History
    """All its states."""
    lsn: int
    """The last, which is durable."""

    @property
    def tables(self) -> Tables:
        """What is in it."""
        return self.history.states[self.lsn]

    @property
    def segments(self) -> list[str]:
        """Paths of the log's segments, oldest first."""
        return sorted(path for path in self.files if path.endswith(".seg"))

    def used(self, path: str) -> int:
        """How many bytes of the file come before its zeros."""
        return len(self.files[path].rstrip(b"\0"))

    def changed(self, path: str, data: bytes) -> dict[str, bytes]:
        """The files, with other bytes in one of them."""
        return {**self.files, path: data}

    def without(self, *paths: str) -> dict[str, bytes]:
        """The files, some of them missing."""
        return {path: data for path, data in self.files.items() if path not in paths}


class Damage(NamedTuple):
    """One damaged store."""

    what: str
    files: dict[str, bytes]


def prepare(kind: str, seed: int = 0) -> Store:
    """A small store.

    Args:
        kind: ``killed`` has records in the JSON file and more in the log; ``rolled`` has two segments; ``closed``
            was closed cleanly; ``young`` was never checkpointed.
        seed: of its uuid and records.
    """
    with deterministic(seed):
        session = Session(seed)
        session.open()
        session.put_many("t", {"a": {"n": seed}, "b": "b" * 20})
        session.some_puts(2, size_max=40)
        if kind != "young":
            session.checkpoint()
            session.some_puts(3, size_max=40)
        if kind == "rolled":
            session.fail_once("replace", errno.EIO)
            try:
                session.checkpoint()
            except StoreFailedError:
                session.disk.hook = None
            session.some_puts(2, size_max=40)
        lsn = session.store.views.visible_lsn
        if kind == "closed":
            session.close()
        session.kill()
    names = session.disk.entries
    files = {path: bytes(session.disk.inodes[number].data) for path, number in names.items() if number != FOLDER}
    assert session.history.acked == lsn
    return Store(kind, files, session.history, lsn)


STORES = ("killed", "rolled", "closed", "young")


def put_on_disk(files: dict[str, bytes]) -> SimulatedDisk:
    """A disk that holds the files, and the folders that they need."""
    names = {"/sim": FOLDER}
    contents = {}
    for number, (path, data) in enumerate(sorted(files.items()), 1):
        folder = path.rpartition("/")[0]
        while folder.count("/") > 1:
            names[folder] = FOLDER
            folder = folder.rpartition("/")[0]
        names[path] = number
        contents[number] = data
    return SimulatedDisk(names, contents, keep_log=False)


def judge(store: Store, damage: Damage, *, torn_from: int | None = None, notice: bool = False) -> str:
    """Open the damaged store.

    Args:
        store: as it was.
        damage: as it is.
        torn_from: the stated limit applies: a torn tail may be reported, with a state from this LSN on.
        notice: less than everything is allowed, if the recovery report says that something is missing.

    Returns:
        ``refused``, ``right``, ``torn`` or ``noticed``.

    Raises:
        AssertionError: wrong data, silent loss, or an error that nobody was promised.
    """
    disk = put_on_disk(damage.files)
    try:
        outcome = recover_once(disk)
    except REFUSALS:
        unchanged(disk, damage)
        return "refused"
    except SessionDBError as error:
        raise AssertionError(f"{damage.what}: {type(error).__name__} is no word for damage: {error}") from error
    except Exception as error:
        raise AssertionError(f"{damage.what}: undocumented {type(error).__name__}: {error}") from error
    again = recover_once(disk)
    assert (again.lsn, again.tables) == (outcome.lsn, outcome.tables), f"{damage.what}: the second open differs"
    if outcome.lsn == store.lsn and outcome.tables == store.tables:
        return "right"
    if torn_from is not None and outcome.report.torn_tail is not None and outcome.lsn >= torn_from:
        assert outcome.tables == store.history.states[outcome.lsn], f"{damage.what}: wrong data"
        return "torn"
    if notice and outcome.report.notices:
        assert outcome.tables == store.history.states[outcome.lsn], f"{damage.what}: wrong data"
        return "noticed"
    raise AssertionError(
        f"{damage.what}: LSN {outcome.lsn} of {store.lsn} is served as if nothing had happened ({outcome.report})"
    )


def unchanged(disk: SimulatedDisk, damage: Damage) -> None:
    """A refusal leaves everything as it is, but for the note in OPEN on who had it last, and lock files."""
    for path, data in damage.files.items():
        if not path.endswith(("/OPEN", "/CKPT", "/LOCK")):
            assert path in disk.entries, f"{damage.what}: refused, but {path} is gone"
            assert disk.file_bytes(path) == data, f"{damage.what}: refused, but {path} was changed"
    extra = [path for path in disk.paths() if path not in damage.files and not path.endswith(("OPEN", "CKPT", "LOCK"))]
    assert not extra, f"{damage.what}: refused, but {extra} was made"


def places(store: Store, kind: str, path: str, *, all_bits: bool = False) -> Iterator[tuple[int, int]]:
    """Where one kind of damage can hit a file: (offset, bit), (size, 0) or (offset, block size)."""
    size, used = len(store.files[path]), store.used(path)
    step = 1 if all_bits else 9  # of what is not used: every ninth byte, so that each word and each bit has its turn
    if kind == "bits":
        yield from ((offset, bit) for offset in range(used) for bit in range(8))
        yield from (
            (offset, bit) for offset in range(used, size, step) for bit in (range(8) if all_bits else (offset % 8,))
        )
    elif kind == "cuts":
        yield from ((length, 0) for length in (*range(used), *range(used, size, step)))
    else:
        block = int(kind.partition(" ")[2])
        yield from ((offset, min(block, size - offset)) for offset in range(0, size, block))


def damage_at(store: Store, kind: str, path: str, place: tuple[int, int]) -> Damage:
    """One damage to one file.

    Args:
        store: the store.
        kind: ``bits``, ``cuts``, or ``zero``/``garbage`` with a block size (``zero 64``).
        path: the file.
        place: one of `places`.
    """
    data = store.files[path]
    name = path.removeprefix("/sim/")
    offset, extent = place
    if kind == "bits":
        flipped = bytes((data[offset] ^ (1 << extent),))
        what, changed = f"bit {extent} of byte {offset} of {name}", data[:offset] + flipped + data[offset + 1 :]
    elif kind == "cuts":
        what, changed = f"{name} cut to {offset} bytes", data[:offset]
    else:
        filler = bytes(extent) if kind.startswith("zero") else Random(offset).randbytes(extent)
        what, changed = f"{kind} at {offset} of {name}", data[:offset] + filler + data[offset + extent :]
    return Damage(what, store.changed(path, changed))


KINDS = ("bits", "cuts", *(f"{what} {block}" for what in ("zero", "garbage") for block in (8, 64, 512, 4096)))


class Job(NamedTuple):
    """A part of the bytewise damage."""

    store: str
    path: str
    kind: str
    start: int
    stride: int
    all_bits: bool = False


def run_job(job: Job) -> Counter[str]:
    """Judge every `stride`-th damage of one kind to one file; counts the outcomes."""
    logging.disable(logging.CRITICAL)
    store = prepare(job.store)
    counts: Counter[str] = Counter()
    with deterministic(7):
        chosen = islice(places(store, job.kind, job.path, all_bits=job.all_bits), job.start, None, job.stride)
        for place in chosen:
            counts[judge(store, damage_at(store, job.kind, job.path, place))] += 1
    return counts


def swapped(store: Store) -> dict[str, bytes]:
    """Two segments have each other's contents."""
    first, second = store.segments[-2:]
    return {**store.files, first: store.files[second], second: store.files[first]}


def foreign_files(store: Store, other: Store) -> Iterator[Damage]:
    """One file is of another store."""
    for path in store.files:
        if path == STORE_PATH and store.kind == "closed":
            continue  # with an empty log the JSON file is the store: another one in its place is another store
        for theirs in other.files:
            if path.rpartition("/")[2].partition(".")[2] == theirs.rpartition("/")[2].partition(".")[2]:
                yield Damage(f"{path} is {theirs} of another store", store.changed(path, other.files[theirs]))
