"""A program whose file operations fail, one by one or in pairs, and what must be true after each failure.

The program goes on after errors. Each run of it meets one fault, or two: see `test_faults.py` for what is asked.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from sessiondb.errors import ClosedError, DurabilityUnknownError, SessionDBError, StoreFailedError

from .ops import HALF, LATE, WHOLE
from .oracle import Oracle, deterministic, read_tables
from .session import Session, drop_unsynced
from .states import Replay, possible_disks
from .target import TARGETS, Target

__all__ = [
    "ALL_FAULTS",
    "FAULTS",
    "SERVER_FAULTS",
    "STEP_FAULTS",
    "Fault",
    "Program",
    "run_everywhere",
    "run_once",
    "run_pairs",
    "run_until_it_succeeds",
]

SYNCS = {"fdatasync", "fsync", "msync", "sync_folder"}
CHANGES = {"create", "pwrite", "mkdir", "replace", "link", "unlink", "step", *SYNCS}
READS = {"open", "pread", "stat", "names", "map", "lock", "size", "look"}


class Fault(NamedTuple):
    """What goes wrong, and in which operations it can."""

    code: int
    kinds: set[str]
    wish: str = ""
    stays: bool = False


FAULTS = {
    "EIO": Fault(errno.EIO, CHANGES | READS),
    "EIO that stays": Fault(errno.EIO, CHANGES, stays=True),
    "ENOSPC": Fault(errno.ENOSPC, {"create", "pwrite", "mkdir", "link", "step", "fsync", "fdatasync"}),
    "ENOSPC that stays": Fault(errno.ENOSPC, {"create", "pwrite", "mkdir", "link", "step"}, stays=True),
    "short write": Fault(errno.ENOSPC, {"pwrite"}, wish=HALF),
    "short write that stays": Fault(errno.ENOSPC, {"pwrite"}, wish=HALF, stays=True),
    "EINTR": Fault(errno.EINTR, CHANGES | READS),
    "EACCES": Fault(errno.EACCES, {"open", "create", "mkdir", "replace", "unlink", "names", "map"}),
    "sync fails once": Fault(errno.EIO, SYNCS),
}
STEP_FAULTS = {
    "step fails after its work": Fault(errno.EIO, {"step"}, wish=WHOLE),
    "step fails after its work, always": Fault(errno.EIO, {"step"}, wish=WHOLE, stays=True),
}
"""For backends that store by steps."""
ALL_FAULTS = FAULTS | STEP_FAULTS
SERVER_FAULTS = ALL_FAULTS | {
    "step is done later": Fault(errno.EIO, {"step"}, wish=LATE),
    "step is done later, always": Fault(errno.EIO, {"step"}, wish=LATE, stays=True),
    "server cannot be reached": Fault(errno.EIO, {"step", "look"}, stays=True),
}
"""For a server: the answer may be lost while the work goes on."""


class Program:
    """A program that goes on after errors, and checks what it sees after each step.

    Args:
        faults: what goes wrong, and at which of the operations in which it can (of a second one: counted from the
            first one's).
        seed: of the records.
        target: the store.
    """

    def __init__(self, faults: list[tuple[Fault, int]], seed: int, target: Target):
        self.waiting = list(faults)
        self.lasting: Fault | None = None
        self.triggered = ""
        self.errors: list[str] = []
        self.open_failed = False
        self.session = Session(seed, target=target)
        self.session.disk.hook = self.hook

    def hook(self, kind: str, path: str) -> object:
        """Called by the disk before each operation."""
        if self.lasting is not None and kind in self.lasting.kinds:
            return self.fail(self.lasting, kind, path)
        if not self.waiting:
            return None
        fault, left = self.waiting[0]
        if kind not in fault.kinds:
            return None
        if left:
            self.waiting[0] = (fault, left - 1)
            return None
        del self.waiting[0]
        if fault.stays:
            self.lasting = fault
        self.triggered += f"{kind} {path}; "
        return self.fail(fault, kind, path)

    def fail(self, fault: Fault, kind: str, path: str) -> object:
        """The operation fails."""
        if kind in ("fdatasync", "fsync", "msync"):
            drop_unsynced(self.session.disk, path)
        if fault.wish:
            return fault.wish
        raise OSError(fault.code, os.strerror(fault.code), path)

    def run(self) -> None:
        """All of it; a step that the poisoned store refuses is made after the store was opened again."""
        session = self.session
        for step in self.steps():
            if session.db is None:
                self.open()
            if not self.attempt(step) and session.db is not None and session.store.log.failure is not None:
                self.leave()
        self.leave()
        self.repair()
        self.open()
        session.some_puts(1)
        self.check_power_cut("at the end")

    def steps(self) -> Iterator[Callable[[], None]]:
        """The program."""
        session = self.session
        yield lambda: session.some_puts(1)
        yield lambda: session.some_puts(1)
        yield lambda: session.some_puts(1, "never")
        yield lambda: session.put_many("u", {"a": 1, "b": "x" * 700, "c": 3})
        yield lambda: session.delete("u", "a")
        yield lambda: session.index("t", "n")
        yield session.checkpoint
        yield self.ask_for_stats
        yield lambda: session.put("t", "big", "y" * 18_000)
        yield lambda: session.some_puts(1, "never")
        yield session.sync
        yield lambda: session.drop("u")
        yield lambda: session.unindex("t", "n")
        yield session.checkpoint
        yield lambda: session.some_puts(1, "never")
        yield self.leave
        yield lambda: session.some_puts(1)
        yield lambda: session.some_puts(1)

    def ask_for_stats(self) -> None:
        """The store says how it is."""
        db = self.session.db
        assert db is not None
        assert db.stats().state == ("open" if self.session.store.log.failure is None else "poisoned")

    def attempt(self, step: Callable[[], None]) -> bool:
        """Make one step; a failure must be a documented one and leave nothing behind."""
        session = self.session
        store = session.store
        before, poisoned = store.views.visible_lsn, store.log.failure is not None
        failure: SessionDBError | None = None
        try:
            step()
        except SessionDBError as error:
            failure = error
            self.expect(error)
        except KeyError:
            return True  # the record to delete, or the index to remove, is not there: an earlier step failed
        if session.db is None:
            return failure is None
        if failure is not None and not isinstance(failure, DurabilityUnknownError) and not poisoned:
            assert store.views.visible_lsn <= before, "it failed, and happened all the same"
        if isinstance(failure, DurabilityUnknownError):
            assert store.log.failure is not None, "durability is unknown, and the store goes on"
        if poisoned:
            assert failure is not None, "a poisoned store took a write"
        self.look()
        if failure is None and self.open_failed:
            self.open_failed = False
            self.check_power_cut("after an open that failed, and one that did not")
        return failure is None

    def expect(self, error: SessionDBError) -> None:
        """The disk failed: that is a StoreFailedError, not damage, and not a wrong call."""
        self.errors.append(f"{type(error).__name__}: {error}")
        assert isinstance(error, StoreFailedError), error

    def look(self) -> None:
        """What readers see is a state that was committed, and none that was acknowledged is missing."""
        store = self.session.store
        try:
            tables = read_tables(store)
        except ClosedError:
            assert store.log.failure is not None  # the log could not be read back: better nothing than what may be lost
            return
        if store.log.failure is not None:
            assert store.views.visible_lsn <= store.log.durable_lsn, "a poisoned store shows what may be lost"
        problem = self.session.history.judge(store.views.visible_lsn, tables)
        assert not problem, problem

    def open(self) -> None:
        """Open the store; at the second failure the cause is mended."""
        for attempt in range(3):
            try:
                self.session.open()
            except SessionDBError as error:
                self.expect(error)
                self.open_failed = True
                if attempt == 1:
                    self.repair()
                continue
            self.look()
            return
        raise AssertionError(f"it cannot be opened any more: {self.errors[-1]}")

    def leave(self) -> None:
        """Close; whatever close says, everything is released."""
        session = self.session
        if session.db is None:
            return
        store = session.store
        try:
            session.close()
        except SessionDBError as error:
            self.expect(error)
            session.db = None
        if store.log.failure is not None:
            session.history.issued = max(session.history.issued, store.log.last_lsn)

    def repair(self) -> None:
        """Somebody mends the disk."""
        self.session.disk.hook = None

    def check_power_cut(self, when: str, disks: int = 6) -> None:
        """The power goes now: every possible disk is as it must be."""
        session = self.session
        replay = Replay.before(session.disk)
        for op in session.disk.log or ():
            replay.apply(op)
        oracle = Oracle(1, session.target)
        for state in possible_disks(replay, session.rng, disks):
            oracle.check(state, session.history, when)
        assert not oracle.violations, oracle.violations[0]


def run_once(faults: list[tuple[Fault, int]], seed: int, target: str = "json") -> bool:
    """Run the program with these faults; False when it ran through before any of them came."""
    logging.disable(logging.CRITICAL)
    try:
        with deterministic(seed):
            program = Program(faults, seed, TARGETS[target])
            try:
                program.run()
            except BaseException as error:
                error.add_note(f"faults {faults}, seed {seed}, {target}: {program.triggered} errors {program.errors}")
                raise
            finally:
                program.session.kill()
    finally:
        logging.disable(logging.NOTSET)
    return bool(program.triggered)


def run_until_it_succeeds(fault: Fault, seed: int, target: str = "json", *, start: int = 0, stride: int = 1) -> int:
    """Run the program with a fault at each index (or each `stride`-th); returns how many runs met it."""
    runs = 0
    while run_once([(fault, start + runs * stride)], seed, target):
        runs += 1
    return runs


def run_everywhere(job: tuple[str, str, int]) -> int:
    """In a worker: one fault at every operation."""
    target, name, seed = job
    return run_until_it_succeeds(ALL_FAULTS[name], seed, target)


def run_pairs(seed: int) -> int:
    """In a worker: two faults, so many times; returns how often one came."""
    rng = Random(seed)
    names = sorted(ALL_FAULTS)
    runs = 0
    for _ in range(250):
        first, second = ALL_FAULTS[rng.choice(names)], ALL_FAULTS[rng.choice(names)]
        faults = [(first, rng.randrange(200)), (second, rng.randrange(rng.choice((3, 30))))]
        runs += run_once(faults, rng.randrange(3), rng.choice(("json", "memory", "sqlite", "lmdb")))
    return runs
