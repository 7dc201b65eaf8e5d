"""What must be true of every disk that a power cut leaves: the oracle.

1. Opening works: nothing is refused, nothing else is raised.
2. The state is the state after some LSN between the last one that was acknowledged as durable and the last one
   that was handed to the engine: nothing acknowledged is missing, nothing was made up, no half transaction.
3. Reading the log without recovering it (what ``log verify`` does) finds the same last LSN.
4. A second recovery finds the same LSN and the same state, and nothing torn.
5. The store takes a further transaction, and has it after another recovery.
6. `find` and `count` on every indexed field agree with a look at all records; the backend's `check` finds nothing.
7. All of this holds again when the power is cut during the recovery itself; it then ends at the same LSN.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from sessiondb import opening
from sessiondb.checkpoint import Checkpointer
from sessiondb.config import Options
from sessiondb.files import Files
from sessiondb.location import Location
from sessiondb.recovery import survey
from sessiondb.stats import RecoveryReport
from sessiondb.store import Store
from sessiondb.wal import head
from sessiondb.wal.operations import Put

from .atomic import SCHEMES, clean_up
from .disk import SimulatedDisk
from .ops import Op
from .queries import wrong_answer
from .states import CrashState, Replay, possible_disks
from .target import JSON, Target

__all__ = [
    "FOLDER_PATH",
    "STORE_PATH",
    "History",
    "Oracle",
    "Outcome",
    "Tables",
    "deterministic",
    "forget_everything",
    "hash_of",
    "open_quietly",
    "read_tables",
    "recover_once",
]  # fmt: skip

STORE_PATH, FOLDER_PATH = JSON.path, JSON.folder
HUGE = 1 << 60
CHECKED_SHARE = 0.1

Tables = dict[str, dict[str, bytes]]
"""Everything in a store: table to key to the record's bytes; under "", which is no table, "TABLE/FIELD" per index."""


def open_quietly(files: Files, target: Target = JSON, **options: Any) -> Store:
    """Open with triggers so large that no checkpoint begins by itself."""
    options = {"checkpoint_bytes": HUGE, "checkpoint_records": HUGE, "checkpoint_age_s": 1e9, "lock_timeout": 0.0,
               **options}  # fmt: skip
    return opening.open_store(files, Location(target.scheme, target.path), Options(**options))


def forget_everything() -> None:
    """What the death of a process does to the engine's registry."""
    opening._stores.clear()
    opening._users.clear()


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_: value


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """No background threads; random numbers, clock and process from the seed: a run can be repeated exactly."""
    rng = Random(seed)
    now = 1_700_000_000_000_000_000

    def tick() -> int:
        nonlocal now
        now += 1_000_000
        return now

    with (
        mock.patch.dict(opening.BUILT_IN, SCHEMES),
        mock.patch.object(os, "urandom", rng.randbytes),
        mock.patch.object(time, "time_ns", tick),
        mock.patch.object(time, "gmtime", _always(time.gmtime(0))),
        mock.patch.object(os, "getpid", _always(4242)),
        mock.patch.object(sys, "argv", ["simulator"]),
        mock.patch.object(head, "_start_time", _always(1)),
        mock.patch.object(Checkpointer, "became_dirty", _always(None)),
    ):
        try:
            yield
        finally:
            clean_up()


def read_tables(store: Store) -> Tables:
    """Everything that a reader sees."""
    with store.pin() as view:
        tables = {name: dict(view.scan(name)) for name in view.tables()}
        indexes = {f"{name}/{field}": b"" for name in tables for field in view.indexes(name)}
        return {**tables, "": indexes} if indexes else tables


class Outcome(NamedTuple):
    """What a recovery led to."""

    lsn: int
    epoch: int
    tables: Tables
    report: RecoveryReport


def recover_once(
    disk: SimulatedDisk, then: Callable[[Store], None] | None = None, target: Target = JSON, **options: Any
) -> Outcome:
    """Open the store, look, and die."""
    store = open_quietly(disk, target, **options)
    try:
        outcome = Outcome(store.views.visible_lsn, store.log.epoch, read_tables(store), store.report)
        if then is not None:
            then(store)
        return outcome
    finally:
        disk.kill()
        forget_everything()


class History:
    """What may be found, as the workload's announcements go by."""

    def __init__(self) -> None:
        self.states: dict[int, Tables] = {0: {}}
        """LSN to the state after it."""
        self.acked = 0
        """The last LSN that was acknowledged as durable."""
        self.returned = 0
        """The last LSN of a call that came back: it survives the death of the process, if not a power cut."""
        self.issued = 0

    def apply(self, op: Op) -> None:
        """Take an announcement in."""
        if op.kind == "issued":
            self.issued, state = op.data
            self.states[self.issued] = state
        elif op.kind == "ack":
            self.acked = max(self.acked, op.data)
            self.returned = max(self.returned, op.data)
        elif op.kind == "returned":
            self.returned = max(self.returned, op.data)
        elif op.kind == "opened":
            # A recovery syncs what it serves, and what it cut is gone: its LSNs are used again.
            self.acked = self.returned = self.issued = op.data
            for lsn in [lsn for lsn in self.states if lsn > op.data]:
                del self.states[lsn]
        elif op.kind == "history":
            self.states = dict(op.data.states)
            self.acked, self.returned, self.issued = op.data.acked, op.data.returned, op.data.issued

    def copy(self) -> History:
        """As it is now."""
        other = History()
        other.apply(Op("history", "", data=self))
        return other

    def judge(self, lsn: int, tables: Tables) -> str:
        """What is wrong with finding this; "" when nothing is."""
        if lsn < self.acked:
            return f"LSN {self.acked} was acknowledged as durable, the recovery ends at {lsn}"
        if lsn > self.issued:
            return f"LSN {lsn} is more than was ever issued ({self.issued})"
        if tables != self.states[lsn]:
            return f"the state is not the one after LSN {lsn}: {_difference(self.states[lsn], tables)}"
        return ""


def _difference(expected: Tables, found: Tables) -> str:
    parts = []
    for table in sorted(expected.keys() | found.keys()):
        if (table in expected) != (table in found):
            parts.append(f"table {table!r} is {'missing' if table in expected else 'there'}")
            continue
        for key in sorted(expected[table].keys() | found[table].keys()):
            before, after = expected[table].get(key), found[table].get(key)
            if before != after:
                parts.append(f"{table}/{key} is {_short(after)}, not {_short(before)}")
    return "; ".join(parts[:5])


def _short(image: bytes | None) -> str:
    text = repr(image)
    return text if len(text) < 60 else text[:57] + "..."


class _Seen(NamedTuple):
    lsn: int
    state: int
    """A hash of the state."""


class Oracle:
    """Recovers disks and judges what comes out; remembers which it has seen."""

    def __init__(self, seed: int, target: Target = JSON):
        self.rng = Random(seed)
        self.target = target
        self.digests: set[int] = set()
        self.violations: list[str] = []
        self.nested = 0
        self._seen: dict[int, _Seen] = {}
        self._contents: dict[int, tuple[bytes, bytes]] = {}

    def check_log(self, disk: SimulatedDisk, budget: int, *, nested_share: float = 0.02, nested_budget: int = 3,
                  stop_at: int | None = None) -> None:  # fmt: skip
        """Cut the power at every moment of what the disk has recorded.

        Args:
            disk: where the workload ran.
            budget: disks to try for each moment.
            nested_share: share of the disks whose recovery is cut off again.
            nested_budget: disks to try for each moment of such a recovery.
            stop_at: stop after so many distinct disks.
        """
        assert disk.log is not None
        replay, history = Replay.before(disk), History()
        log = disk.log
        for index, op in enumerate(log):
            replay.apply(op)
            history.apply(op)
            following = log[index + 1].kind if index + 1 < len(log) else ""
            if following == "ack" or op.kind in ("issued", "returned"):
                continue  # the same disks are possible behind it, and more is asked of them (or before it)
            for state in possible_disks(replay, self.rng, budget):
                nested = nested_budget if self.rng.random() < nested_share else 0
                self.check(state, history, f"after operation {index} ({op.kind} {op.path})", nested)
            if len(self.violations) >= 5 or (stop_at is not None and len(self.digests) >= stop_at):
                return

    def check(self, state: CrashState, history: History, where: str, nested_budget: int = 0) -> None:
        """Judge one disk."""
        digest = state.digest(self._contents)
        seen = self._seen.get(digest)
        if seen is not None:
            problem = history.judge(seen.lsn, history.states[seen.lsn]) if seen.lsn in history.states else "gone"
            if not problem and seen.state != hash_of(history.states[seen.lsn]):
                problem = "the state is not the one of this LSN"
            if problem:
                self._complain(where, f"LSN {seen.lsn}: {problem} (recovered before)")
            return
        self.digests.add(digest)
        try:
            outcome = self._recover(state, history, nested_budget)
        except _Violation as violation:
            self._complain(where, str(violation))
            return
        self._seen[digest] = _Seen(outcome.lsn, hash_of(outcome.tables))

    def _recover(self, state: CrashState, history: History, nested_budget: int) -> Outcome:
        disk = state.disk(keep_log=nested_budget > 0)
        verified = _attempt("log verify", lambda: _verify(disk, self.target))
        first = _attempt("recovery", lambda: recover_once(disk, self._look, self.target))
        problem = history.judge(first.lsn, first.tables)
        if not problem and verified is not None and verified != first.lsn:
            problem = f"log verify says LSN {verified}, the recovery says {first.lsn}"
        torn = first.report.torn_tail
        if not problem and torn is not None and (torn.quarantine is None or torn.quarantine not in disk.entries):
            problem = f"a torn tail was cut, and no copy of it is kept: {torn}"
        if problem:
            raise _Violation(problem)
        if nested_budget:
            self._recover_nested(disk, first, nested_budget)
        self._again(disk, first)
        return first

    def _look(self, store: Store) -> None:
        """What only the running store can answer: queries, always; the backend's own check, sometimes."""
        tables = read_tables(store)
        wrong = wrong_answer(store, tables) if "" in tables else ""
        if wrong:
            raise _Violation(wrong)
        if self.rng.random() < CHECKED_SHARE:
            problems = store.backend.check()
            if problems:
                raise _Violation(f"check() says {problems}")

    def _again(self, disk: SimulatedDisk, first: Outcome) -> None:
        """The second recovery, and a third after one more transaction."""
        more = self.rng.random() < 0.2
        second = _attempt("second recovery", lambda: recover_once(disk, _one_more if more else None, self.target))
        if (second.lsn, second.tables) != (first.lsn, first.tables):
            raise _Violation(
                f"the second recovery ends at LSN {second.lsn}, the first at {first.lsn}; or states differ"
            )
        raised = opening.backend_class(self.target.scheme).remote  # then every opening begins an epoch
        if second.report.torn_tail is not None or second.epoch != first.epoch + raised:
            raise _Violation(f"the second recovery cuts again: {second.report}")
        if more:
            third = _attempt("third recovery", lambda: recover_once(disk, target=self.target))
            wanted = {**first.tables, "more": {**first.tables.get("more", {}), "key": b'"more"'}}
            if third.lsn != first.lsn + 1 or third.tables != wanted:
                raise _Violation("a transaction after the recovery is not there after the next one")

    def _recover_nested(self, disk: SimulatedDisk, first: Outcome, budget: int) -> None:
        """Cut the power at every moment of the recovery that the disk has just seen."""
        assert disk.log is not None
        replay = Replay.before(disk)
        tried: set[int] = set()
        for index, op in enumerate(list(disk.log)):
            replay.apply(op)
            for state in possible_disks(replay, self.rng, budget):
                digest = state.digest(self._contents)
                if digest in tried:
                    continue
                tried.add(digest)
                self.nested += 1
                again = state.disk(keep_log=False)
                outcome = _attempt(
                    f"recovery after a power cut behind operation {index} of a recovery ({op.kind} {op.path})",
                    lambda again=again: recover_once(again, target=self.target),  # type: ignore[misc]
                )
                if (outcome.lsn, outcome.tables) != (first.lsn, first.tables):
                    raise _Violation(
                        f"a power cut behind operation {index} of a recovery ({op.kind} {op.path}) changes its end "
                        f"from LSN {first.lsn} to {outcome.lsn}, or the state"
                    )
        self.digests.update(tried)

    def _complain(self, where: str, problem: str) -> None:
        if len(self.violations) < 50:
            self.violations.append(f"{where}: {problem}")


class _Violation(Exception):
    """Something that must never be."""


def _attempt(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except _Violation:
        raise
    except Exception as error:
        forget_everything()
        raise _Violation(f"{what} raised {type(error).__name__}: {error}") from error


def _verify(disk: SimulatedDisk, target: Target) -> int | None:
    """The last LSN that reading finds; ``None`` where there is no store yet."""
    backend = opening.backend_class(target.scheme)
    if not backend.exists(disk, target.path):
        return None
    opened = backend.open(disk, target.path, create=False, read_only=True)
    position = opened.position()
    if disk.stat(target.folder) is None:
        return position.lsn
    return survey(disk, target.folder, opened.identity().uuid, position.lsn).contents.last_lsn


def _one_more(store: Store) -> None:
    store.committer.commit([Put("more", "key", b'"more"')])


def hash_of(tables: Tables) -> int:
    """Tells states apart."""
    return hash(msgspec.msgpack.encode(sorted((name, sorted(rows.items())) for name, rows in tables.items())))
