"""What the store is doing when the power goes: the workloads of the crash kit.

A workload drives the public API through a `Session`, which announces to the simulated disk what is handed to the
engine and what the engine has acknowledged. Each is a function of a session, registered by its name; the session's
random numbers choose keys, sizes and orders, so one workload with many seeds is many workloads.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec

import sessiondb
from sessiondb.errors import DurabilityUnknownError, StoreFailedError
from sessiondb.store import Store
from sessiondb.wal.operations import Delete, Put

from .disk import HALF, Op, SimulatedDisk
from .oracle import HUGE, STORE_PATH, History, Tables, forget_everything
from .states import Replay, possible_disks

__all__ = ["WORKLOADS", "Session", "run_workload"]

Workload = Callable[["Session"], None]
WORKLOADS: dict[str, Workload] = {}
"""Name to workload."""


def workload(function: Workload) -> Workload:
    """Register a workload."""
    WORKLOADS[function.__name__] = function
    return function


class Killed(BaseException):
    """The process is dead; only the test lives on."""


class Session:
    """A program that uses the store, and the machine that it runs on.

    Args:
        seed: of the random numbers.
        disk: what it runs on; a real file system that can `kill`, `record` and `settle` does for most workloads.
        path: where the store is.
    """

    def __init__(self, seed: int, disk: Any = None, path: str = STORE_PATH):
        self.rng = Random(seed)
        self.disk = disk or SimulatedDisk()
        self.disks: list[SimulatedDisk] = [self.disk]
        """Every disk with a record to check."""
        self.path = path
        self.history = History()
        self.db: sessiondb.Database | None = None

    # ---- announcements

    def _announce(self, kind: str, what: Any) -> None:
        op = Op(kind, "", data=what)
        self.disk.record(op)
        self.history.apply(op)

    @property
    def store(self) -> Store:
        """The engine that is open."""
        assert self.db is not None
        return self.db._open

    @property
    def tables(self) -> Tables:
        """What the store must hold now."""
        return self.history.states[self.store.views.visible_lsn]

    def open(self, **options: Any) -> sessiondb.Database:
        """Open the store; nothing happens in the background."""
        self.db = sessiondb.open(
            self.path, files=self.disk, lock_timeout=0.0, checkpoint_bytes=HUGE, checkpoint_records=HUGE,
            checkpoint_age_s=1e9, **options,
        )  # fmt: skip
        self._announce("opened", self.store.views.visible_lsn)
        return self.db

    def settle(self) -> None:
        """A long time passes: all that was written is on disk. What follows is recorded anew."""
        self.disk.settle(self.history.copy())

    # ---- changes

    def change(self, operations: list[Any], call: Callable[[], object], *, durable: bool) -> None:
        """Make a change through `call`, which is one transaction of `operations`."""
        lsn = self.store.views.visible_lsn + 1
        self._announce("issued", (lsn, _after(self.tables, operations)))
        call()
        assert self.store.views.visible_lsn >= lsn  # more, when somebody else came in between
        self._announce("ack" if durable else "returned", lsn)

    def put(self, table: str, key: str, record: Any, sync: Any = None) -> None:
        """Put one record."""
        assert self.db is not None
        handle = self.db.table(table)
        level = sync or self.store.options.sync
        self.change(
            [Put(table, key, msgspec.json.encode(record))],
            lambda: handle.put(key, record, sync=sync),
            durable=level == "always",
        )

    def put_many(self, table: str, records: Mapping[str, Any], sync: Any = None) -> None:
        """Put several records in one transaction."""
        assert self.db is not None
        handle = self.db.table(table)
        level = sync or self.store.options.sync
        self.change(
            [Put(table, key, msgspec.json.encode(record)) for key, record in records.items()],
            lambda: handle.put_many(records, sync=sync),
            durable=level == "always",
        )

    def delete(self, table: str, key: str) -> None:
        """Delete one record."""
        assert self.db is not None
        handle = self.db.table(table)
        self.change([Delete(table, key)], lambda: handle.pop(key), durable=self.store.options.sync == "always")

    def drop(self, table: str) -> None:
        """Drop a table."""
        db = self.db
        assert db is not None
        if table not in self.tables:
            return
        lsn = self.store.views.visible_lsn + 1
        tables = {name: rows for name, rows in self.tables.items() if name != table}
        self._announce("issued", (lsn, tables))
        assert db.drop(table)
        self._announce("ack" if self.store.options.sync == "always" else "returned", lsn)

    def some_puts(self, count: int, sync: Any = None, size_max: int = 120) -> None:
        """Put records with random keys and sizes."""
        for _ in range(count):
            self.put("t", f"k{self.rng.randrange(5)}", self.record(size_max), sync)

    def record(self, size_max: int = 120) -> dict[str, Any]:
        """A record that is like no other."""
        size = self.rng.randrange(1, size_max)
        return {"n": self.rng.randrange(1 << 30), "text": self.rng.choice("abcdefgh") * size}

    def sync(self) -> None:
        """Make everything durable."""
        assert self.db is not None
        self._announce("ack", self.db.sync().lsn)

    def checkpoint(self) -> None:
        """Move everything into the backend; that makes it durable."""
        assert self.db is not None
        lsn = self.store.views.visible_lsn
        self.db.checkpoint()
        self._announce("ack", lsn)

    # ---- ends

    def close(self) -> None:
        """Close cleanly; that makes everything durable."""
        assert self.db is not None
        lsn = self.store.views.visible_lsn
        self.db.close()
        self.db = None
        self._announce("ack", lsn)

    def kill(self) -> None:
        """The process dies; the machine runs on."""
        self._stop_threads()
        self.disk.kill()
        forget_everything()
        self.db = None

    def power_cut(self) -> None:
        """The power goes now, and the machine comes up with one of the possible disks."""
        assert self.disk.log is not None
        replay = Replay.before(self.disk)
        for op in self.disk.log:
            replay.apply(op)
        states = list(possible_disks(replay, self.rng, 20))
        self.kill()
        self.disk = self.rng.choice(states).disk()
        self.disks.append(self.disk)
        self.settle()

    def _stop_threads(self) -> None:
        if self.db is not None and self.db._store is not None:
            if self.store._syncer is not None:
                self.store._syncer.stop()
            self.store.checkpointer.stop()

    # ---- faults

    @contextlib.contextmanager
    def killed_after(self, operations: int, kinds: tuple[str, ...] = ()) -> Iterator[None]:
        """The process dies before so many operations (of these kinds) are done, or at the end of the block."""
        disk, left, life = self.disk, operations, self.disk.life

        def hook(kind: str, path: str) -> object:
            nonlocal left
            left -= not kinds or kind in kinds
            if left < 0:
                disk.life += 1  # no clean-up of the dead process touches the disk any more
                raise Killed
            return None

        disk.hook = hook
        try:
            yield
        except (Killed, Exception) as error:
            if disk.life == life:
                raise error from None
        finally:
            self.kill()

    def fail_once(self, kind: str, code: int, wish: str = "") -> None:
        """The next operation of this kind fails."""
        disk = self.disk

        def hook(found: str, path: str) -> object:
            if found != kind:
                return None
            disk.hook = None
            if kind in ("fdatasync", "fsync"):
                drop_unsynced(disk, path)
            if wish:
                return wish
            raise OSError(code, os.strerror(code), path)

        disk.hook = hook


def drop_unsynced(disk: SimulatedDisk, path: str) -> None:
    """A sync of the file fails: what it should have written will never be written, and the cache hides that."""
    assert disk.log is not None
    replay = Replay.before(disk)
    for op in disk.log:
        replay.apply(op)
    disk.fail_sync(path, replay.durable_bytes(disk.entries[path]))


def _after(tables: Tables, operations: list[Any]) -> Tables:
    after = {name: dict(rows) for name, rows in tables.items()}
    for operation in operations:
        if isinstance(operation, Delete):
            after[operation.table].pop(operation.key, None)
        else:
            after.setdefault(operation.table, {})[operation.key] = operation.image
    return after


def run_workload(name: str, seed: int) -> Session:
    """Run a workload to its end; the session's disks are then ready to be checked."""
    session = Session(seed)
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
    session.fail_once(session.rng.choice(("create", "replace", "fsync")), errno.ENOSPC)
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
        session.fail_once("replace", errno.EIO)
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
    """Half a frame is written, then the disk is full; the next write succeeds."""
    _opened(session)
    session.some_puts(1, session.rng.choice(("always", "never")))
    session.fail_once("pwrite", errno.ENOSPC, HALF)
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
            if kind == "create" and path.endswith(".tmp"):
                session.disk.hook = None
                session.some_puts(2, level)

        session.disk.hook = hook
        session.checkpoint()
        session.some_puts(1)
