"""Commit: append a transaction to the log, take it into the memtable, wait until it is durable.

The order under the append lock: check, append the frame, move the memtable, move `visible_lsn` last. An
exception before the frame is appended leaves nothing behind. One that comes after it (a Ctrl-C between two lines)
leaves a committed transaction that is not visible yet: whoever takes the lock next takes it in first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import get_args

from .backend import Position
from .config import Limits, SyncLevel
from .errors import ConflictError, StoreFailedError, TransactionTooLargeError, UsageError
from .index_rules import IndexRules
from .memtable import Memtable
from .views import Triple, View, Views
from .wal.format import PAYLOAD_BYTES_MAX
from .wal.log import AppendLog
from .wal.no_log import NoLog
from .wal.operations import Operation, decode_operations, encode_operations

__all__ = ["Committer", "RefusingCommitter"]


_LEVELS = get_args(SyncLevel)


class Committer:
    """Commits for all threads of one store."""

    def __init__(
        self,
        log: AppendLog | NoLog,
        views: Views,
        limits: Limits,
        rules: IndexRules,
        sync: str,
        make_room: Callable[[int], None],
        became_dirty: Callable[[bool], None],
        sync_later: Callable[[], None],
        check: Callable[[Sequence[Operation]], None] | None = None,
    ):
        """Wire it up.

        Args:
            log: where transactions go first.
            views: where they become visible.
            limits: when a checkpoint is due.
            rules: what indexed fields may hold.
            sync: the sync level of commits that name none.
            make_room: called without locks, with a payload's bytes, when the log may be over its cap; returns
                when there is room, or raises.
            became_dirty: called after the first change since a checkpoint (False), and when a checkpoint is due
                by size (True).
            sync_later: called after each commit of level ``interval``.
            check: called with the operations before they are logged, without locks or under the append lock; raises
                when the store cannot hold what they make.
        """
        self._log = log
        self._views = views
        self._limits = limits
        self._rules = rules
        self._sync = sync
        self._make_room = make_room
        self._became_dirty = became_dirty
        self._sync_later = sync_later
        self._check = check
        self._in_flight: Sequence[Operation] = ()
        self.commits = 0
        views.catch_up = self._catch_up

    def commit(
        self,
        operations: Sequence[Operation],
        sync: str | None = None,
        unchanged: Callable[[], bool] | None = None,
    ) -> Position:
        """Make the operations one transaction.

        Args:
            operations: at least one.
            sync: the sync level; the store's when ``None``.
            unchanged: called under the append lock; False means that what the operations were computed from has
                changed.

        Returns:
            The transaction's position; durable if the level is ``always``.

        Raises:
            ConflictError: `unchanged` said so; nothing was written.
            TransactionTooLargeError: over 1 GiB; nothing was written.
            UsageError: an unknown level, or a put of one kind into a table of the other; nothing was written.
            ValidationError: an indexed field holds what cannot be indexed; nothing was written.
            StoreFailedError: nothing was written.
            DurabilityUnknownError: written, but the sync failed.
        """
        level = self._level(sync)
        payload = self._encode(operations)
        views, log, limits, rules = self._views, self._log, self._limits, self._rules
        checked = rules.version
        if self._check is not None:
            self._check(operations)
        if rules.tables:
            rules.check(operations)
        active, frozen, _ = views.current or views.triple
        if frozen is not None or active.bytes >= limits.bytes_max or active.records >= limits.records_max:
            self._make_room(len(payload))  # returns at once unless the log is over its cap
        try:
            with views.append_lock:
                if views.visible_lsn != log.last_lsn:
                    self._catch_up()
                if checked != rules.version:
                    rules.check(operations)
                if unchanged is not None and not unchanged():
                    raise ConflictError("a record that was read has changed meanwhile; next: run the transaction again")
                active, lsn = self._append(operations, payload)
        except StoreFailedError:
            self.roll_back_to_durable()  # only if the log was poisoned
            raise
        return self._finish(active, lsn, level)

    def commit_built(self, build: Callable[[View], Sequence[Operation]], sync: str | None = None) -> None:
        """Make what `build` computes one transaction; it runs under the append lock, so nobody comes in between.

        For what others have made impossible too often by changing what was read: they wait while it is computed.
        Nothing happens when it computes nothing. Errors are those of `commit`, without `ConflictError`.
        """
        level = self._level(sync)
        self._make_room(0)
        try:
            with self._views.append_lock:
                with self._views.pin_under_lock() as view:
                    operations = build(view)
                if not operations:
                    return
                payload = self._encode(operations)
                if self._check is not None:
                    self._check(operations)
                self._rules.check(operations)
                active, lsn = self._append(operations, payload)
        except StoreFailedError:
            self.roll_back_to_durable()
            raise
        self._finish(active, lsn, level)

    def _level(self, sync: str | None) -> str:
        level = self._sync if sync is None else sync
        if level not in _LEVELS:
            raise UsageError(f"sync is {level!r}; it must be one of {', '.join(_LEVELS)}")
        return level

    def _encode(self, operations: Sequence[Operation]) -> bytes:
        payload = encode_operations(operations)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise TransactionTooLargeError(
                f"the transaction has {len(payload)} bytes, the limit is {PAYLOAD_BYTES_MAX}; nothing was written; "
                "next: split it"
            )
        return payload

    def _append(self, operations: Sequence[Operation], payload: bytes) -> tuple[Memtable, int]:
        """Log the operations and take them in; returns where they are and their LSN. Under the append lock."""
        views = self._views
        active = (views.current or views.triple)[0]
        tables = active.tables
        for operation in operations:
            layer = tables.get(operation.table)
            if layer is None or layer.kind != operation.kind:
                self._check_kind(operation)
        self._in_flight = operations
        lsn = self._log.append(payload)
        active.apply(lsn, operations, views.newest_reader() if views.pins else -1)
        active.last_lsn = lsn
        active.bytes += len(payload)
        views.visible_lsn = lsn
        self.commits += 1
        return active, lsn

    def _finish(self, active: Memtable, lsn: int, level: str) -> Position:
        """After the append: start a checkpoint if one is due, and wait as long as the level says."""
        limits = self._limits
        if active.bytes >= limits.bytes_max or active.records >= limits.records_max:
            self._became_dirty(True)
        elif not active.first_us:
            active.first_us = time.monotonic_ns() // 1000
            self._became_dirty(False)
        if level == "always":
            self.wait_durable(lsn)
        elif level == "interval":
            self._sync_later()
        return Position(self._log.epoch, lsn)

    def wait_durable(self, lsn: int) -> None:
        """Return when the LSN is on disk; on a failed sync take what is not durable back out of the memtable."""
        try:
            self._log.wait_durable(lsn)
        except StoreFailedError:
            self.roll_back_to_durable()
            raise

    def settle(self) -> None:
        """Before the log is closed: what an exception left half done is taken back or taken in."""
        with self._views.append_lock:
            self._log.take_back()
            self._catch_up()

    def _catch_up(self) -> None:
        """Take in the transaction that an exception left between append and memtable. Under the append lock."""
        views, lsn = self._views, self._log.last_lsn
        if views.visible_lsn < lsn and self._log.failure is None:
            active = views.triple.active
            active.apply(lsn, self._in_flight, views.newest_reader())
            active.last_lsn = views.visible_lsn = lsn

    def _check_kind(self, operation: Operation) -> None:
        """The first operation on a table since the last checkpoint, or one of another kind."""
        existing = None if operation.kind is None else self._views.newest_kind(operation.table)
        if existing is not None and existing != operation.kind:
            raise UsageError(
                f"table {operation.table!r} holds {existing} records, not {operation.kind}; next: use another table"
            )

    def roll_back_to_durable(self) -> None:
        """After a failed sync: serve reads up to the durable LSN, nothing behind it."""
        views, log = self._views, self._log
        if not isinstance(log, AppendLog) or log.failure is None:
            return
        with views.append_lock:
            if views.visible_lsn <= log.durable_lsn:
                return
            active, frozen, base = views.triple
            start = base.position.lsn if frozen is None else frozen.last_lsn
            memtable = Memtable(start)
            try:
                for frame in log.frames(start, log.durable_lsn):
                    memtable.apply(frame.header.lsn, decode_operations(frame.payload), -1)
                    memtable.bytes += len(frame.payload)
            except (OSError, ValueError) as error:
                views.close(f"the store is poisoned and its log cannot be read ({error}); close it and open it again")
                return
            memtable.last_lsn = log.durable_lsn
            memtable.first_us = active.first_us
            views.install(Triple(memtable, frozen, base))
            views.visible_lsn = log.durable_lsn


class RefusingCommitter:
    """Refuses: for tables of a database that is closed, or that is read-only."""

    def __init__(self, refuse: Callable[[], object]):
        self._refuse = refuse

    def commit(
        self,
        operations: Sequence[Operation],
        sync: str | None = None,
        unchanged: Callable[[], bool] | None = None,
    ) -> Position:
        """Raise what `refuse` raises."""
        self._refuse()
        raise AssertionError("a closed committer was asked to commit")

    def commit_built(self, build: Callable[[View], Sequence[Operation]], sync: str | None = None) -> None:
        """Raise what `refuse` raises."""
        self.commit((), sync)
