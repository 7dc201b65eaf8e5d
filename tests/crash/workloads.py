"""What the store is doing when the power goes: the workloads of the crash kit.

Each is a function of a `Session`, registered by its name. The session's random numbers choose keys, sizes and orders,
so one workload with many seeds is many workloads.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import Any

import msgspec

from sessiondb.errors import DurabilityUnknownError, StoreFailedError
from sessiondb.wal.operations import Delete, Put

from .ops import HALF, WHOLE
from .session import Session
from .target import JSON, Target

__all__ = ["WORKLOADS", "run_workload"]

Workload = Callable[["Session"], None]
WORKLOADS: dict[str, Workload] = {}
"""Name to workload."""


def workload(function: Workload) -> Workload:
    """Register a workload."""
    WORKLOADS[function.__name__] = function
    return function


def run_workload(name: str, seed: int, target: Target = JSON) -> Session:
    """Run a workload to its end; the session's disks are then ready to be checked."""
    session = Session(seed, target=target)
    try:
        WORKLOADS[name](session)
    finally:
        session.kill()
    return session


def _opened(session: Session, **options: Any) -> None:
    """Open a store that has been in use for a long time."""
    session.open()
    session.put_many("t", {f"k{number}": session.record() for number in range(3)})
    session.some_puts(1)
    if session.rng.random() < 0.5:
        session.checkpoint()
        session.some_puts(1)
    session.kill()
    session.open(**options)
    session.settle()


@workload
def first_creation(session: Session) -> None:
    """The very first open, on an empty disk."""
    session.open()
    session.some_puts(2)


@workload
def append_always(session: Session) -> None:
    """Every change is durable when it returns."""
    _opened(session)
    session.some_puts(3)
    session.delete("t", session.rng.choice(sorted(session.tables["t"])))
    session.some_puts(2, size_max=900)


@workload
def append_interval(session: Session) -> None:
    """Changes are durable some time later: here, when `sync` is called."""
    _opened(session, sync="interval", sync_interval_ms=1_000_000_000)
    session.some_puts(3, size_max=600)
    session.sync()
    session.some_puts(2)


@workload
def append_never(session: Session) -> None:
    """Nobody syncs, then somebody does."""
    _opened(session, sync="never")
    session.some_puts(4, size_max=900)
    session.sync()
    session.some_puts(4, size_max=300)


@workload
def append_mixed(session: Session) -> None:
    """A durable put makes the earlier ones durable too."""
    _opened(session)
    for _ in range(7):
        session.some_puts(1, session.rng.choice(("always", "interval", "never")), size_max=400)


@workload
def transactions(session: Session) -> None:
    """Several records, several tables, several sectors: all or nothing."""
    _opened(session)
    session.put_many("t", {f"k{number}": session.record(400) for number in range(6)})
    operations = [
        Put("t", "k0", b'{"x":1}'),
        Put("u", "k0", msgspec.json.encode("y" * session.rng.randrange(900))),
        Delete("t", "k1"),
        Put("v", "k1", b"[]"),
    ]
    session.change(operations, lambda: session.store.committer.commit(operations), durable=True)
    session.put_many("u", {f"k{number}": session.record(900) for number in range(3)}, sync="never")
    session.put_many("t", {f"k{number}": session.record(100) for number in range(3)})


@workload
def group_commit(session: Session) -> None:
    """Several commits, one sync; then more."""
    _opened(session)
    for _ in range(2):
        for _ in range(session.rng.randrange(2, 6)):
            session.some_puts(1, "never", size_max=300)
        session.sync()
    session.some_puts(2, "never")


@workload
def checkpoint(session: Session) -> None:
    """One checkpoint, with changes before and after it."""
    _opened(session)
    session.some_puts(2)
    session.checkpoint()
    session.some_puts(2)


@workload
def checkpoint_of_undurable(session: Session) -> None:
    """A checkpoint makes durable what nobody has synced."""
    _opened(session, sync="never")
    session.some_puts(3, size_max=600)
    session.checkpoint()
    session.some_puts(2)


@workload
def checkpoints(session: Session) -> None:
    """Several checkpoints; the removal of old segments is pending all the time."""
    _opened(session)
    for _ in range(3):
        session.some_puts(session.rng.randrange(1, 3))
        session.checkpoint()
    session.checkpoint()
    session.some_puts(1)


@workload
def failed_checkpoint(session: Session) -> None:
    """The backend cannot be written: the log keeps a sealed segment, and a later checkpoint moves both."""
    _opened(session)
    session.some_puts(1)
    kind = session.rng.choice(("create", session.storing, "fsync" if session.storing == "replace" else "step"))
    session.fail_once(kind, errno.ENOSPC, session.rng.choice(("", WHOLE)) if kind == "step" else "")
    try:
        session.checkpoint()
    except StoreFailedError:
        session.disk.hook = None
    if session.store.log.failure is not None:
        return  # it was the log's own sync: the poison workload goes on from there
    session.some_puts(2)
    session.checkpoint()
    session.some_puts(1)


@workload
def roll(session: Session) -> None:
    """Segments pile up: each checkpoint gets no further than the roll, and then the process dies."""
    _opened(session)
    for _ in range(3):
        session.some_puts(session.rng.randrange(1, 3))
        session.fail_once(session.storing, errno.EIO)
        with contextlib.suppress(StoreFailedError):
            session.checkpoint()
        session.disk.hook = None
        session.some_puts(1, "never")
        session.kill()
        session.open()
    session.some_puts(1)
    session.checkpoint()
    session.some_puts(1)


@workload
def growth(session: Session) -> None:
    """Records of several KB: the segment grows, frames span pages."""
    _opened(session)
    for _ in range(3):
        session.put(
            "t", f"big{session.rng.randrange(2)}", session.record(9_000), session.rng.choice(("always", "never"))
        )
    session.sync()
    session.put("t", "huge", "x" * session.rng.randrange(16_000, 40_000))
    session.some_puts(1)


@workload
def poison(session: Session) -> None:
    """A sync fails and the kernel drops the pages; the store says so, and is opened again."""
    _opened(session)
    session.some_puts(2)
    session.some_puts(session.rng.randrange(2), "never")
    session.fail_once("fdatasync", errno.EIO)
    with contextlib.suppress(DurabilityUnknownError):
        session.some_puts(1)
    with contextlib.suppress(StoreFailedError):
        session.some_puts(1)
    if session.rng.random() < 0.5:
        assert session.db is not None
        session.db.close()
    session.kill()
    session.open()
    session.some_puts(2)


@workload
def failed_write(session: Session) -> None:
    """Half a frame is written, or all of it, then the disk is full; the next write succeeds.

    "Nothing was written" holds through a power cut too: once the zeros that take the frame back were not synced, and a
    whole frame could come back after its caller had been told that it was not there.
    """
    _opened(session)
    session.some_puts(1, session.rng.choice(("always", "never")))
    session.fail_once("pwrite", errno.ENOSPC, session.rng.choice((HALF, WHOLE)))
    with contextlib.suppress(StoreFailedError):
        session.put("t", "k9", session.record(1_500))
    session.some_puts(2, session.rng.choice(("always", "never")))
    session.sync()


@workload
def close(session: Session) -> None:
    """A clean close, from a busy store."""
    _opened(session, sync=session.rng.choice(("always", "never")))
    session.some_puts(3)
    session.close()


@workload
def clean_open(session: Session) -> None:
    """Open, write nothing, close; twice. Then open and write."""
    _opened(session)
    session.close()
    session.settle()
    session.open()
    session.close()
    session.open()
    session.some_puts(2)


@workload
def torn_first_frame(session: Session) -> None:
    """The first frame after a roll is torn, the store recovers, and goes on."""
    _opened(session)
    session.checkpoint()
    session.settle()
    session.some_puts(1, "never", size_max=3_000)
    session.power_cut()
    session.open()
    session.some_puts(1, "never", size_max=3_000)
    session.power_cut()
    session.open()
    session.some_puts(2)


@workload
def recoveries(session: Session) -> None:
    """Cuts and kills, one after another, with little in between."""
    _opened(session)
    for _ in range(4):
        session.some_puts(session.rng.randrange(3), session.rng.choice(("always", "never")), size_max=700)
        if session.rng.random() < 0.2:
            session.checkpoint()
        if session.rng.random() < 0.7:
            session.power_cut()
        else:
            session.kill()
        session.open()
    session.some_puts(1)


@workload
def cut_recoveries(session: Session) -> None:
    """Recoveries that are themselves cut off before anything else is done."""
    _opened(session, sync="never")
    session.some_puts(3, size_max=700)
    for _ in range(3):
        session.power_cut()
        session.open()
    session.some_puts(1)
    session.sync()


@workload
def drop_table(session: Session) -> None:
    """A table goes, and comes back with other records."""
    _opened(session)
    session.put("u", "a", 1)
    session.drop("t")
    session.put("t", "new", session.record())
    if session.rng.random() < 0.5:
        session.checkpoint()
    session.drop("u")
    session.drop("t")
    session.some_puts(1)
    session.checkpoint()


@workload
def close_and_reopen(session: Session) -> None:
    """The life of a command-line tool: open, put, close, over and over."""
    session.open()
    session.close()
    session.settle()
    for _ in range(3):
        session.open()
        session.some_puts(session.rng.randrange(3))
        session.close()


@workload
def killed_anywhere(session: Session) -> None:
    """The process is killed at any file operation, of a checkpoint or a recovery too; then the power goes.

    What a killed process left in the page cache is what the next one sees, but not what is on disk. A checkpoint's
    rename that no folder sync followed was once taken for durable by the next open, which removed the log.
    """
    _opened(session)
    for _ in range(3):
        with session.killed_after(session.rng.randrange(session.rng.choice((15, 60, 90)))):
            if session.db is None:
                session.open()
            session.some_puts(1)
            session.checkpoint()
            session.some_puts(1, session.rng.choice(("always", "never")))
            session.close()
    session.open()
    session.some_puts(1)
    if session.rng.random() < 0.5:
        session.checkpoint()


@workload
def killed_before_a_sync(session: Session) -> None:
    """The process is killed when it was about to sync: what it left is in the cache only, and the next one sees it."""
    if session.rng.random() < 0.8:
        _opened(session)
    for _ in range(2):
        kinds = session.rng.choice((("fdatasync", "fsync", "sync_folder", "msync"), ("sync_folder",)))
        with session.killed_after(session.rng.randrange(16 if len(kinds) > 1 else 5), kinds):
            if session.db is None:
                session.open()
            session.some_puts(1, "never")
            session.some_puts(1)
            session.checkpoint()
            session.some_puts(1)
            session.close()
        session.open()
        session.some_puts(1)
        if session.rng.random() < 0.5:
            session.kill()
    if session.db is None:
        session.open()
    session.checkpoint()


@workload
def killed_in_creation(session: Session) -> None:
    """The process is killed while it makes the store, the next one goes on with what it finds, and acknowledges."""
    for _ in range(session.rng.randrange(1, 3)):
        with session.killed_after(session.rng.randrange(40)):
            session.open()
            session.some_puts(1)
            session.checkpoint()
    session.open()
    session.some_puts(2)


@workload
def append_during_sync(session: Session) -> None:
    """Somebody commits while another one's sync is on its way: the sync does not cover that commit."""
    _opened(session)
    for _ in range(3):
        session.disk.after_sync = lambda: session.some_puts(1, "never")
        session.some_puts(1)
        session.sync()
    session.some_puts(1, "never")


@workload
def append_during_checkpoint(session: Session) -> None:
    """Somebody commits while a checkpoint writes the backend: that commit is not in it."""
    _opened(session)
    for level in ("always", "never"):
        session.some_puts(1)

        def hook(kind: str, path: str, level: str = level) -> None:
            if kind == "step" or (kind == "create" and path.endswith(".tmp")):
                session.disk.hook = None
                session.some_puts(2, level)

        session.disk.hook = hook
        session.checkpoint()
        session.some_puts(1)


@workload
def bytes_table(session: Session) -> None:
    """Raw bytes beside JSON, through log and checkpoint."""
    _opened(session)
    for _ in range(2):
        session.put_bytes("b", "blob", session.rng.randbytes(session.rng.randrange(700)))
        session.put_bytes("b", "empty", b"", "never")
        session.checkpoint()
    session.drop("b")
    session.put_bytes("b", "blob", b"again")


@workload
def deletions(session: Session) -> None:
    """Records go and come back, and checkpoints move that."""
    _opened(session)
    for _ in range(2):
        session.delete("t", session.rng.choice(sorted(session.tables["t"])))
        session.checkpoint()
        session.some_puts(session.rng.randrange(2))
        session.checkpoint()
    for key in sorted(session.tables["t"]):
        session.delete("t", key)
    session.checkpoint()
    session.some_puts(1)


@workload
def indexes(session: Session) -> None:
    """Indexes are declared, before and after the records are there, and removed, and go with their table."""
    _opened(session)
    session.index("t", "n")
    session.some_puts(1)
    session.checkpoint()
    session.index("new", "text")
    texts = (None, True, 7, 2.5, *"abcdefg")
    session.put_many("new", {f"n{number:02}": {"text": session.rng.choice(texts)} for number in range(20)}, "never")
    session.put("new", "n00", {"text": "changed"}, "never")
    session.ask()
    session.put("new", "n01", {"text": "changed"}, "never")
    session.ask()
    session.index("t", "text")
    session.unindex("t", "n")
    session.checkpoint()
    session.put("new", "n02", {"text": "again"})
    session.ask()
    session.checkpoint()
    session.ask()
    session.delete("t", session.rng.choice(sorted(session.tables["t"])))
    session.some_puts(1)
    if session.rng.random() < 0.5:
        session.drop("t")
        session.put("t", "k0", session.record())
        session.checkpoint()
    session.index("t", "n")


@workload
def indexes_and_kills(session: Session) -> None:
    """The process is killed while an index is made or removed."""
    _opened(session, sync=session.rng.choice(("always", "never")))
    for _ in range(3):
        with session.killed_after(session.rng.randrange(session.rng.choice((15, 40)))):
            if session.db is None:
                session.open()
            session.index("t", "n")
            session.some_puts(1)
            session.checkpoint()
            session.unindex("t", "n")
            session.some_puts(1)
            session.checkpoint()
        session.open()
    session.some_puts(1)
    if session.rng.random() < 0.5:
        session.checkpoint()
