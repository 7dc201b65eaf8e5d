"""Workloads in which all goes well until the power goes."""

from __future__ import annotations

import msgspec

from sessiondb.wal.operations import Delete, Put

from .session import Session
from .workload import opened, workload

__all__: list[str] = []


@workload
def first_creation(session: Session) -> None:
    """The very first open, on an empty disk."""
    session.open()
    session.some_puts(2)


@workload
def append_always(session: Session) -> None:
    """Every change is durable when it returns."""
    opened(session)
    session.some_puts(3)
    session.delete("t", session.rng.choice(sorted(session.tables["t"])))
    session.some_puts(2, size_max=900)


@workload
def append_interval(session: Session) -> None:
    """Changes are durable some time later: here, when `sync` is called."""
    opened(session, sync="interval", sync_interval_ms=1_000_000_000)
    session.some_puts(3, size_max=600)
    session.sync()
    session.some_puts(2)


@workload
def append_never(session: Session) -> None:
    """Nobody syncs, then somebody does."""
    opened(session, sync="never")
    session.some_puts(4, size_max=900)
    session.sync()
    session.some_puts(4, size_max=300)


@workload
def append_mixed(session: Session) -> None:
    """A durable put makes the earlier ones durable too."""
    opened(session)
    for _ in range(7):
        session.some_puts(1, session.rng.choice(("always", "interval", "never")), size_max=400)


@workload
def transactions(session: Session) -> None:
    """Several records, several tables, several sectors: all or nothing."""
    opened(session)
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
    opened(session)
    for _ in range(2):
        for _ in range(session.rng.randrange(2, 6)):
            session.some_puts(1, "never", size_max=300)
        session.sync()
    session.some_puts(2, "never")


@workload
def checkpoint(session: Session) -> None:
    """One checkpoint, with changes before and after it."""
    opened(session)
    session.some_puts(2)
    session.checkpoint()
    session.some_puts(2)


@workload
def checkpoint_of_undurable(session: Session) -> None:
    """A checkpoint makes durable what nobody has synced."""
    opened(session, sync="never")
    session.some_puts(3, size_max=600)
    session.checkpoint()
    session.some_puts(2)


@workload
def checkpoints(session: Session) -> None:
    """Several checkpoints; the removal of old segments is pending all the time."""
    opened(session)
    for _ in range(3):
        session.some_puts(session.rng.randrange(1, 3))
        session.checkpoint()
    session.checkpoint()
    session.some_puts(1)


@workload
def growth(session: Session) -> None:
    """Records of several KB: the segment grows, frames span pages."""
    opened(session)
    for _ in range(3):
        session.put(
            "t", f"big{session.rng.randrange(2)}", session.record(9_000), session.rng.choice(("always", "never"))
        )
    session.sync()
    session.put("t", "huge", "x" * session.rng.randrange(16_000, 40_000))
    session.some_puts(1)


@workload
def close(session: Session) -> None:
    """A clean close, from a busy store."""
    opened(session, sync=session.rng.choice(("always", "never")))
    session.some_puts(3)
    session.close()


@workload
def clean_open(session: Session) -> None:
    """Open, write nothing, close; twice. Then open and write."""
    opened(session)
    session.close()
    session.settle()
    session.open()
    session.close()
    session.open()
    session.some_puts(2)


@workload
def drop_table(session: Session) -> None:
    """A table goes, and comes back with other records."""
    opened(session)
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
def bytes_table(session: Session) -> None:
    """Raw bytes beside JSON, through log and checkpoint."""
    opened(session)
    for _ in range(2):
        session.put_bytes("b", "blob", session.rng.randbytes(session.rng.randrange(700)))
        session.put_bytes("b", "empty", b"", "never")
        session.checkpoint()
    session.drop("b")
    session.put_bytes("b", "blob", b"again")


@workload
def deletions(session: Session) -> None:
    """Records go and come back, and checkpoints move that."""
    opened(session)
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
    opened(session)
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
