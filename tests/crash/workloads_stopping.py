"""Workloads in which something goes wrong: failures, kills, power cuts, others who come in between."""

from __future__ import annotations

import contextlib
import errno

from sessiondb.errors import DurabilityUnknownError, StoreFailedError

from .ops import HALF, WHOLE
from .session import Session
from .workload import opened, workload

__all__: list[str] = []


@workload
def failed_checkpoint(session: Session) -> None:
    """The backend cannot be written: the log keeps a sealed segment, and a later checkpoint moves both."""
    opened(session)
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
    opened(session)
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
def poison(session: Session) -> None:
    """A sync fails and the kernel drops the pages; the store says so, and is opened again."""
    opened(session)
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
    opened(session)
    session.some_puts(1, session.rng.choice(("always", "never")))
    session.fail_once("pwrite", errno.ENOSPC, session.rng.choice((HALF, WHOLE)))
    with contextlib.suppress(StoreFailedError):
        session.put("t", "k9", session.record(1_500))
    session.some_puts(2, session.rng.choice(("always", "never")))
    session.sync()


@workload
def torn_first_frame(session: Session) -> None:
    """The first frame after a roll is torn, the store recovers, and goes on."""
    opened(session)
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
    opened(session)
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
    opened(session, sync="never")
    session.some_puts(3, size_max=700)
    for _ in range(3):
        session.power_cut()
        session.open()
    session.some_puts(1)
    session.sync()


@workload
def killed_anywhere(session: Session) -> None:
    """The process is killed at any file operation, of a checkpoint or a recovery too; then the power goes.

    What a killed process left in the page cache is what the next one sees, but not what is on disk. A checkpoint's
    rename that no folder sync followed was once taken for durable by the next open, which removed the log.
    """
    opened(session)
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
        opened(session)
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
    opened(session)
    for _ in range(3):
        session.disk.after_sync = lambda: session.some_puts(1, "never")
        session.some_puts(1)
        session.sync()
    session.some_puts(1, "never")


@workload
def append_during_checkpoint(session: Session) -> None:
    """Somebody commits while a checkpoint writes the backend: that commit is not in it."""
    opened(session)
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
def indexes_and_kills(session: Session) -> None:
    """The process is killed while an index is made or removed."""
    opened(session, sync=session.rng.choice(("always", "never")))
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
